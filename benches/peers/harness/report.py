"""What was measured, as medians, as a table in Markdown and as JSON."""

import json
import os
import pathlib
import platform
import statistics

GB = 1e9
TICK_NS = 1e9 / os.sysconf("SC_CLK_TCK")


def median_of(spans, value):
    return statistics.median(value(span) for span in spans)


def cost(span):
    """Nanoseconds on the proxy's core for one request."""
    return span["watched"]["proxy"]["run_ns"] / max(span["answers"], 1)


def cost_to_others(span):
    """Nanoseconds that the backend and the load spend on one request, while the proxy does what it does."""
    return sum(span["watched"][name]["run_ns"] for name in ("backend", "load")) / max(span["answers"], 1)


def figures(workload, spans, calls):
    """One contender's medians in one workload."""
    if workload.idle:
        return {
            "resident_before": median_of(spans, lambda span: span["resident_before"]),
            "resident_with": median_of(spans, lambda span: span["resident_with"]),
            "idle_bytes": median_of(spans, lambda span: span["idle_bytes"]),
            "connections": min(span["connections"] for span in spans),
            "errors": sum(sum(span["errors"].values()) for span in spans),
        }

    # A round in which nothing was answered says nothing of the cost, and is an error.
    silent = sum(not span["answers"] for span in spans)
    spans = [span for span in spans if span["answers"]] or spans
    # Ticks are coarse: the share of user mode is taken over all rounds, the total from nanoseconds of each.
    user = sum(span["watched"]["proxy"]["user_ticks"] for span in spans)
    system = sum(span["watched"]["proxy"]["system_ticks"] for span in spans)
    share = user / max(user + system, 1)
    costs = sorted(cost(span) for span in spans)
    total = statistics.median(costs)
    result = {
        "cpu_ns": total,
        "cpu_ns_least": costs[0],
        "cpu_ns_most": costs[-1],
        "user_ns": total * share,
        "system_ns": total * (1 - share),
        "requests_per_sec": median_of(spans, lambda span: span["answers"] / span["secs"]),
        "p50_us": median_of(spans, lambda span: span["p50_us"]),
        "p99_us": median_of(spans, lambda span: span["p99_us"]),
        "p999_us": median_of(spans, lambda span: span["p999_us"]),
        "longest_us": max(span["longest_us"] for span in spans),
        "behind": max(span["behind"] for span in spans),
        "others_ns": median_of(spans, cost_to_others),
        "load_busy": median_of(spans, lambda span: cost_to_others(span) * span["answers"] / 1e9 / span["secs"]),
        "busy": median_of(spans, lambda span: span["watched"]["proxy"]["run_ns"] / 1e9 / span["secs"]),
        "resident": median_of(spans, lambda span: span["watched"]["proxy"]["resident_bytes"]),
        "errors": silent + sum(sum(span["errors"].values()) for span in spans),
        "calls": calls,
        "calls_total": sum(calls.values()) if calls else None,
    }
    if workload.bulk:
        octets = workload.octets
        result["cpu_s_per_gb"] = total / octets
    return result


def bases(table, roles):
    """Whom the ratios are to, by column: the cheapest mode of the relay, the cheapest peer, and the first build of Apex."""
    def cheapest(role):
        costs = [(row["cpu_ns"], label) for label, row in table.items() if roles[label] == role and "+" not in label]
        return min(costs, default=(None, None))[1]

    builds = [label for label in table if roles[label] == "apex"]
    return {"relay": cheapest("floor"), "peer": cheapest("peer"), "first": builds[0] if len(builds) > 1 else None}


def compare(table, measured, roles):
    """Says of each contender of one workload how it stands to those."""
    for column, base in bases(table, roles).items():
        for label, row in table.items():
            if base and (column != "first" or roles[label] == "apex"):
                row.setdefault("stands_to", {})[column] = paired(measured[label], measured[base])


def paired(spans, first):
    """How a contender's costs stand to another's, round by round: the median, the least and the most."""
    pairs = zip(spans, first)
    ratios = sorted(cost(one) / cost(other) for one, other in pairs if other["answers"] and one["answers"])
    return (statistics.median(ratios), ratios[0], ratios[-1]) if ratios else None


def times(row, column):
    """The ratio of that column, where there is one."""
    found = row.get("stands_to", {}).get(column)
    return found[0] if found else None


def markdown(results, roles):
    """All tables."""
    text = []
    for workload, table in results:
        text.append(f"### `{workload.name}`: {workload.title}\n")
        if not table:
            text.append("Nobody took part.\n")
        elif workload.idle:
            text += idle_rows(table)
        else:
            text += rows(workload, table, roles)
    return "\n".join(text)


def rows(workload, table, roles):
    names = ["proxy", "CPU µs", "user", "system", "× relay", "× best peer"]
    names += ["CPU s/GB"] if workload.bulk else []
    builds = bases(table, roles)["first"]
    names += [f"× {builds} (from, to)"] if builds else []
    names += ["others µs", "requests/s", "core busy", "p50 µs", "p99 µs", "p99.9 µs", "calls", "RSS MB", "errors"]
    names += ["behind"] if workload.rate else []
    lines = ["| " + " | ".join(names) + " |", "| --- |" + " ---: |" * (len(names) - 1)]
    order = {"floor": 0, "apex": 1, "peer": 2}
    for label, row in sorted(table.items(), key=lambda item: (order[roles[item[0]]], item[1]["cpu_ns"])):
        cells = [label, f"{row['cpu_ns'] / 1e3:.2f}", f"{row['user_ns'] / 1e3:.2f}", f"{row['system_ns'] / 1e3:.2f}"]
        ratios = [times(row, column) for column in ("relay", "peer")]
        cells += ["-" if ratio is None else f"{ratio:.2f}" for ratio in ratios]
        cells += [f"{row['cpu_s_per_gb']:.3f}"] if workload.bulk else []
        if builds:
            cells += ["{:.3f} ({:.2f}, {:.2f})".format(*row["stands_to"]["first"]) if times(row, "first") else ""]
        cells += [f"{row['others_ns'] / 1e3:.2f}", f"{row['requests_per_sec']:,.0f}", f"{row['busy'] * 100:.0f} %"]
        cells += [f"{row[name]:,.0f}" for name in ("p50_us", "p99_us", "p999_us")]
        cells += [f"{row['calls_total']:.2f}" if row["calls_total"] else "-"]
        cells += [f"{row['resident'] / 1e6:.1f}", str(row["errors"])]
        cells += [str(row["behind"])] if workload.rate else []
        lines.append("| " + " | ".join(cells) + " |")
    return lines + [""]


def idle_rows(table):
    names = ["proxy", "RSS MB before", "RSS MB with all", "octets a connection", "connections", "errors"]
    lines = ["| " + " | ".join(names) + " |", "| --- |" + " ---: |" * (len(names) - 1)]
    for label, row in sorted(table.items(), key=lambda item: item[1]["idle_bytes"]):
        before, full = row["resident_before"] / 1e6, row["resident_with"] / 1e6
        cells = [label, f"{before:.1f}", f"{full:.1f}", f"{row['idle_bytes']:,.0f}"]
        lines.append("| " + " | ".join(cells + [f"{row['connections']:,}", str(row["errors"])]) + " |")
    return lines + [""]


def machine(cores):
    """What it was measured on."""
    model = "unknown"
    with open("/proc/cpuinfo", encoding="utf-8") as file:
        for line in file:
            if line.startswith("model name"):
                model = line.split(":", 1)[1].strip()
                break
    try:
        congestion = pathlib.Path("/proc/sys/net/ipv4/tcp_congestion_control").read_text().strip()
    except OSError:
        congestion = "of unknown congestion control"
    return {"processor": model, "cores": cores.count, "kernel": platform.release(), "congestion": congestion}


def heading(about, options):
    apart = "the proxy alone on one" if about["cores"] > 1 else "all on one"
    return (
        f"{about['processor']}, {about['cores']} cores ({apart}, load and backend on the rest), Linux {about['kernel']}, "
        f"TCP {about['congestion']}. "
        f"Median of {options.rounds} interleaved rounds of {options.seconds:g} s. CPU, user and system are µs of the proxy's "
        "own time on its core for one request, `others` those of the backend and the load together; `calls` are its system calls "
        "for one request. Only ratios within one run count.\n"
    )


def as_json(about, options, versions, results, spans):
    """Medians, and every span that they come from."""
    whole = {
        "machine": about,
        "rounds": options.rounds,
        "seconds": options.seconds,
        "programs": versions,
        "workloads": {
            workload.name: {"title": workload.title, "contenders": table, "spans": spans[workload.name]}
            for workload, table in results
        },
    }
    return json.dumps(whole, indent=1, sort_keys=True)
