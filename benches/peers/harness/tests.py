"""Tests of what measures nothing: python3 -m unittest discover -s benches/peers -t benches/peers -p tests.py"""

import os
import pathlib
import shutil
import subprocess
import sys
import types
import unittest
import xml.etree.ElementTree as xml

from harness import plot, proxies, report, rounds, workloads


def span(run_ns, answers=100, **more):
    watched = {
        name: {"run_ns": run_ns, "user_ticks": 1, "system_ticks": 3, "resident_bytes": 1_000_000}
        for name in ("proxy", "backend", "load")
    }
    latencies = {"p50_us": 1.0, "p99_us": 2.0, "p999_us": 3.0, "longest_us": 4.0}
    errors = {"status": 0, "cut": more.pop("cut", 0)}
    return {"secs": 1.0, "answers": answers, "watched": watched, "errors": errors, "behind": 0, **latencies, **more}


class Requests(unittest.TestCase):
    def test_the_browser_sends_twenty_fields_and_a_kilobyte(self):
        head = workloads.BY_NAME["browser"].heads()
        self.assertEqual(len(head.split("\r\n")) - 3, 20)
        self.assertTrue(950 <= len(head) <= 1100, len(head))

    def test_each_host_has_a_head_of_its_own(self):
        heads = workloads.BY_NAME["routes"].heads()
        self.assertEqual(heads.count("\r\n\r\n"), workloads.ROUTES)
        self.assertIn("Host: h9999.test\r\n\r\n", heads)

    def test_content_is_announced(self):
        self.assertIn("Content-Length: 1048576\r\n", workloads.BY_NAME["upload-1m"].heads())
        self.assertIn("Connection: close\r\n", workloads.BY_NAME["connect"].heads())


class TakingPart(unittest.TestCase):
    def labels(self, name):
        everybody = proxies.contenders("relay", [("a", "apex"), ("b", "apex")])
        for contender in everybody:
            contender.missing = None
        workload = workloads.BY_NAME[name]
        return [label for contender in everybody for label, _ in proxies.variants_of(contender, workload)]

    def test_modes_for_long_content_stay_out_of_short_answers(self):
        self.assertEqual(self.labels("small"), ["relay", "a", "b", "nginx", "haproxy", "h2o", "caddy", "sozu"])
        self.assertIn("haproxy-splice", self.labels("1m"))
        self.assertNotIn("relay", self.labels("idle"))

    def test_settings_are_compared_among_those_that_have_them(self):
        wanted = ["relay", "a", "a+routes", "b", "b+routes", "nginx", "nginx+routes", "haproxy", "haproxy+routes"]
        self.assertEqual(self.labels("routes"), [*wanted, "sozu", "sozu+routes"])

    def test_what_is_missing_takes_no_part(self):
        contender = proxies.Nginx("nginx", None, "no program")
        self.assertEqual(proxies.variants_of(contender, workloads.BY_NAME["small"]), [])

    @unittest.skipIf(shutil.which("sozu", path=proxies.SERVERS), "sozu is there whatever the path is")
    def test_what_is_missing_is_named_before_anything_is_built(self):
        command = [sys.executable, str(pathlib.Path(__file__).parents[1] / "run"), "--proxies", "sozu"]
        ended = subprocess.run(command, env={**os.environ, "PATH": ""}, capture_output=True, text=True)
        self.assertEqual(ended.returncode, 2, ended.stderr)
        self.assertIn("left out: sozu: no program `sozu` in the path\n", ended.stderr)
        self.assertIn("none of the proxies that are asked for is installed", ended.stderr)


class Figures(unittest.TestCase):
    def test_the_median_counts_and_ticks_divide_it(self):
        row = report.figures(workloads.BY_NAME["1m"], [span(100_000), span(900_000), span(300_000, cut=2)], {"read": 2})
        self.assertEqual(row["cpu_ns"], 3000)
        self.assertEqual((row["user_ns"], row["system_ns"]), (750, 2250))
        self.assertEqual(row["others_ns"], 6000)
        self.assertEqual((row["errors"], row["calls_total"]), (2, 2))
        self.assertAlmostEqual(row["cpu_s_per_gb"], 3000 / 1048576)

    def test_a_silent_round_is_an_error_and_no_cost(self):
        row = report.figures(workloads.BY_NAME["small"], [span(100_000), span(0, answers=0)], None)
        self.assertEqual((row["cpu_ns"], row["errors"]), (1000, 1))

    def test_builds_are_compared_round_by_round(self):
        first = [span(100), span(200), span(400)]
        self.assertEqual(report.paired([span(110), span(200), span(200)], first), (1, 0.5, 1.1))

    def test_ratios_are_of_the_cheapest_plain_one(self):
        roles = {"r": "floor", "s": "floor", "p": "peer", "q": "peer", "p+log": "peer", "a": "apex"}
        table = {label: {"cpu_ns": cost} for label, cost in zip(roles, (20, 10, 50, 40, 5, 15))}
        self.assertEqual(report.bases(table, roles), {"relay": "s", "peer": "q", "first": None})
        table["a+log"], roles["a+log"] = {"cpu_ns": 20}, "apex"
        self.assertEqual(report.bases(table, roles)["first"], "a")

    def test_a_machine_that_slows_down_changes_no_ratio(self):
        roles = {"relay": "floor", "a": "apex", "n": "peer"}
        measured = {"relay": [span(10), span(40)], "a": [span(12), span(48)], "n": [span(24), span(96)]}
        table = {label: report.figures(workloads.BY_NAME["small"], spans, None) for label, spans in measured.items()}
        report.compare(table, measured, roles)
        self.assertEqual(table["a"]["stands_to"], {"relay": (1.2, 1.2, 1.2), "peer": (0.5, 0.5, 0.5)})

    def test_straces_table_is_read(self):
        table = (
            "% time     seconds  usecs/call     calls    errors syscall\n"
            "------ ----------- ----------- --------- --------- ----------------\n"
            " 50.00    0.100000           1      1000        12 read\n"
            " 50.00    0.100000           1       500           epoll_wait\n"
            "------ ----------- ----------- --------- --------- ----------------\n"
            "100.00    0.200000           1      1500        12 total\n"
        )
        self.assertEqual(rounds.calls_of(table), {"read": 1000, "epoll_wait": 500})


class Output(unittest.TestCase):
    def test_tables_and_pictures_are_whole(self):
        roles = {"relay": "floor", "apex": "apex", "n<&": "peer"}
        small, rate, idle = (workloads.BY_NAME[name] for name in ("small", "rate", "idle"))
        rest = {"resident_before": 1e6, "resident_with": 2e6, "connections": 10, "idle_bytes": 1e5, "errors": {"all": 0}}
        results = [
            (workload, {label: report.figures(workload, [span(1000)], None) for label in roles})
            for workload in (small, rate)
        ]
        for _, table in results:
            report.compare(table, {label: [span(1000)] for label in roles}, roles)
        results.append((idle, {"apex": report.figures(idle, [rest], None)}))
        for draw in (plot.summary, plot.cost, plot.latency, plot.memory):
            self.assertEqual(xml.fromstring(draw(results, roles)).tag, "{http://www.w3.org/2000/svg}svg")
        tables = [line for line in report.markdown(results, roles).split("\n") if line.startswith("|")]
        for head, row in ((tables[0], tables[2]), (tables[5], tables[7]), (tables[10], tables[12])):
            self.assertEqual(head.count("|"), row.count("|"), head)
        options = types.SimpleNamespace(rounds=1, seconds=1.0)
        self.assertIn('"contenders"', report.as_json({}, options, {}, results, {name: {} for name in ("small", "rate", "idle")}))


if __name__ == "__main__":
    unittest.main()
