"""Processes: started on a core of their own, waited for, watched as a family, ended by their ids."""

import os
import pathlib
import signal
import socket
import subprocess
import time

# Seconds that a program may take to answer for the first time, and to end.
START_SECS, END_SECS = 20, 5


class Failed(Exception):
    """A program did not do what it was started for."""


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


class Cores:
    """Which core is whose: the proxy has one alone; backend and load share what is left."""

    def __init__(self):
        cores = sorted(os.sched_getaffinity(0))
        self.proxy = cores[0]
        others = cores[1:] or cores
        self.backend, self.load = others[0], others[-1]
        self.count = len(cores)


def start(command, core, environment=None, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL):
    """Starts a program that runs on one core only."""
    return subprocess.Popen(
        command,
        stdin=stdin,
        stdout=stdout,
        stderr=stderr,
        env={**os.environ, **(environment or {})},
        start_new_session=True,
        preexec_fn=lambda: os.sched_setaffinity(0, {core}),
    )


def family(pid):
    """The process and all that descend from it."""
    pids = [pid]
    for file in pathlib.Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            for child in file.read_text().split():
                pids += family(int(child))
        except OSError:
            continue
    return pids


def end(process):
    """Ends a process and its descendants, each by its id."""
    if process.poll() is not None:
        return
    pids = family(process.pid)
    process.terminate()
    try:
        process.wait(timeout=END_SECS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait(timeout=END_SECS)
    # A parent that was killed leaves its workers behind.
    for pid in pids[1:]:
        if family_leader(pid) == process.pid:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass


def family_leader(pid):
    """The session of a process, which is that of the program that was started; None where it is gone."""
    try:
        return os.getsid(pid)
    except ProcessLookupError:
        return None


def resident(pids):
    """Octets of resident memory of all of them."""
    pages = 0
    for pid in pids:
        try:
            pages += int(pathlib.Path(f"/proc/{pid}/statm").read_text().split()[1])
        except OSError:
            continue
    return pages * os.sysconf("SC_PAGE_SIZE")


def run_ns(pids):
    """Nanoseconds on a core of all their threads."""
    total = 0
    for pid in pids:
        for file in pathlib.Path(f"/proc/{pid}/task").glob("*/schedstat"):
            try:
                total += int(file.read_text().split()[0])
            except OSError:
                continue
    return total


def ask(port, head, content_bytes=0):
    """One exchange on a connection of its own: (status, octets of content). Chunked content is not counted."""
    with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
        connection.sendall(head.encode("ascii") + b"x" * content_bytes)
        data = b""
        while b"\r\n\r\n" not in data:
            piece = connection.recv(65536)
            if not piece:
                raise OSError("closed before the head was there")
            data += piece
        head, _ = data.split(b"\r\n\r\n", 1)
        lines = head.decode("latin-1").split("\r\n")
        lengths = [line.split(":", 1)[1] for line in lines[1:] if line.lower().startswith("content-length:")]
        return int(lines[0].split()[1]), int(lengths[0]) if lengths else None


def wait_for_answer(port, process, head, content_bytes=0):
    """Waits until a program answers with 200; gives the content's length."""
    deadline = time.monotonic() + START_SECS
    last = "nothing"
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise Failed(f"{process.args[0]} ended at once with {process.returncode}")
        try:
            status, length = ask(port, head, content_bytes)
            if status == 200:
                return length
            last = f"status {status}"
        except OSError as error:
            last = str(error)
        time.sleep(0.02)
    raise Failed(f"{process.args[0]} did not answer: {last}")
