#!/usr/bin/env python3
"""Which system calls Apex makes for a request once it is warm, and how many.

Starts Apex with one worker before the echo server, loads it by wrk with 64 connections, and after a warm-up attaches
`strace -c -f` for some seconds. The requests of just that window are counted by wrk itself: strace slows everything,
so a rate from another time would say nothing. Calls that have no place in the warm phase are flagged: a futex is a
lock, epoll_ctl an interest changed by hand, mmap or brk memory asked for.

    cargo build --release && python3 tests/real/syscalls.py

Exit: 0, 1 with --strict and a flagged call, 2 where something is missing. Binaries: APEX_BIN and ECHO_BIN, or those
in target/release.
"""

import argparse
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

FLAGGED = {
    "futex": "a lock, or a thread woken",
    "epoll_ctl": "interest changed, or a connection made, in the warm phase",
    "mmap": "memory asked for",
    "munmap": "memory given back",
    "mremap": "memory grown",
    "madvise": "memory given back",
    "brk": "memory asked for",
}
# Counts every answer in a file, for the window to be cut out of the run.
COUNTER = """
local file = io.open(os.getenv("APEX_COUNT_FILE"), "w")
local count = 0
function response()
  count = count + 1
  file:seek("set")
  file:write(count)
  file:flush()
end
"""


class Missing(Exception):
    pass


def found(name):
    path = os.pathsep.join([os.environ.get("PATH", ""), "/usr/local/sbin", "/usr/sbin", "/sbin"])
    program = shutil.which(name, path=path)
    if not program:
        raise Missing(f"{name} is missing")
    return program


def built(variable, name):
    """The binary of the environment variable, or the one that cargo built."""
    target = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", pathlib.Path(__file__).resolve().parents[2] / "target"))
    program = pathlib.Path(os.environ.get(variable) or target / "release" / name)
    if not program.is_file():
        raise Missing(f"{program} is missing: cargo build --release, or set {variable}")
    return str(program)


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


def wait_for_port(port, process):
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise SystemExit(f"{process.args[0]} ended at once: {process.returncode}")
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            time.sleep(0.02)
    raise SystemExit(f"{process.args[0]} did not open port {port}")


def read_count(file):
    return int(file.read_text() or 0)


def attach(program, apex, table):
    """strace on every thread of the process; returns when it holds the first."""
    command = [program, "-c", "-f", "-S", "calls", "-o", str(table), "-p", str(apex.pid)]
    strace = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    line = strace.stderr.readline()
    if "attached" not in line:
        strace.kill()
        raise Missing(f"strace may not attach: {line.strip()}")
    return strace


def calls_of(table):
    """{name: (calls, errors)} of strace's table."""
    calls = {}
    for line in table.splitlines():
        row = re.match(r"\s*[\d.]+\s+[\d.]+\s+\d+\s+(\d+)\s+(\d+\s+)?(\w+)$", line)
        if row and row[3] != "total":
            calls[row[3]] = (int(row[1]), int(row[2] or 0))
    return calls


def report(calls, requests, secs):
    total = sum(count for count, _ in calls.values())
    print(f"{requests} requests in {secs:.2f} s under strace, {total} system calls\n")
    print(f"{'system call':<20}{'calls':>10}{'errors':>10}{'per request':>14}")
    for name, (count, errors) in sorted(calls.items(), key=lambda item: -item[1][0]):
        print(f"{name:<20}{count:>10}{errors:>10}{count / requests:>14.4f}")
    print(f"{'all':<20}{total:>10}{'':>10}{total / requests:>14.4f}\n")
    seen = [name for name in FLAGGED if name in calls]
    for name in seen:
        print(f"FLAG: {name}, {calls[name][0]} times: {FLAGGED[name]}")
    if not seen:
        print(f"none of {', '.join(FLAGGED)} in the warm phase")
    return seen


def measure(options, programs, directory, started):
    def start(command, **more):
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True, **more)
        started.append(process)
        return process

    back, front = free_port(), free_port()
    config = directory / "apex.toml"
    config.write_text(
        f'[server]\nlisten = "127.0.0.1:{front}"\nworkers = 1\naccess_log = false\n\n'
        f'[[routes]]\nname = "all"\nbackends = [{{ url = "http://127.0.0.1:{back}" }}]\n'
    )
    wait_for_port(back, start([programs["echo"], str(back)], stdout=subprocess.DEVNULL))
    apex = start([programs["apex"], "--config", str(config)], stdout=subprocess.DEVNULL)
    wait_for_port(front, apex)

    script, count_file, table = directory / "count.lua", directory / "count", directory / "table"
    script.write_text(COUNTER)
    duration = int(options.warm + options.secs) + 10
    load = start(
        [programs["wrk"], "-t1", f"-c{options.connections}", f"-d{duration}s", "-s", str(script)]
        + [f"http://127.0.0.1:{front}{options.path}"],
        env={**os.environ, "APEX_COUNT_FILE": str(count_file)},
        stdout=subprocess.DEVNULL,
    )
    time.sleep(options.warm)
    if load.poll() is not None:
        raise SystemExit("wrk ended in the warm-up")
    strace = attach(programs["strace"], apex, table)
    started.append(strace)
    before, begin = read_count(count_file), time.monotonic()
    time.sleep(options.secs)
    requests, secs = read_count(count_file) - before, time.monotonic() - begin
    strace.send_signal(signal.SIGINT)
    strace.wait(timeout=30)
    if requests <= 0:
        raise SystemExit("no request was answered in the window")
    return report(calls_of(table.read_text()), requests, secs)


def end(processes):
    """Ends each by its id, the last started first."""
    for process in reversed(processes):
        if process.poll() is None:
            process.kill()
            process.wait(timeout=10)


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--connections", type=int, default=64)
    arguments.add_argument("--warm", type=float, default=2, help="seconds before strace attaches")
    arguments.add_argument("--secs", type=float, default=3, help="seconds under strace")
    arguments.add_argument("--path", default="/")
    arguments.add_argument("--strict", action="store_true", help="exit 1 when a flagged call is seen")
    options = arguments.parse_args()
    started = []
    try:
        programs = {name: found(name) for name in ("wrk", "strace")}
        programs["apex"] = built("APEX_BIN", "apex")
        programs["echo"] = built("ECHO_BIN", "echo-server")
        with tempfile.TemporaryDirectory(prefix="apex-syscalls-") as directory:
            try:
                seen = measure(options, programs, pathlib.Path(directory), started)
            finally:
                end(started)
    except Missing as missing:
        print(f"SKIPPED: {missing}", file=sys.stderr)
        return 2
    return 1 if seen and options.strict else 0


if __name__ == "__main__":
    sys.exit(main())
