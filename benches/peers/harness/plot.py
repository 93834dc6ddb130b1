"""Bars in SVG, by hand: what one request costs each contender, in multiples of the blind relay."""

from html import escape

from . import report

WIDTH, LABEL_WIDTH, BAR_WIDTH = 720, 120, 400
ROW_HEIGHT, HEAD_HEIGHT, GAP = 20, 26, 14
COLOURS = {"floor": "#8a8f98", "apex": "#c2410c", "peer": "#3b6ea5"}
# The part of a bar that is user mode is lighter.
USER_OPACITY = 0.55


def text(x, y, words, size=12, anchor="start", weight="normal", colour="#1f2328"):
    return (
        f'<text x="{x:.0f}" y="{y:.0f}" font-size="{size}" text-anchor="{anchor}" font-weight="{weight}" '
        f'fill="{colour}">{escape(words)}</text>'
    )


def bar(x, y, width, colour, opacity=1.0):
    return (
        f'<rect x="{x:.1f}" y="{y:.1f}" width="{max(width, 0):.1f}" height="{ROW_HEIGHT - 6}" '
        f'fill="{colour}" fill-opacity="{opacity}"/>'
    )


def document(height, parts):
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" viewBox="0 0 {WIDTH} {height}" '
        f'font-family="system-ui, sans-serif"><rect width="{WIDTH}" height="{height}" fill="#ffffff"/>'
        + "".join(parts)
        + "</svg>\n"
    )


def panel(parts, y, title, rows, most):
    """One workload: rows of (label, role, [(value, opacity), …], words)."""
    parts.append(text(10, y + 16, title, 13, weight="bold"))
    y += HEAD_HEIGHT
    for label, role, pieces, words in rows:
        parts.append(text(LABEL_WIDTH, y + 12, label, anchor="end"))
        x = LABEL_WIDTH + 8
        for value, opacity in pieces:
            width = BAR_WIDTH * value / most if most else 0
            parts.append(bar(x, y + 2, width, COLOURS[role], opacity))
            x += width
        parts.append(text(x + 6, y + 12, words, 11, colour="#57606a"))
        y += ROW_HEIGHT
    return y + GAP


def plain(table, roles):
    order = {"floor": 0, "apex": 1, "peer": 2}
    return sorted(table.items(), key=lambda item: (order[roles[item[0]]], item[1]["cpu_ns"]))


def cost(results, roles):
    """Time on the proxy's core for one request, user mode and kernel."""
    parts = [text(10, 20, "CPU time of the proxy for one request (light: user mode, full: kernel)", 14, weight="bold")]
    y = 34
    for workload, table in results:
        if workload.idle or not table:
            continue
        rows = []
        for label, row in plain(table, roles):
            times = report.times(row, "relay")
            words = f"{row['cpu_ns'] / 1e3:,.1f} µs" + (f" = {times:.2f} × relay" if times else "")
            rows.append((label, roles[label], [(row["user_ns"], USER_OPACITY), (row["system_ns"], 1)], words))
        most = max(row["cpu_ns"] for row in table.values())
        y = panel(parts, y, f"{workload.name}: {workload.title}", rows, most)
    return document(y, parts)


def summary(results, roles):
    """Apex and the two cheapest other programs, in multiples of the relay (the line); a program counts by its cheapest mode."""
    parts = [text(10, 20, "CPU time for one request, in multiples of a relay that looks at no octet", 14, weight="bold")]
    y, most = 34, 3.0
    top = y
    for workload, table in results:
        if workload.idle or workload.variant:
            continue
        if not any(roles[label] == "floor" for label in table):
            continue
        best = {}
        for label, row in plain(table, roles):
            program = label.split("-")[0] if roles[label] == "peer" else label
            if roles[label] != "floor" and row["cpu_ns"] < best.get(program, (float("inf"),))[0]:
                best[program] = (row["cpu_ns"], label)
        apexes = [label for label in table if roles[label] == "apex"]
        peers = sorted(pair for pair in best.values() if roles[pair[1]] == "peer")[:2]
        rows = []
        for label in apexes + [label for _, label in peers]:
            times = report.times(table[label], "relay")
            if times:
                rows.append((label, roles[label], [(min(times, most), 1)], f"{times:.2f}"))
        y = panel(parts, y, workload.title, rows, most)
    x = LABEL_WIDTH + 8 + BAR_WIDTH / most
    parts.append(f'<line x1="{x:.1f}" y1="{top}" x2="{x:.1f}" y2="{y - GAP}" stroke="#1f2328" stroke-dasharray="3 3"/>')
    return document(y, parts)


def latency(results, roles):
    """The 99th of a hundred latencies at a fixed rate, where that was measured."""
    parts = [text(10, 20, "Latency at a fixed rate (light: p50, full: up to p99)", 14, weight="bold")]
    y = 34
    for workload, table in results:
        if not workload.rate or not table:
            continue
        rows = []
        for label, row in plain(table, roles):
            pieces = [(row["p50_us"], USER_OPACITY), (row["p99_us"] - row["p50_us"], 1)]
            rows.append((label, roles[label], pieces, f"{row['p50_us']:,.0f} / {row['p99_us']:,.0f} µs"))
        y = panel(parts, y, f"{workload.name}: {workload.title}", rows, max(row["p99_us"] for row in table.values()))
    return document(y, parts)


def memory(results, roles):
    """Octets of resident memory for each connection at rest."""
    parts = [text(10, 20, "Memory of a connection at rest", 14, weight="bold")]
    y = 34
    for workload, table in results:
        if not workload.idle or not table:
            continue
        ordered = sorted(table.items(), key=lambda item: item[1]["idle_bytes"])
        rows = [
            (label, roles[label], [(max(row["idle_bytes"], 0), 1)], f"{row['idle_bytes']:,.0f} octets")
            for label, row in ordered
        ]
        y = panel(parts, y, workload.title, rows, max(max(row["idle_bytes"] for row in table.values()), 1))
    return document(y, parts)
