//! Whole exchanges step by step, written by hand: the exact list of what the worker is told to do.

mod late;
mod slow;
mod tries;

use super::surroundings::{DATE, Surroundings, asked};
use apex::exchange::{Exchange, Outcome, Readiness, Release, Side, Step};
use apex::http::head::Persistence;

use Side::{Backend, Client};

/// The fields that Apex adds to a request of these tests.
const FORWARDED: &str = "X-Forwarded-For: 192.0.2.1\r\nX-Forwarded-Proto: http\r\nX-Forwarded-Host: a\r\n";

struct Bench {
    env: Surroundings,
    exchange: Exchange,
}

impl Bench {
    /// A client has connected; its socket is writable and readable.
    fn new() -> Self {
        let mut bench = Self { env: Surroundings::new(), exchange: Exchange::new() };
        bench.wakes(Client);
        bench
    }

    fn wakes(&mut self, side: Side) {
        self.exchange.ready(side, Readiness { readable: true, writable: true, ..Readiness::default() });
    }

    fn closes(&mut self, side: Side) {
        let readiness = Readiness { readable: true, writable: true, read_closed: true, gone: false };
        self.exchange.ready(side, readiness);
    }

    /// The next step is this one; what comes of it.
    #[track_caller]
    fn step(&mut self, step: Step, outcome: Outcome) {
        assert_eq!(self.exchange.next_step(), step);
        self.exchange.apply(step, outcome, &mut self.env.given());
    }

    #[track_caller]
    fn waits(&mut self) {
        assert_eq!(self.exchange.next_step(), Step::Wait);
        self.exchange.settle(&mut self.env.buffers);
        assert_eq!(self.exchange.next_step(), Step::Wait);
    }

    /// A read that finds these octets and empties the socket.
    #[track_caller]
    fn reads(&mut self, side: Side, bytes: impl AsRef<[u8]>) {
        let bytes = bytes.as_ref();
        assert_eq!(self.exchange.next_step(), Step::Read(side));
        let incoming = self.exchange.incoming(side, &mut self.env.buffers, &self.env.rules);
        let full = incoming.capacity() - incoming.len() == bytes.len();
        incoming.extend_from_slice(bytes);
        self.step(Step::Read(side), Outcome::Moved { count: bytes.len(), full });
    }

    /// One write of all of these octets.
    #[track_caller]
    fn writes(&mut self, side: Side, expected: impl AsRef<[u8]>) {
        let expected = dated(side, expected.as_ref());
        let count = expected.len();
        self.takes(side, &expected, count);
    }

    /// One write of these octets, of which the socket takes the first `count`.
    #[track_caller]
    fn takes(&mut self, side: Side, expected: &[u8], count: usize) {
        assert_eq!(self.exchange.next_step(), Step::Write(side));
        let offered = self.exchange.outgoing(side).concat();
        assert_eq!(String::from_utf8_lossy(&offered), String::from_utf8_lossy(expected));
        self.step(Step::Write(side), Outcome::Moved { count, full: count == offered.len() });
    }

    #[track_caller]
    fn dials(&mut self, fresh: bool, reused: bool) {
        self.step(Step::Dial { fresh }, Outcome::Dialed { asked: asked(0), reused, bulk: true });
    }

    #[track_caller]
    fn releases(&mut self, fate: Release) {
        self.step(Step::Release(fate), Outcome::Done);
    }

    #[track_caller]
    fn ends(&mut self, persistence: Persistence) {
        self.step(Step::Finish(persistence), Outcome::Done);
    }

    /// The exchange ends and the next one begins.
    #[track_caller]
    fn goes_on(&mut self) {
        self.ends(Persistence::KeepAlive);
        self.exchange.renew(&mut self.env.given());
    }

    /// Until the head of the response, with a request that is read in one piece.
    #[track_caller]
    fn asks(&mut self, request: impl AsRef<[u8]>, forwarded: impl AsRef<[u8]>) {
        self.reads(Client, request);
        self.dials(false, false);
        self.writes(Backend, forwarded);
    }
}

/// What a client gets of a response without a `Date`: one is added behind the start line (RFC 9110 section 6.6.1).
fn dated(side: Side, bytes: &[u8]) -> Vec<u8> {
    let text = String::from_utf8_lossy(bytes);
    let line = "HTTP/1.1 200 OK\r\n";
    let is_response = side == Client && text.starts_with(line) && !text.contains("Date: ");
    if is_response {
        text.replacen(line, &format!("{line}Date: {DATE}\r\n"), 1).into_bytes()
    } else {
        bytes.to_vec()
    }
}

fn get(id: usize) -> String {
    format!("GET /i/{id} HTTP/1.1\r\nHost: a\r\n\r\n")
}

fn forwarded_get(id: usize) -> String {
    format!("GET /i/{id} HTTP/1.1\r\nHost: a\r\n{FORWARDED}\r\n")
}

fn post(fields: &str) -> String {
    format!("POST /i/1 HTTP/1.1\r\nHost: a\r\n{fields}\r\n")
}

fn forwarded_post(fields: &str) -> String {
    format!("POST /i/1 HTTP/1.1\r\nHost: a\r\n{FORWARDED}{fields}\r\n")
}

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

#[test]
fn a_get_takes_ten_steps() {
    let mut bench = Bench::new();
    bench.reads(Client, get(1));
    bench.dials(false, false);
    // The connection is not made yet: nothing can be written.
    bench.step(Step::Write(Backend), Outcome::Blocked);
    bench.waits();
    bench.exchange.ready(Backend, Readiness { writable: true, ..Readiness::default() });
    bench.writes(Backend, forwarded_get(1));
    bench.waits();
    bench.wakes(Backend);
    bench.reads(Backend, OK);
    bench.writes(Client, OK);
    bench.releases(Release::Reuse);
    assert_eq!(bench.exchange.record().status, 200);
    bench.goes_on();
    assert!(bench.exchange.is_at_rest());
    bench.waits();
}

#[test]
fn head_and_small_content_leave_in_one_write() {
    let mut bench = Bench::new();
    let fields = "Content-Length: 5\r\n";
    bench.asks(post(fields) + "hello", forwarded_post(fields) + "hello");
    bench.waits();
    bench.wakes(Backend);
    bench.reads(Backend, OK);
    bench.writes(Client, OK);
    bench.releases(Release::Reuse);
    assert_eq!(bench.exchange.next_step(), Step::Finish(Persistence::KeepAlive));
    assert_eq!(bench.exchange.record().request_bytes, 5);
    assert_eq!(bench.exchange.record().response_bytes, 2);
}

#[test]
fn pipelined_requests_are_answered_one_behind_the_other() {
    let mut bench = Bench::new();
    bench.asks(get(1) + &get(2), forwarded_get(1));
    bench.wakes(Backend);
    bench.reads(Backend, OK);
    bench.writes(Client, OK);
    bench.releases(Release::Reuse);
    bench.goes_on();
    // The second one was read with the first: no read.
    bench.dials(false, true);
    bench.writes(Backend, forwarded_get(2));
    bench.wakes(Backend);
    bench.reads(Backend, OK);
    bench.writes(Client, OK);
    bench.releases(Release::Reuse);
    bench.goes_on();
    bench.waits();
}

#[test]
fn a_stale_connection_is_replaced_by_a_fresh_one() {
    let mut bench = Bench::new();
    bench.reads(Client, get(1));
    bench.dials(false, true);
    bench.writes(Backend, forwarded_get(1));
    bench.closes(Backend);
    bench.step(Step::Read(Backend), Outcome::Ended);
    bench.releases(Release::Close);
    bench.dials(true, false);
    bench.writes(Backend, forwarded_get(1));
    bench.wakes(Backend);
    bench.reads(Backend, OK);
    bench.writes(Client, OK);
    bench.releases(Release::Reuse);
    assert_eq!(bench.exchange.record().retries, 1);
    bench.goes_on();
}

#[test]
fn what_a_backend_says_before_it_is_asked_goes_to_nobody() {
    let mut bench = Bench::new();
    bench.reads(Client, post("Content-Length: 2\r\n") + "hi");
    bench.dials(false, true);
    bench.step(Step::Write(Backend), Outcome::Blocked);
    bench.exchange.ready(Backend, Readiness { readable: true, ..Readiness::default() });
    bench.reads(Backend, OK);
    bench.releases(Release::Close);
    // Nothing was sent, so even a POST is.
    bench.dials(true, false);
    bench.writes(Backend, forwarded_post("Content-Length: 2\r\n") + "hi");
    bench.wakes(Backend);
    bench.reads(Backend, OK);
    bench.writes(Client, OK);
}

#[test]
fn a_post_that_was_written_is_not_sent_again() {
    let mut bench = Bench::new();
    let fields = "Content-Length: 2\r\n";
    bench.reads(Client, post(fields) + "hi");
    bench.dials(false, true);
    bench.writes(Backend, forwarded_post(fields) + "hi");
    bench.closes(Backend);
    bench.step(Step::Read(Backend), Outcome::Ended);
    let answer = bench.exchange.outgoing(Client).concat();
    assert!(answer.starts_with(b"HTTP/1.1 502 Bad Gateway\r\n"));
    bench.writes(Client, answer);
    bench.releases(Release::Close);
    bench.goes_on();
}

#[test]
fn a_post_of_which_nothing_was_written_is_sent_again() {
    let mut bench = Bench::new();
    let fields = "Content-Length: 2\r\n";
    bench.reads(Client, post(fields) + "hi");
    bench.dials(false, true);
    bench.step(Step::Write(Backend), Outcome::Failed);
    bench.releases(Release::Close);
    bench.dials(true, false);
    bench.writes(Backend, forwarded_post(fields) + "hi");
}

#[test]
fn a_put_of_which_content_is_gone_is_not_sent_again() {
    let mut bench = Bench::new();
    let content = "x".repeat(9_000);
    let fields = "Content-Length: 9000\r\n";
    let head = forwarded_post(fields).replacen("POST", "PUT", 1);
    bench.reads(Client, post(fields).replacen("POST", "PUT", 1) + &content);
    bench.dials(false, true);
    // It is too long to be kept: what the backend took of it is gone, and a fresh one would be given the rest alone.
    bench.takes(Backend, (head.clone() + &content).as_bytes(), head.len() + 1);
    bench.exchange.ready(Backend, Readiness { readable: true, read_closed: true, ..Readiness::default() });
    bench.step(Step::Read(Backend), Outcome::Ended);
    assert_eq!(bench.exchange.next_step(), Step::Write(Client));
    let answer = bench.exchange.outgoing(Client).concat();
    assert!(answer.starts_with(b"HTTP/1.1 502 "), "{}", answer.escape_ascii());
}

#[test]
fn content_follows_a_100() {
    let mut bench = Bench::new();
    let asked = "Expect: 100-continue\r\nContent-Length: 5\r\n";
    bench.asks(post(asked), forwarded_post(asked));
    bench.waits();
    bench.wakes(Backend);
    bench.reads(Backend, "HTTP/1.1 100 Continue\r\n\r\n");
    bench.writes(Client, "HTTP/1.1 100 Continue\r\n\r\n");
    bench.waits();
    bench.wakes(Client);
    bench.reads(Client, "hello");
    bench.writes(Backend, "hello");
    bench.waits();
    bench.wakes(Backend);
    bench.reads(Backend, OK);
    bench.writes(Client, OK);
    bench.releases(Release::Reuse);
    bench.goes_on();
}

#[test]
fn the_rest_of_a_request_is_thrown_away_behind_an_early_response() {
    let mut bench = Bench::new();
    let fields = "Content-Length: 10\r\n";
    bench.asks(post(fields) + "hello", forwarded_post(fields) + "hello");
    bench.wakes(Backend);
    bench.reads(Backend, OK);
    bench.writes(Client, OK);
    bench.releases(Release::Close);
    bench.waits();
    bench.wakes(Client);
    bench.reads(Client, "world".to_owned() + &get(2));
    bench.goes_on();
    bench.dials(false, false);
    bench.writes(Backend, forwarded_get(2));
}

#[test]
fn more_than_is_thrown_away_is_not_waited_for() {
    for (length, close) in [(256 * 1024 + 5, ""), (256 * 1024 + 6, "Connection: close\r\n")] {
        let mut bench = Bench::new();
        let fields = format!("Content-Length: {length}\r\n");
        bench.asks(post(&fields) + "hello", forwarded_post(&fields) + "hello");
        bench.wakes(Backend);
        bench.reads(Backend, OK);
        bench.writes(Client, OK.replacen("\r\n\r\n", &format!("\r\n{close}\r\n"), 1));
    }
}

#[test]
fn empty_lines_at_rest_are_passed_over_within_a_bound() {
    let empty_lines = |count: usize| {
        let mut bench = Bench::new();
        for _ in 0..count {
            bench.reads(Client, "\r\n");
            bench.wakes(Client);
        }
        bench
    };
    let mut bench = empty_lines(4);
    bench.asks(get(1), forwarded_get(1));
    let mut bench = empty_lines(4);
    assert!(bench.exchange.is_at_rest());
    bench.reads(Client, "\r\n");
    assert_eq!(bench.exchange.next_step(), Step::Write(Client));
    let answer = bench.exchange.outgoing(Client).concat();
    assert!(answer.starts_with(b"HTTP/1.1 400 "), "{}", answer.escape_ascii());
}

#[test]
fn content_that_no_backend_took_is_not_the_next_request() {
    let mut bench = Bench::new();
    let content = get(666).repeat(200);
    let fields = format!("Content-Length: {}\r\n", content.len());
    bench.reads(Client, post(&fields) + &content);
    bench.dials(false, false);
    // The content is long enough to be written from where it was read; the backend answers before it takes it.
    let head = forwarded_post(&fields);
    bench.takes(Backend, (head.clone() + &content).as_bytes(), head.len());
    bench.exchange.ready(Backend, Readiness { readable: true, ..Readiness::default() });
    bench.reads(Backend, OK);
    bench.writes(Client, OK);
    bench.releases(Release::Close);
    bench.goes_on();
    assert!(bench.exchange.is_at_rest());
    bench.waits();
}

#[test]
fn content_that_ends_with_its_connection_goes_out_chunked() {
    let mut bench = Bench::new();
    bench.asks(get(1), forwarded_get(1));
    bench.wakes(Backend);
    bench.reads(Backend, "HTTP/1.1 200 OK\r\n\r\nhello");
    bench.writes(Client, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n");
    bench.waits();
    bench.closes(Backend);
    bench.reads(Backend, "!");
    bench.writes(Client, "1\r\n!\r\n");
    // No edge will tell of the end: it is read for.
    bench.step(Step::Read(Backend), Outcome::Ended);
    bench.writes(Client, "0\r\n\r\n");
    bench.releases(Release::Close);
    bench.goes_on();
}

#[test]
fn a_response_that_is_cut_short_has_no_last_chunk() {
    let mut bench = Bench::new();
    bench.asks(get(1), forwarded_get(1));
    bench.wakes(Backend);
    bench.reads(Backend, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel");
    bench.writes(Client, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel");
    bench.closes(Backend);
    bench.step(Step::Read(Backend), Outcome::Ended);
    bench.releases(Release::Close);
    bench.step(Step::Shutdown(Client), Outcome::Done);
    bench.closes(Client);
    bench.step(Step::Read(Client), Outcome::Ended);
    bench.ends(Persistence::Close);
    assert!(!bench.exchange.ends_in_reset());
}

#[test]
fn a_client_of_1_0_is_reset_where_its_response_is_cut_short() {
    let mut bench = Bench::new();
    let forwarded = forwarded_get(1);
    bench.asks("GET /i/1 HTTP/1.0\r\nHost: a\r\n\r\n", forwarded);
    bench.wakes(Backend);
    bench.reads(Backend, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel");
    bench.writes(Client, "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nhel");
    bench.closes(Backend);
    bench.step(Step::Read(Backend), Outcome::Ended);
    bench.releases(Release::Close);
    bench.ends(Persistence::Close);
    assert!(bench.exchange.ends_in_reset());
}

#[test]
fn a_reset_is_not_the_end_of_a_content() {
    let mut bench = Bench::new();
    let fields = "Content-Length: 10\r\n";
    bench.asks(post(fields), forwarded_post(fields));
    bench.wakes(Backend);
    bench.reads(Backend, "HTTP/1.1 200 OK\r\n\r\nhello");
    bench.writes(Client, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n");
    bench.wakes(Client);
    bench.reads(Client, "more");
    // The write is told of the reset, and the read that follows finds an end.
    bench.step(Step::Write(Backend), Outcome::Failed);
    bench.step(Step::Read(Backend), Outcome::Ended);
    bench.releases(Release::Close);
    bench.step(Step::Shutdown(Client), Outcome::Done);
}

#[test]
fn a_tunnel_is_closed_one_direction_after_the_other() {
    let mut bench = Bench::new();
    let fields = "Connection: upgrade\r\nUpgrade: chat\r\n";
    let forwarded =
        format!("GET /i/1 HTTP/1.1\r\nHost: a\r\nUpgrade: chat\r\n{FORWARDED}Connection: upgrade\r\n\r\n");
    bench.asks(format!("GET /i/1 HTTP/1.1\r\nHost: a\r\n{fields}\r\n"), forwarded);
    bench.wakes(Backend);
    bench.reads(
        Backend,
        "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: chat\r\n\r\nwelcome",
    );
    let switched = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: chat\r\nConnection: upgrade\r\n\r\nwelcome";
    bench.writes(Client, switched);
    bench.waits();
    bench.closes(Client);
    bench.reads(Client, "bye");
    bench.writes(Backend, "bye");
    bench.step(Step::Read(Client), Outcome::Ended);
    bench.step(Step::Shutdown(Backend), Outcome::Done);
    bench.waits();
    bench.wakes(Backend);
    bench.reads(Backend, "still here");
    bench.writes(Client, "still here");
    bench.waits();
    bench.closes(Backend);
    bench.step(Step::Read(Backend), Outcome::Ended);
    bench.step(Step::Shutdown(Client), Outcome::Done);
    bench.releases(Release::Close);
    bench.ends(Persistence::Close);
}

#[test]
fn the_last_words_of_a_tunnel_arrive_although_its_client_still_sends() {
    let mut bench = Bench::new();
    let forwarded =
        format!("GET /i/1 HTTP/1.1\r\nHost: a\r\nUpgrade: chat\r\n{FORWARDED}Connection: upgrade\r\n\r\n");
    bench.asks("GET /i/1 HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: chat\r\n\r\n", forwarded);
    bench.wakes(Backend);
    bench.reads(Backend, "HTTP/1.1 101 OK\r\nUpgrade: chat\r\n\r\n");
    bench.writes(Client, "HTTP/1.1 101 OK\r\nUpgrade: chat\r\nConnection: upgrade\r\n\r\n");
    bench.wakes(Client);
    bench.reads(Client, "ping");
    bench.step(Step::Write(Backend), Outcome::Failed);
    bench.reads(Backend, "good bye");
    bench.writes(Client, "good bye");
    bench.step(Step::Read(Backend), Outcome::Ended);
    bench.step(Step::Shutdown(Client), Outcome::Done);
    bench.releases(Release::Close);
    bench.waits();
    bench.closes(Client);
    bench.step(Step::Read(Client), Outcome::Ended);
    bench.ends(Persistence::Close);
}

#[test]
fn a_long_content_goes_through_the_pipe_behind_the_memory() {
    let mut bench = Bench::new();
    bench.asks(get(1), forwarded_get(1));
    bench.wakes(Backend);
    let head = "HTTP/1.1 200 OK\r\nContent-Length: 262144\r\n\r\n";
    bench.reads(Backend, head);
    bench.writes(Client, head);
    bench.wakes(Backend);
    assert_eq!(bench.exchange.fill_max(Backend), 262_144);
    bench.step(Step::Fill(Backend), Outcome::Moved { count: 60_000, full: false });
    bench.step(Step::Drain(Client), Outcome::Moved { count: 50_000, full: false });
    bench.step(Step::Drain(Client), Outcome::Blocked);
    // The pipe was not empty: it may be full, or the socket empty.
    bench.step(Step::Fill(Backend), Outcome::Blocked);
    bench.waits();
    bench.wakes(Client);
    bench.step(Step::Drain(Client), Outcome::Moved { count: 10_000, full: true });
    assert_eq!(bench.exchange.fill_max(Backend), 202_144);
    bench.step(Step::Fill(Backend), Outcome::Moved { count: 202_144, full: true });
    bench.step(Step::Drain(Client), Outcome::Moved { count: 202_144, full: true });
    // A fill does not tell whether the socket is empty now.
    bench.step(Step::Peek(Backend), Outcome::Blocked);
    bench.releases(Release::Reuse);
    bench.goes_on();
}

#[test]
fn a_slow_client_does_not_hold_the_backend_connection() {
    let mut bench = Bench::new();
    bench.asks(get(1), forwarded_get(1));
    bench.wakes(Backend);
    let response = format!("HTTP/1.1 200 OK\r\nContent-Length: 9000\r\n\r\n{}", "x".repeat(9_000));
    bench.reads(Backend, &response);
    let expected = dated(Client, response.as_bytes());
    bench.takes(Client, &expected, 1_000);
    bench.releases(Release::Reuse);
    bench.waits();
    bench.wakes(Client);
    bench.writes(Client, &expected[1_000..]);
    bench.goes_on();
}
