//! Exchanges whose peers take their time: what is theirs, and what it gains them.

use super::{Bench, forwarded_get, get};
use apex::base::Tick;
use apex::exchange::Side::{Backend, Client};
use apex::exchange::{Outcome, Step};
use apex::http::limits::LOOKS;
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
