//! The race that every connection pool sometimes loses: the backend closes a connection just as the next
//! request is sent on it. No GET may fail because of it, no response may reach another request, and no POST
//! may be sent twice (RFC 9110 section 9.2.2, RFC 9112 section 9.3.1).
//!
//! `APEX_STALE_REQUESTS` sets the number of requests that each case sends through 64 clients (default 4000).
#![allow(
    missing_docs,
    unreachable_pub,
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::unwrap_used,
    reason = "tests measure and wait"
)]

#[path = "stale/backend.rs"]
mod backend;
#[path = "stale/clients.rs"]
mod clients;
mod support;

use backend::{Closing, Ending};
use clients::Outcome;
use std::time::Instant;
use support::{Apex, all, say, size};

/// Client connections at a time, and the share of the requests that so many send. Many keep their turns long, so that most
/// connections are closed already when they are wanted; the few meet them just as they close.
const CLIENTS: [(usize, usize); 2] = [(64, 1), (4, 4)];

/// What the access log says of one request.
struct Line {
    target: String,
    status: u16,
    retries: u32,
    /// Octets of it were written to a backend.
    sent: bool,
}

impl Line {
    fn parse(line: &str) -> Self {
        let value = |key: &str| {
            let (_, behind) = line.split_once(&format!(" {key}=")).unwrap();
            behind.split(' ').next().unwrap()
        };
        let mut quoted = line.split('"');
        let target = quoted.nth(1).unwrap().split(' ').nth(1).unwrap().to_owned();
        let status = quoted.next().unwrap().split_whitespace().next().unwrap().parse().unwrap();
        let retries = value("retries").parse().unwrap();
        Self { target, status, retries, sent: value("connect_us") != "-" }
    }
}

/// Sends requests by the thousand through Apex to a backend that closes; gives what came of them, and their lines.
fn race(
    backend: &Closing,
    (clients, share): (usize, usize),
    request: impl Fn(&str) -> String,
) -> (Outcome, Vec<Line>) {
    let count = size("APEX_STALE_REQUESTS", 4_000) / share;
    let apex = Apex::start(&all(&[backend.addr()]));
    let began = Instant::now();
    let outcome = clients::run(apex.addr(), clients, count, request);
    let took = began.elapsed();
    let lines: Vec<_> = apex.stdout.first(count).iter().map(|line| Line::parse(line)).collect();
    let again = |times: u32| lines.iter().filter(|line| line.retries == times).count();
    say(&format!(
        "stale: {count} requests of {clients} clients in {took:.1?}: statuses {:?}; retries 0: {}, 1: {}, 2: {}",
        outcome.statuses,
        again(0),
        again(1),
        again(2)
    ));
    (outcome, lines)
}

#[test]
fn no_get_is_lost_to_a_connection_that_closes() {
    let mut again = 0;
    for clients in CLIENTS {
        let backend = Closing::start(&[Ending::Abrupt, Ending::Late, Ending::Half]);
        let (outcome, lines) =
            race(&backend, clients, |target| format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n"));
        assert_eq!(outcome.wrong, [""; 0]);
        assert_eq!(outcome.failed, [""; 0], "{:?}", outcome.statuses);
        again += lines.iter().filter(|line| line.retries > 0).count();
        backend.stop();
    }
    assert!(again > 0, "no connection closed in the way of a request");
}

#[test]
fn no_post_is_sent_twice_to_a_connection_that_closes() {
    let mut failed = 0;
    for clients in CLIENTS {
        // All that reaches this backend is seen by it, through the end of each connection.
        let backend = Closing::start(&[Ending::Late, Ending::Half]);
        let (outcome, lines) = race(&backend, clients, |target| {
            format!("POST {target} HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello")
        });
        let seen = backend.stop();
        assert_eq!(outcome.wrong, [""; 0]);
        let twice: Vec<_> = seen.iter().filter(|(_, times)| **times > 1).collect();
        assert!(twice.is_empty(), "sent more than once: {twice:?}");
        for line in lines {
            assert!(matches!(line.status, 200 | 502), "{}: {}", line.target, line.status);
            // One of which nothing was sent could have gone to a fresh connection.
            assert!(line.status == 200 || line.sent, "{} failed and was not sent", line.target);
            assert!(line.status != 200 || seen.contains_key(&line.target), "{} was never seen", line.target);
        }
        let reached = outcome.failed.iter().filter(|target| seen.contains_key(*target)).count();
        say(&format!(
            "stale: {} POSTs failed, the backend had {reached} of them in its hands",
            outcome.failed.len()
        ));
        failed += outcome.failed.len();
    }
    assert!(failed > 0, "no connection closed in the way of a request");
}
