//! wrk through Apex to nginx: plain, while the configuration is read again and again, and while a backend dies.

use std::fs;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::peers::{any_route, apex, naming_nginx, route, server_table};
use crate::support::{Dir, Job, Server, command, lacks, load_secs, poll, say};

/// What wrk counted in one run.
#[derive(Debug, PartialEq, Eq)]
struct Load {
    requests: u64,
    /// Answers that were neither 2xx nor 3xx.
    failed: u64,
    /// Connect, read, write and timeout errors together.
    socket_errors: u64,
}

impl Load {
    /// Reads wrk's report; it leaves out the lines of errors where there were none.
    fn parse(report: &str) -> Self {
        let number = |text: &str| text.trim().parse::<u64>().expect("a number in wrk's report");
        let line = |mark: &str| report.lines().find(|line| line.contains(mark)).map(str::trim);
        let requests = line(" requests in ").and_then(|line| line.split(' ').next());
        let failed = line("Non-2xx or 3xx responses:").and_then(|line| line.split(':').nth(1));
        let errors = line("Socket errors:").and_then(|line| line.split(':').nth(1)).unwrap_or_default();
        Self {
            requests: number(requests.expect("wrk counts its requests")),
            failed: failed.map_or(0, number),
            socket_errors: errors
                .split(',')
                .filter_map(|kind| kind.trim().split(' ').nth(1))
                .map(number)
                .sum(),
        }
    }

    /// The one thing asked of every run: that nobody saw a failure.
    fn judge(&self, what: &str) {
        say(&format!("{what}: {self:?}"));
        assert!(self.requests > 100, "{what}: hardly any request was made");
        assert_eq!((self.failed, self.socket_errors), (0, 0), "{what}: failures in {self:?}");
    }
}

/// Starts wrk for `secs` with 64 connections.
fn wrk(apex: &Server, secs: u64) -> Job {
    let mut command = command("wrk");
    command.args(["-t1", "-c64", "--timeout", "10s"]).arg(format!("-d{secs}s")).arg(apex.url("/"));
    Job::start(command)
}

/// How long wrk may take for its `secs`.
fn limit(secs: u64) -> Duration {
    Duration::from_secs(secs + 30)
}

#[test]
fn reads_reports_of_wrk() {
    let quiet = "  12345 requests in 2.00s, 1.90MB read\nRequests/sec:   6172.50\n";
    assert_eq!(Load::parse(quiet), Load { requests: 12345, failed: 0, socket_errors: 0 });
    let loud = "  99 requests in 2.00s, 1.90MB read\n  Socket errors: connect 1, read 20, write 300, timeout 4000\n  \
                Non-2xx or 3xx responses: 7\n";
    assert_eq!(Load::parse(loud), Load { requests: 99, failed: 7, socket_errors: 4321 });
}

#[test]
fn load_over_two_backends_has_no_failure() {
    if lacks(&["nginx", "wrk"]) {
        return;
    }
    let dir = Dir::new("load");
    let backends = [naming_nginx(&dir, "one"), naming_nginx(&dir, "two")];
    let apex = apex(&dir, "", &any_route(&[backends[0].port(), backends[1].port()]));
    let secs = load_secs();
    Load::parse(&wrk(&apex, secs).finish(limit(secs))).judge("load over two nginx");
}

#[test]
fn reload_under_load_fails_no_request() {
    if lacks(&["nginx", "wrk", "curl"]) {
        return;
    }
    let dir = Dir::new("reload");
    let backends = [naming_nginx(&dir, "one"), naming_nginx(&dir, "two")];
    let extra_backend = naming_nginx(&dir, "extra");
    let plain_routes = any_route(&[backends[0].port(), backends[1].port()]);
    let extra_routes = format!("{plain_routes}{}", route("extra", "*", "/extra", &[extra_backend.port()]));
    let apex = apex(&dir, "", &plain_routes);
    // A rename, so that no reload reads half a file.
    let put = |routes: &str| {
        fs::write(dir.join("next.toml"), server_table(apex.port(), "") + routes)
            .expect("write a configuration");
        fs::rename(dir.join("next.toml"), dir.join("apex.toml")).expect("put it in place");
        apex.signal(Signal::HUP);
    };

    let secs = load_secs();
    let started = Instant::now();
    let mut load = wrk(&apex, secs);
    let mut reloads = 0_u32;
    let output = loop {
        if let Some(output) = load.ended_within(Duration::from_millis(100)) {
            break output;
        }
        assert!(started.elapsed() < limit(secs), "wrk did not end");
        put(if reloads.is_multiple_of(2) { &extra_routes } else { &plain_routes });
        reloads += 1;
    };
    Load::parse(&load.judge(output)).judge(&format!("{reloads} reloads under load"));

    // A proxy that ignored the signal would have passed so far.
    for (routes, name) in [(&extra_routes, "extra"), (&plain_routes, ""), (&extra_routes, "extra")] {
        put(routes);
        poll("the reload to take effect", Duration::from_secs(10), || {
            let mut curl = command("curl");
            curl.args(["--silent", "--show-error", "--fail", &apex.url("/extra/x")]);
            let body = Job::start(curl).finish(Duration::from_secs(10));
            (body.starts_with("extra ") == (name == "extra")).then_some(())
        });
    }
}

#[test]
fn killed_backend_costs_no_request() {
    if lacks(&["nginx", "wrk"]) {
        return;
    }
    let dir = Dir::new("kill");
    let mut doomed = naming_nginx(&dir, "doomed");
    let steady = naming_nginx(&dir, "steady");
    let apex = apex(&dir, "", &any_route(&[doomed.port(), steady.port()]));
    let secs = load_secs().max(2);
    let mut load = wrk(&apex, secs);
    // In the middle of the load, with requests under way on it.
    let early = load.ended_within(Duration::from_millis(secs * 400));
    assert!(early.is_none(), "wrk ended before the kill: {early:?}");
    doomed.kill();
    Load::parse(&load.finish(limit(secs))).judge("kill -9 of one of two nginx");
}
