//! Endpoints that fail: which failures are blamed on them, and how often a request is tried.

use super::{Bench, OK, asked, forwarded_get, get, post};
use apex::exchange::Side::{Backend, Client};
use apex::exchange::{Outcome, Readiness, Release, Step};
use apex::http::head::Persistence;
use apex::route::endpoint::Try;
use apex::route::health::Failure;
use std::time::Duration;

impl Bench {
    /// A new connection to that endpoint is begun.
    #[track_caller]
    fn dials_to(&mut self, member: usize, fresh: bool) {
        let outcome = Outcome::Dialed { asked: asked(member), reused: false, bulk: false };
        self.step(Step::Dial { fresh }, outcome);
    }

    /// The connection is not there yet, and what is asked next is told at that time.
    #[track_caller]
    fn waits_to_connect(&mut self) {
        self.step(Step::Write(Backend), Outcome::Blocked);
        self.waits();
    }

    /// The deadline passes; how long that was.
    fn expires(&mut self) -> Duration {
        let deadline = self.exchange.deadline(&self.env.rules);
        let passed = Duration::from_micros(deadline.since_us(self.env.now));
        self.env.now = deadline;
        self.exchange.expire(None, &mut self.env.given());
        passed
    }

    /// The status of Apex's own answer, which is next.
    #[track_caller]
    fn answers(&mut self) -> String {
        assert_eq!(self.exchange.next_step(), Step::Write(Client));
        let answer = self.exchange.outgoing(Client).concat();
        let answer = String::from_utf8_lossy(&answer);
        answer["HTTP/1.1 ".len()..][..3].to_owned()
    }
}

fn failed(member: usize, failure: Failure) -> Try {
    Try { endpoint: asked(member).endpoint, failure }
}

#[test]
fn what_is_blamed_on_an_endpoint() {
    // A connection that is refused at once, or later; what is read instead of an answer.
    let mut bench = Bench::new();
    bench.reads(Client, get(1));
    let refusal = Outcome::DialFailed { asked: asked(0), failure: Failure::Unreachable };
    bench.step(Step::Dial { fresh: false }, refusal);
    bench.dials_to(1, false);
    bench.step(Step::Write(Backend), Outcome::Unconnected(Failure::Refused));
    assert_eq!(bench.exchange.failure(), Some(Failure::Refused));
    bench.releases(Release::Close);
    bench.dials_to(2, true);
    assert_eq!(bench.exchange.failure(), None, "the next one did nothing wrong yet");
    bench.writes(Backend, forwarded_get(1));
    bench.wakes(Backend);
    bench.reads(Backend, "SSH-2.0-OpenSSH_9.6\r\n\r\n");
    assert_eq!(bench.answers(), "502");
    assert_eq!(bench.exchange.failure(), Some(Failure::NotHttp));
    let all = [failed(0, Failure::Unreachable), failed(1, Failure::Refused), failed(2, Failure::NotHttp)];
    assert_eq!(bench.exchange.tries(), all);
}

#[test]
fn an_endpoint_that_does_not_answer_in_time_is_blamed() {
    let mut bench = Bench::new();
    bench.asks(get(1), forwarded_get(1));
    bench.waits();
    while bench.exchange.next_step() == Step::Wait {
        bench.expires();
    }
    assert_eq!(bench.answers(), "504");
    assert_eq!(bench.exchange.tries(), [failed(0, Failure::NoAnswer)]);
}

#[test]
fn a_pooled_connection_that_was_closed_is_blamed_on_nobody() {
    for (request, is_sent_again) in [(get(1), true), (post("Content-Length: 0\r\n"), false)] {
        let mut bench = Bench::new();
        bench.reads(Client, request);
        bench.dials(false, true);
        let count = bench.exchange.outgoing(Backend).concat().len();
        bench.step(Step::Write(Backend), Outcome::Moved { count, full: true });
        bench.closes(Backend);
        bench.step(Step::Read(Backend), Outcome::Ended);
        assert_eq!(bench.exchange.failure(), None);
        assert_eq!(bench.exchange.tries(), []);
        if is_sent_again {
            bench.releases(Release::Close);
            bench.dials_to(0, true);
        } else {
            assert_eq!(bench.answers(), "502");
        }
    }
}

#[test]
fn a_client_that_goes_says_nothing_of_the_endpoint() {
    let mut bench = Bench::new();
    bench.asks(get(1), forwarded_get(1));
    bench.waits();
    bench.exchange.ready(Client, Readiness { gone: true, ..Readiness::default() });
    bench.releases(Release::Close);
    assert_eq!((bench.exchange.failure(), bench.exchange.record().answered), (None, None));
    bench.ends(Persistence::Close);
}

/// Each attempt to connect has its time, and all together have that of the request.
#[test]
fn black_holes_are_tried_four_times() {
    let mut bench = Bench::new();
    bench.reads(Client, get(1));
    for member in 0..4 {
        bench.dials_to(member, member > 0);
        bench.waits_to_connect();
        assert_eq!(bench.expires(), bench.env.rules.policy.connect_timeout);
        assert_eq!(bench.exchange.failure(), Some(Failure::ConnectTimeout));
        if member < 3 {
            bench.releases(Release::Close);
        }
    }
    assert_eq!(bench.answers(), "504");
}

/// The last attempt had less time than it takes to find out: the request ends, and its endpoint may be well.
#[test]
fn an_attempt_that_the_request_cuts_short_is_blamed_on_nobody() {
    let mut bench = Bench::new();
    let policy = bench.env.rules.policy;
    bench.env.rules.policy.timeout = policy.connect_timeout * 3 / 2;
    bench.reads(Client, get(1));
    bench.dials_to(0, false);
    bench.waits_to_connect();
    assert_eq!(bench.expires(), policy.connect_timeout);
    bench.releases(Release::Close);
    bench.dials_to(1, true);
    bench.waits_to_connect();
    assert_eq!(bench.expires(), policy.connect_timeout / 2);
    assert_eq!(bench.answers(), "504");
    assert_eq!(bench.exchange.failure(), None);
    assert_eq!(bench.exchange.tries(), [failed(0, Failure::ConnectTimeout)]);
}

#[test]
fn a_backend_that_answers_is_not_blamed_for_what_follows() {
    let mut bench = Bench::new();
    bench.asks(get(1), forwarded_get(1));
    bench.waits();
    bench.wakes(Backend);
    bench.reads(Backend, &OK[..OK.len() - 1]);
    bench.step(Step::Write(Client), Outcome::Failed);
    bench.releases(Release::Close);
    assert!(bench.exchange.record().answered.is_some() && bench.exchange.failure().is_none());
}
