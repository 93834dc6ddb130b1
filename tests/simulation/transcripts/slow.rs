//! Peers that take octets slowly, or leave the rest to others: who goes on, who is cut, and when.

use super::{Bench, FORWARDED, OK, dated, forwarded_get, forwarded_post, get, post};
use apex::base::Tick;
use apex::exchange::Side::{self, Backend, Client};
use apex::exchange::{Cause, Outcome, Readiness, Release, Step};
use apex::http::head::Persistence;
use apex::http::limits::{ACKNOWLEDGED_BYTES_MIN, LOOKS};
use std::time::Duration;

/// Time passes until the deadline, at which that many octets are acknowledged; how long that was.
fn expire(bench: &mut Bench, side: Option<Side>, acknowledged: Option<u64>) -> Duration {
    let deadline = bench.exchange.deadline(&bench.env.rules);
    assert_ne!(deadline, Tick::NEVER);
    let passed = Duration::from_micros(deadline.since_us(bench.env.now));
    bench.env.now = bench.env.now.max(deadline);
    assert_eq!(bench.exchange.awaits_acknowledgement(), side);
    bench.exchange.expire(acknowledged, &mut bench.env.given());
    passed
}

/// Deadlines pass, at each of which the peer has acknowledged so many octets more, until something is to be done or so many times
/// the timeout are over; how long that was.
fn pass(bench: &mut Bench, side: Side, more: u64, timeouts: u32) -> Duration {
    let (began, mut acknowledged) = (bench.env.now, 0);
    let timeout = bench.env.rules.policy.timeout;
    while bench.exchange.next_step() == Step::Wait && bench.env.now < began.after(timeout * timeouts) {
        acknowledged += more;
        expire(bench, Some(side), Some(acknowledged));
    }
    Duration::from_micros(bench.env.now.since_us(began))
}

/// A response of which the client's socket has taken a part and has no room for more.
fn blocked_response() -> Bench {
    let mut bench = Bench::new();
    bench.asks(get(1), forwarded_get(1));
    bench.wakes(Backend);
    let response = format!("HTTP/1.1 200 OK\r\nContent-Length: 9000\r\n\r\n{}", "x".repeat(9_000));
    bench.reads(Backend, &response);
    bench.takes(Client, &dated(Client, response.as_bytes()), 1_000);
    bench.releases(Release::Reuse);
    bench.waits();
    bench
}

/// A request of which the backend's socket has taken a part and has no room for more.
fn blocked_request() -> Bench {
    let mut bench = Bench::new();
    let fields = "Content-Length: 9000\r\n";
    bench.reads(Client, post(fields) + &"x".repeat(9_000));
    bench.dials(false, false);
    bench.takes(Backend, (forwarded_post(fields) + &"x".repeat(9_000)).as_bytes(), 1_000);
    bench.waits();
    bench
}

#[test]
fn a_peer_that_acknowledges_octets_steadily_is_waited_for() {
    let a_look = ACKNOWLEDGED_BYTES_MIN / u64::from(LOOKS);
    for (mut bench, side) in [(blocked_response(), Client), (blocked_request(), Backend)] {
        let timeout = bench.env.rules.policy.timeout;
        assert_eq!(pass(&mut bench, side, a_look, 20), timeout * 20, "{side:?}");
        assert_eq!(bench.exchange.next_step(), Step::Wait, "{side:?}");
    }
}

#[test]
fn a_peer_that_acknowledges_nothing_or_next_to_nothing_is_cut() {
    let a_look = ACKNOWLEDGED_BYTES_MIN / u64::from(LOOKS);
    for more in [0, 1, a_look - 1] {
        for (mut bench, side) in [(blocked_response(), Client), (blocked_request(), Backend)] {
            let timeout = bench.env.rules.policy.timeout;
            let passed = pass(&mut bench, side, more, 20);
            assert_eq!(passed, timeout + timeout / LOOKS, "{side:?}: {more}");
            let step = bench.exchange.next_step();
            if side == Client {
                assert_eq!(bench.exchange.record().cause, Cause::Cut("client_slow"));
                assert_eq!(step, Step::Finish(Persistence::Close));
                assert!(bench.exchange.ends_in_reset());
            } else {
                assert_eq!((step, bench.exchange.record().status), (Step::Write(Client), 504));
            }
        }
    }
}

#[test]
fn a_peer_whose_octets_nobody_counts_has_one_timeout() {
    let mut bench = blocked_response();
    let timeout = bench.env.rules.policy.timeout;
    for _ in 0..LOOKS {
        assert_eq!(bench.exchange.next_step(), Step::Wait);
        assert_eq!(expire(&mut bench, Some(Client), None), timeout / LOOKS);
    }
    assert_eq!(bench.exchange.next_step(), Step::Finish(Persistence::Close));
}

#[test]
fn an_upload_that_is_still_with_the_kernel_holds_back_the_deadline_of_its_answer() {
    let asked = || {
        let mut bench = Bench::new();
        let fields = "Content-Length: 5000\r\n";
        let content = "x".repeat(5_000);
        bench.asks(post(fields) + &content, forwarded_post(fields) + &content);
        bench.waits();
        bench
    };
    let mut bench = asked();
    let timeout = bench.env.rules.policy.timeout;
    assert_eq!(pass(&mut bench, Backend, ACKNOWLEDGED_BYTES_MIN, 5), timeout * 5);
    assert_eq!(bench.exchange.next_step(), Step::Wait);
    // The backend has all of it, and takes its time.
    let mut bench = asked();
    assert_eq!(pass(&mut bench, Backend, 0, 5), timeout);
    assert_eq!((bench.exchange.next_step(), bench.exchange.record().status), (Step::Write(Client), 504));
    // Of a request that is short nothing is asked.
    let mut bench = Bench::new();
    bench.asks(get(1), forwarded_get(1));
    bench.waits();
    assert_eq!(expire(&mut bench, None, None), timeout);
}

#[test]
fn a_client_that_was_to_wait_for_a_100_and_drips_has_its_time() {
    let mut bench = Bench::new();
    let asked = "Expect: 100-continue\r\nContent-Length: 100000\r\n";
    bench.asks(post(asked), forwarded_post(asked));
    bench.waits();
    let timeout = bench.env.rules.policy.timeout;
    let asked = bench.env.now;
    while bench.exchange.next_step() == Step::Wait {
        assert!(bench.env.now < asked.after(3 * timeout), "it drips for ever");
        bench.env.now = bench.env.now.after(timeout * 29 / 30);
        if bench.env.now >= bench.exchange.deadline(&bench.env.rules) {
            bench.exchange.expire(None, &mut bench.env.given());
            break;
        }
        bench.wakes(Client);
        bench.reads(Client, "x");
        bench.writes(Backend, "x");
    }
    let answer = bench.exchange.outgoing(Client).concat();
    assert!(answer.starts_with(b"HTTP/1.1 408 "), "{}", answer.escape_ascii());
}

#[test]
fn a_client_that_owes_content_within_a_response_is_named() {
    let mut bench = Bench::new();
    let fields = "Content-Length: 10\r\n";
    bench.asks(post(fields) + "hello", forwarded_post(fields) + "hello");
    bench.wakes(Backend);
    bench.reads(Backend, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello");
    bench.writes(Client, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello");
    bench.waits();
    expire(&mut bench, None, None);
    bench.releases(Release::Close);
    assert_eq!(bench.exchange.record().cause, Cause::Cut("client_slow"));
}

/// A tunnel, with what the backend has said in it.
fn tunnel(words: &str) -> Bench {
    let mut bench = Bench::new();
    let forwarded =
        format!("GET /i/1 HTTP/1.1\r\nHost: a\r\nUpgrade: chat\r\n{FORWARDED}Connection: upgrade\r\n\r\n");
    bench.asks("GET /i/1 HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: chat\r\n\r\n", forwarded);
    bench.wakes(Backend);
    bench.reads(Backend, "HTTP/1.1 101 OK\r\nUpgrade: chat\r\n\r\n".to_owned() + words);
    bench
}

#[test]
fn a_tunnel_in_which_nothing_moves_ends() {
    let mut bench = tunnel("");
    let switched = "HTTP/1.1 101 OK\r\nUpgrade: chat\r\nConnection: upgrade\r\n\r\n";
    bench.writes(Client, switched);
    bench.waits();
    let tunnel_timeout = bench.env.rules.policy.tunnel_timeout;
    assert_eq!(bench.exchange.deadline(&bench.env.rules), bench.env.now.after(tunnel_timeout));
    bench.env.now = bench.env.now.after(tunnel_timeout / 2);
    bench.wakes(Client);
    bench.reads(Client, "ping");
    bench.writes(Backend, "ping");
    bench.waits();
    assert_eq!(expire(&mut bench, None, None), tunnel_timeout);
    bench.releases(Release::Close);
    bench.ends(Persistence::Close);
    assert_eq!(bench.exchange.record().cause, Cause::Cut("tunnel_idle"));
}

#[test]
fn what_an_end_of_a_tunnel_left_has_its_time_to_be_taken() {
    // The client takes nothing of it, and its connection stays as it is.
    let stuck = || {
        let mut bench = tunnel("bye");
        bench.step(Step::Write(Client), Outcome::Blocked);
        bench
    };
    let timeout = stuck().env.rules.policy.timeout;
    let mut cases = Vec::new();
    let mut bench = stuck();
    bench.closes(Backend);
    bench.waits();
    cases.push(("the backend has half-closed", bench));
    let mut bench = stuck();
    bench.wakes(Client);
    bench.step(Step::Write(Client), Outcome::Blocked);
    bench.reads(Client, "ping");
    bench.step(Step::Write(Backend), Outcome::Failed);
    bench.waits();
    cases.push(("the backend is gone", bench));
    for (case, mut bench) in cases {
        assert_eq!(pass(&mut bench, Client, 0, 9), timeout + timeout / LOOKS, "{case}");
        bench.releases(Release::Close);
        bench.ends(Persistence::Close);
    }
    // While both ends are there, it is a tunnel that pauses.
    let mut bench = stuck();
    bench.waits();
    assert!(pass(&mut bench, Client, 0, 9) >= timeout * 9);
    assert_eq!(bench.exchange.next_step(), Step::Wait);
}

/// Time passes, within which the client sends an octet each `pause`, until the exchange does more than read.
fn drips(bench: &mut Bench, pause: Duration) -> Duration {
    let began = bench.env.now;
    while bench.exchange.next_step() == Step::Wait {
        bench.env.now = bench.env.now.after(pause);
        let deadline = bench.exchange.deadline(&bench.env.rules);
        if bench.env.now >= deadline {
            bench.env.now = deadline;
            bench.exchange.expire(None, &mut bench.env.given());
        } else {
            bench.wakes(Client);
            bench.reads(Client, "x");
        }
    }
    Duration::from_micros(bench.env.now.since_us(began))
}

#[test]
fn the_rest_of_a_request_is_read_behind_its_refusal() {
    const MEGABYTES: u64 = 100;
    let refused = || {
        let mut bench = Bench::new();
        let request = format!("POST /s HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n", MEGABYTES << 20);
        bench.reads(Client, request);
        let answer = bench.exchange.outgoing(Client).concat();
        assert!(answer.starts_with(b"HTTP/1.1 413 "), "{}", answer.escape_ascii());
        bench.writes(Client, answer);
        bench.step(Step::Shutdown(Client), Outcome::Done);
        bench
    };
    // It sends all of it before it reads, as fast as it can.
    let mut bench = refused();
    for _ in 0..MEGABYTES * 64 {
        bench.wakes(Client);
        bench.reads(Client, [b'x'; 16 * 1024]);
        bench.env.now.0 += 1;
    }
    bench.closes(Client);
    bench.step(Step::Read(Client), Outcome::Ended);
    bench.ends(Persistence::Close);
    // One that pauses has no more to say, and one that drips has had its time.
    let second = Duration::from_secs(1);
    assert_eq!(drips(&mut refused(), 60 * second), 5 * second);
    assert_eq!(drips(&mut refused(), second), 30 * second);
}

#[test]
fn a_client_is_told_that_its_chunks_are_not_awaited() {
    let mut bench = Bench::new();
    let fields = "Transfer-Encoding: chunked\r\n";
    bench.asks(post(fields), forwarded_post(fields));
    bench.wakes(Backend);
    bench.reads(Backend, OK);
    // How much will come is not known: its client is told that the connection ends, and is heard for a last while.
    bench.writes(Client, OK.replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n"));
    bench.releases(Release::Close);
    bench.step(Step::Shutdown(Client), Outcome::Done);
    bench.wakes(Client);
    bench.reads(Client, "1\r\nx\r\n");
    bench.closes(Client);
    bench.step(Step::Read(Client), Outcome::Ended);
    bench.ends(Persistence::Close);
}

#[test]
fn a_connection_that_was_to_go_on_is_not_reset_for_the_rest_of_its_request() {
    let mut bench = Bench::new();
    let fields = "Content-Length: 10\r\n";
    bench.asks(post(fields) + "hello", forwarded_post(fields) + "hello");
    bench.wakes(Backend);
    bench.reads(Backend, OK);
    bench.writes(Client, OK);
    bench.releases(Release::Close);
    bench.waits();
    assert_eq!(expire(&mut bench, None, None), Duration::from_secs(5));
    bench.step(Step::Shutdown(Client), Outcome::Done);
    bench.wakes(Client);
    bench.reads(Client, "world");
    bench.closes(Client);
    bench.step(Step::Read(Client), Outcome::Ended);
    bench.ends(Persistence::Close);
}

#[test]
fn what_a_client_sends_while_the_backend_takes_nothing_does_not_count_against_it() {
    let mut bench = Bench::new();
    let fields = "Content-Length: 594359\r\n";
    bench.asks(post(fields), forwarded_post(fields));
    bench.wakes(Client);
    bench.step(Step::Fill(Client), Outcome::Moved { count: 700, full: false });
    bench.step(Step::Drain(Backend), Outcome::Blocked);
    bench.step(Step::Fill(Client), Outcome::Moved { count: 211, full: false });
    bench.step(Step::Fill(Client), Outcome::Blocked);
    bench.waits();
    // The backend takes nothing for longer than a timeout, and then all.
    bench.env.now = bench.env.now.after(Duration::from_secs(40));
    bench.wakes(Client);
    bench.exchange.ready(Backend, Readiness { writable: true, ..Readiness::default() });
    bench.step(Step::Drain(Backend), Outcome::Moved { count: 911, full: true });
    bench.step(Step::Fill(Client), Outcome::Moved { count: 700, full: false });
    bench.step(Step::Drain(Backend), Outcome::Moved { count: 700, full: true });
    bench.step(Step::Fill(Client), Outcome::Blocked);
    bench.waits();
    let deadline = bench.exchange.deadline(&bench.env.rules);
    assert!(deadline > bench.env.now.after(Duration::from_secs(20)), "{deadline:?}");
}
