//! Exchanges whose peers take their time: what is theirs, and what it gains them.

use super::{Bench, dated, forwarded_get, get};
use apex::base::Tick;
use apex::exchange::Side::{Backend, Client};
use apex::exchange::{Outcome, Readiness, Release, Step};
use apex::http::head::Persistence;
use apex::http::limits::LOOKS;
use std::collections::HashSet;
use std::time::Duration;

#[test]
fn the_answer_to_a_head_request_that_is_late_or_broken_has_no_content() {
    for (method, has_content) in [("HEAD", false), ("GET", true)] {
        for (rest, status) in [("Host: a\r\n", "408"), ("Host: a\nX: y\r\n\r\n", "400")] {
            let mut bench = Bench::new();
            bench.reads(Client, format!("{method} /i/1 HTTP/1.1\r\n{rest}"));
            if bench.exchange.next_step() == Step::Wait {
                bench.exchange.expire(None, &mut bench.env.given());
            }
            assert_eq!(bench.exchange.next_step(), Step::Write(Client));
            let answer = String::from_utf8(bench.exchange.outgoing(Client).concat()).unwrap();
            assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{answer}");
            assert_eq!(!answer.ends_with("\r\n\r\n"), has_content, "{answer}");
        }
    }
}

#[test]
fn a_response_head_that_drips_gains_no_time() {
    let mut bench = Bench::new();
    bench.asks(get(1), forwarded_get(1));
    let timeout = bench.env.rules.policy.timeout;
    let asked = bench.env.now;
    let pass_time = |bench: &mut Bench, since: Tick| {
        bench.env.now = bench.env.now.after(timeout / 8);
        bench.wakes(Backend);
        assert_eq!(bench.exchange.deadline(&bench.env.rules), since.after(timeout));
    };
    for octets in ["HTTP/1.1 100 Con", "tinue\r", "\n"] {
        pass_time(&mut bench, asked);
        bench.reads(Backend, octets);
    }
    // An interim response is progress, and so is the head; a piece of either is none.
    pass_time(&mut bench, asked);
    bench.reads(Backend, "\r\n");
    let interim = bench.env.now;
    bench.writes(Client, "HTTP/1.1 100 Continue\r\n\r\n");
    for octets in ["HTTP/1.1 200 O", "K\r\nContent-Length: 2\r\n"] {
        pass_time(&mut bench, interim);
        bench.reads(Backend, octets);
    }
    pass_time(&mut bench, interim);
    bench.reads(Backend, "\r\n");
    let deadline = bench.exchange.deadline(&bench.env.rules);
    assert_eq!(deadline, bench.env.now.after(timeout));
}

#[test]
fn an_answer_of_apex_has_all_its_time_after_a_long_rest() {
    let mut bench = Bench::new();
    bench.env.now = bench.env.now.after(Duration::from_secs(3_600));
    bench.reads(Client, "OPTIONS /i/1 HTTP/1.1\r\nHost: a\r\nMax-Forwards: 0\r\n\r\n");
    bench.step(Step::Write(Client), Outcome::Blocked);
    bench.waits();
    let deadline = bench.exchange.deadline(&bench.env.rules);
    assert_eq!(deadline, bench.env.now.after(bench.env.rules.policy.timeout / LOOKS));
}

#[test]
fn a_head_that_waits_for_its_rest_keeps_no_whole_buffer() {
    let mut bench = Bench::new();
    let buffer = bench.env.buffers.take();
    let memory = buffer.as_ptr();
    bench.env.buffers.give(buffer);
    let (front, back) = (&get(1)[..20], &get(1)[20..]);
    bench.reads(Client, front);
    bench.waits();
    let given_back = bench.env.buffers.take();
    assert_eq!(given_back.as_ptr(), memory);
    bench.env.buffers.give(given_back);
    bench.wakes(Client);
    bench.asks(back, forwarded_get(1));
}

/// A response whose content fills the buffer that it is read into, and of which the client takes nothing.
fn a_full_buffer() -> Bench {
    let mut bench = Bench::new();
    bench.asks(get(1), forwarded_get(1));
    bench.wakes(Backend);
    let room = {
        let incoming = bench.exchange.incoming(Backend, &mut bench.env.buffers, &bench.env.rules);
        incoming.capacity() - incoming.len()
    };
    let head = "HTTP/1.1 200 OK\r\nContent-Length: 00000\r\n\r\n";
    let content = "x".repeat(room - head.len());
    bench.reads(Backend, head.replace("00000", &format!("{:05}", content.len())) + &content);
    bench.step(Step::Write(Client), Outcome::Blocked);
    bench
}

#[test]
fn what_may_follow_a_response_is_looked_at_and_not_read() {
    let mut bench = a_full_buffer();
    let capacity = bench.exchange.outgoing(Client).map(<[u8]>::len);
    bench.step(Step::Peek(Backend), Outcome::Blocked);
    bench.releases(Release::Reuse);
    assert_eq!(bench.exchange.outgoing(Client).map(<[u8]>::len), capacity);
    // Something is there, or the connection has ended: it is used no more.
    let mut bench = a_full_buffer();
    bench.step(Step::Peek(Backend), Outcome::Ended);
    bench.releases(Release::Close);
    bench.waits();
}

#[test]
fn content_that_did_not_leave_is_not_counted() {
    let mut bench = Bench::new();
    bench.asks(get(1), forwarded_get(1));
    bench.wakes(Backend);
    bench.reads(Backend, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello");
    let sent = dated(Client, b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello");
    bench.takes(Client, &sent, sent.len() - 3);
    bench.wakes(Backend);
    bench.exchange.ready(Client, Readiness { gone: true, ..Readiness::default() });
    bench.releases(Release::Close);
    bench.ends(Persistence::Close);
    assert_eq!(bench.exchange.record().response_bytes, 2);
    // An answer of Apex's own counts as any other.
    let mut bench = Bench::new();
    bench.reads(Client, "GET /none HTTP/1.1\r\nHost: a\r\n\r\n");
    let answer = bench.exchange.outgoing(Client).concat();
    bench.takes(Client, &answer, answer.len() - 1);
    bench.exchange.ready(Client, Readiness { gone: true, ..Readiness::default() });
    bench.ends(Persistence::Close);
    let content = answer.len() - answer.windows(4).position(|four| four == b"\r\n\r\n").unwrap() - 4;
    assert_eq!(bench.exchange.record().response_bytes, content as u64 - 1);
}

/// Buffers of the usual size that come one after the other: how many of these are in use.
fn whole_buffers_in_use(run: impl FnOnce(&mut Bench)) -> usize {
    const COUNT: usize = 8;
    let mut bench = Bench::new();
    let mut buffers: Vec<_> = (0..COUNT).map(|_| bench.env.buffers.take()).collect();
    let places: HashSet<_> = buffers.iter().map(Vec::as_ptr).collect();
    buffers.drain(..).for_each(|buffer| bench.env.buffers.give(buffer));
    run(&mut bench);
    let left =
        (0..COUNT).map(|_| bench.env.buffers.take()).filter(|buffer| places.contains(&buffer.as_ptr()));
    COUNT - left.collect::<Vec<_>>().len()
}

#[test]
fn a_request_that_waits_for_its_answer_keeps_no_whole_buffer() {
    let in_use = whole_buffers_in_use(|bench| {
        bench.asks(get(1), forwarded_get(1));
        bench.waits();
        assert!(!bench.exchange.record().request_line().is_empty());
    });
    assert_eq!(in_use, 0);
}

#[test]
fn what_is_sent_again_and_noted_of_a_long_head_has_its_room() {
    let long = "y".repeat(7_000);
    let ask = |bench: &mut Bench| {
        bench.reads(Client, format!("GET /i/1 HTTP/1.1\r\nHost: a\r\nReferer: {long}\r\nX: {long}\r\n\r\n"));
        bench.dials(false, true);
        assert_eq!(bench.exchange.next_step(), Step::Write(Backend));
        let head = bench.exchange.outgoing(Backend).concat();
        assert_eq!(head.windows(7_000).filter(|part| *part == long.as_bytes()).count(), 2);
        assert_eq!(bench.exchange.record().referer().len(), 4_096);
        bench.step(Step::Write(Backend), Outcome::Moved { count: head.len(), full: true });
        bench.closes(Backend);
        bench.step(Step::Read(Backend), Outcome::Ended);
        bench.releases(Release::Close);
        bench.dials(true, false);
        bench.writes(Backend, head);
        bench.waits();
    };
    assert_eq!(whole_buffers_in_use(ask), 2);
}
