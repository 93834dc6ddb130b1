"""The measuring: contenders side by side, loaded one after the other in rounds whose order turns."""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time

from . import processes, proxies

# Seconds of load before a span is counted, and under strace.
WARM_SECS, STRACE_SECS = 0.5, 1.0
# Seconds in which all connections of the workload `idle` must be there.
IDLE_SECS = 60


def say(text):
    print(text, file=sys.stderr, flush=True)


class Load:
    """The load generator on one contender, as a context."""

    def __init__(self, bench, workload, port, watched):
        command = [bench.load, "--target", f"127.0.0.1:{port}", "--heads", bench.heads(workload)]
        command += ["--connections", str(workload.connections)]
        if workload.content_bytes:
            command += ["--content-bytes", str(workload.content_bytes)]
        expect = bench.expected(workload)
        if expect is not None:
            command += ["--expect-bytes", str(expect)]
        if workload.rate:
            command += ["--rate", str(workload.rate)]
        if workload.closes:
            command += ["--close"]
        if workload.idle:
            command += ["--once"]
        for name, pids in watched.items():
            command += ["--watch", f"{name}={','.join(map(str, pids))}"]
        self.command, self.core = command, bench.cores.load

    def __enter__(self):
        self.process = processes.start(
            self.command, self.core, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=None
        )
        return self

    def __exit__(self, *_):
        try:
            self.process.stdin.close()
        except OSError:
            # It ended before, and what was to be told to it is lost.
            pass
        try:
            self.process.wait(timeout=processes.END_SECS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def span(self):
        """Ends the span under way and gives what was counted in it."""
        try:
            self.process.stdin.write(b"\n")
            self.process.stdin.flush()
        except OSError as error:
            raise processes.Failed("the load ended") from error
        line = self.process.stdout.readline()
        if not line:
            raise processes.Failed("the load ended")
        return json.loads(line)


class Runner:
    """A contender that runs."""

    def __init__(self, bench, contender, label, setting):
        self.label, self.contender = label, contender
        self.directory = tempfile.mkdtemp(prefix="peers-", dir=bench.directory)
        os.chmod(self.directory, 0o755)
        self.front = processes.free_port()
        given = proxies.Setting(self.front, bench.back, self.directory, **setting)
        environment = {"HOME": self.directory, **contender.environment()}
        with open(os.path.join(self.directory, "out"), "wb") as out:
            self.process = processes.start(
                contender.command(given), bench.cores.proxy, environment, stdout=out, stderr=subprocess.STDOUT
            )

    def wait(self, workload):
        """Waits for its first answer; its family is complete then."""
        head = workload.heads().split("\r\n\r\n", 1)[0] + "\r\n\r\n"
        try:
            processes.wait_for_answer(self.front, self.process, head, workload.content_bytes)
        except processes.Failed as failed:
            raise processes.Failed(f"{failed}; it said: {self.output()}") from failed
        self.pids = processes.family(self.process.pid)

    def output(self):
        with open(os.path.join(self.directory, "out"), "rb") as out:
            return out.read(2000).decode("utf-8", "replace").strip()

    def close(self):
        processes.end(self.process)
        shutil.rmtree(self.directory, ignore_errors=True)


class Bench:
    """Everything that is measured, and what it is measured with."""

    def __init__(self, load, echo, directory, options):
        self.load, self.directory, self.options = load, directory, options
        self.cores = processes.Cores()
        self.back = processes.free_port()
        self.backend = processes.start([echo, "--threads", "1", str(self.back)], self.cores.backend)
        self.lengths = {}

    def close(self):
        processes.end(self.backend)

    def heads(self, workload):
        """The file with the requests of a workload."""
        path = os.path.join(self.directory, f"{workload.name}.heads")
        if not os.path.exists(path):
            with open(path, "w", encoding="ascii", newline="") as file:
                file.write(workload.heads())
        return path

    def expected(self, workload):
        """The length of each answer: as the workload names it, or as the backend answers without a proxy."""
        if workload.expect_bytes is not None:
            return workload.expect_bytes
        if workload.name not in self.lengths:
            head = workload.heads()
            length = processes.wait_for_answer(self.back, self.backend, head, workload.content_bytes)
            self.lengths[workload.name] = length
        return self.lengths[workload.name]

    def measure(self, workload, contenders):
        """All rounds of one workload: {label: [span, …]}, and the system calls: {label: {…}}."""
        entries = [
            (contender, label, setting)
            for contender in contenders
            for label, setting in proxies.variants_of(contender, workload)
        ]
        if workload.idle:
            return self.measure_idle(workload, entries), {}
        runners, spans, calls = [], {}, {}
        try:
            for contender, label, setting in entries:
                try:
                    runners.append(Runner(self, contender, label, setting))
                    runners[-1].wait(workload)
                except processes.Failed as failed:
                    say(f"  {label}: left out: {failed}")
                    runners.pop().close()
            for number in range(self.options.rounds):
                turn = number % max(len(runners), 1)
                for runner in runners[turn:] + runners[:turn]:
                    span = self.one(workload, runner)
                    spans.setdefault(runner.label, []).append(span)
                    say(f"  round {number + 1} {runner.label:<16} {brief(span)}")
            if self.options.wrk and workload.suits_wrk:
                for runner in runners:
                    self.ask_wrk(workload, runner)
            if self.options.strace:
                for runner in runners:
                    calls[runner.label] = self.count_calls(workload, runner)
        finally:
            for runner in runners:
                runner.close()
        return spans, {label: counted for label, counted in calls.items() if counted}

    def watched(self, runner):
        return {"proxy": runner.pids, "backend": [self.backend.pid]}

    def one(self, workload, runner):
        """One round of one contender."""
        with Load(self, workload, runner.front, self.watched(runner)) as load:
            time.sleep(self.options.warm)
            load.span()
            time.sleep(self.options.seconds)
            return load.span()

    def measure_idle(self, workload, entries):
        """Memory with all connections at rest, less that before; each round on a fresh process."""
        spans = {}
        for number in range(self.options.rounds):
            for contender, label, setting in entries:
                runner = Runner(self, contender, label, setting)
                try:
                    runner.wait(workload)
                    span = self.one_idle(workload, runner)
                    spans.setdefault(label, []).append(span)
                    say(f"  round {number + 1} {label:<16} {span['idle_bytes']:.0f} octets a connection")
                except processes.Failed as failed:
                    say(f"  {label}: left out: {failed}")
                finally:
                    runner.close()
        return spans

    def one_idle(self, workload, runner):
        before = processes.resident(runner.pids)
        with Load(self, workload, runner.front, self.watched(runner)) as load:
            answers, errors = 0, 0
            deadline = time.monotonic() + IDLE_SECS
            while answers < workload.connections and time.monotonic() < deadline:
                time.sleep(0.2)
                span = load.span()
                answers, errors = answers + span["answers"], errors + sum(span["errors"].values())
            time.sleep(0.5)
            last = load.span()
        with_all = last["watched"]["proxy"]["resident_bytes"]
        return {
            "connections": answers,
            "resident_before": before,
            "resident_with": with_all,
            "idle_bytes": (with_all - before) / max(answers, 1),
            "errors": {"all": errors + sum(last["errors"].values())},
        }

    def ask_wrk(self, workload, runner):
        """The same workload by wrk, to be compared with what the load found; its table is none of ours, so it is only said."""
        wrk = shutil.which("wrk", path=proxies.PATH)
        if not wrk:
            say("  wrk is missing: no cross-check")
            return
        fields = [part for name, value in workload.fields for part in ("-H", f"{name}: {value}")]
        secs = max(round(self.options.seconds), 1)
        command = [wrk, "-t1", f"-c{workload.connections}", f"-d{secs}s", *fields]
        command += [f"http://127.0.0.1:{runner.front}{workload.target}"]
        before = processes.run_ns(runner.pids)
        process = processes.start(command, self.cores.load, stdout=subprocess.PIPE)
        said = process.communicate(timeout=secs + 30)[0].decode()
        cost = processes.run_ns(runner.pids) - before
        answers = re.search(r"(\d+) requests in ([\d.]+)s", said)
        if not answers or not int(answers[1]):
            say(f"  by wrk  {runner.label}: no answers: {said.strip()}")
            return
        wrong = re.search(r"(Non-2xx|Socket errors).*", said)
        rate = int(answers[1]) / float(answers[2])
        say(f"  by wrk  {runner.label:<16} {cost / 1000 / int(answers[1]):9.2f} us a request, {rate:9.0f} requests/s"
            + (f", {wrong[0]}" if wrong else ""))

    def count_calls(self, workload, runner):
        """System calls a request, by name, in a short phase of its own: strace slows everything."""
        strace = shutil.which("strace", path=proxies.PATH)
        if not strace:
            return None
        table = os.path.join(runner.directory, "strace")
        attach = [part for pid in runner.pids for part in ("-p", str(pid))]
        with Load(self, workload, runner.front, {}) as load:
            time.sleep(self.options.warm)
            command = [strace, "-c", "-f", "-o", table, *attach]
            tracer = processes.start(command, self.cores.backend, stderr=subprocess.PIPE)
            try:
                for _ in runner.pids:
                    line = tracer.stderr.readline()
                    if b"attached" not in line:
                        say(f"  {runner.label}: strace may not attach: {line.decode().strip()}")
                        return None
                load.span()
                time.sleep(self.options.strace)
                answers = load.span()["answers"]
                tracer.send_signal(2)
                tracer.wait(timeout=30)
            finally:
                processes.end(tracer)
        with open(table, encoding="ascii") as file:
            counted = calls_of(file.read())
        return {name: count / answers for name, count in counted.items()} if answers else None


def calls_of(table):
    """{name: calls} of strace's table."""
    rows = re.finditer(r"^\s*[\d.]+\s+[\d.]+\s+\d+\s+(\d+)\s+(?:\d+\s+)?(\w+)$", table, re.MULTILINE)
    return {row[2]: int(row[1]) for row in rows if row[2] != "total"}


def brief(span):
    """One line of a span."""
    proxy, errors = span["watched"]["proxy"], sum(span["errors"].values())
    cost = proxy["run_ns"] / 1000 / max(span["answers"], 1)
    rate = span["answers"] / span["secs"]
    text = f"{cost:9.2f} us a request, {rate:9.0f} requests/s, p99 {span['p99_us']:.0f} us"
    text += f", {span['behind']} behind" if span["behind"] else ""
    return text + (f", {errors} ERRORS {span['errors']}" if errors else "")
