//! Requests that Apex answers itself: malformed, ambiguous, too large, or without a route (the tables
//! "Reading a request" and "Where a request ends" of the protocol's plan).
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::unwrap_used,
    reason = "tests measure and wait"
)]

mod support;

use std::sync::mpsc;
use std::time::Duration;
use support::process::until;
use support::{Apex, Backend, End, Message, SOON, all, echo, get, ok, route};

/// An answer of Apex's own says how long it is, in plain text, and when.
fn expect_own(answer: &Message, case: &str) {
    assert_eq!(answer.end, End::Whole, "{case}");
    assert!(answer.field("Content-Length").is_some(), "{case}");
    assert!(answer.field("Content-Type").is_some_and(|kind| kind.starts_with("text/plain")), "{case}");
    assert!(answer.field("Date").is_some_and(|date| date.ends_with(" GMT")), "{case}");
    assert_eq!(answer.field("Server"), None, "{case}");
}

/// Sends each request on a connection of its own: the status must be the one named, the connection end, and no backend see it.
fn expect_refused(server: &str, keys: &str, cases: &[(&str, u16, &str)]) {
    let backend = Backend::answering(ok("it got through"));
    let apex = Apex::with(server, &route("all", keys, &[backend.addr()]));
    for &(case, status, wire) in cases {
        let mut client = apex.client();
        let answer = client.ask(wire);
        assert_eq!(answer.status(), status, "{case}: {}", answer.text());
        expect_own(&answer, case);
        assert_eq!(answer.field("Connection"), Some("close"), "{case}");
        client.expect_end();
    }
    assert_eq!(backend.accepted(), 0, "nothing that was refused may reach a backend");
    assert_eq!(apex.client().ask(get("/")).text(), "it got through");
}

#[test]
fn heads_that_can_be_read_in_two_ways() {
    expect_refused(
        "",
        "",
        &[
            ("bare LF", 400, "GET / HTTP/1.1\nHost: a\n\n"),
            ("bare LF behind a field", 400, "GET / HTTP/1.1\r\nHost: a\nX: b\r\n\r\n"),
            ("bare CR in a value", 400, "GET / HTTP/1.1\r\nHost: a\r\nX: b\rY: c\r\n\r\n"),
            ("NUL in a value", 400, "GET / HTTP/1.1\r\nHost: a\r\nX: b\0c\r\n\r\n"),
            ("DEL in a value", 400, "GET / HTTP/1.1\r\nHost: a\r\nX: b\x7fc\r\n\r\n"),
            ("obs-fold", 400, "GET / HTTP/1.1\r\nHost: a\r\nX: b\r\n c\r\n\r\n"),
            ("space before the colon", 400, "GET / HTTP/1.1\r\nHost: a\r\nX : b\r\n\r\n"),
            ("space before the first field", 400, "GET / HTTP/1.1\r\n Host: a\r\n\r\n"),
            ("no colon", 400, "GET / HTTP/1.1\r\nHost: a\r\nX\r\n\r\n"),
            ("empty name", 400, "GET / HTTP/1.1\r\nHost: a\r\n: b\r\n\r\n"),
            ("name that is no token", 400, "GET / HTTP/1.1\r\nHost: a\r\nX(Y): b\r\n\r\n"),
            ("method that is no token", 400, "G(T / HTTP/1.1\r\nHost: a\r\n\r\n"),
            ("two spaces", 400, "GET  / HTTP/1.1\r\nHost: a\r\n\r\n"),
            ("tab in the request line", 400, "GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n"),
            ("space in the target", 400, "GET /a b HTTP/1.1\r\nHost: a\r\n\r\n"),
            ("fragment", 400, "GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n"),
            ("relative target", 400, "GET a HTTP/1.1\r\nHost: a\r\n\r\n"),
            ("star without OPTIONS", 400, "GET * HTTP/1.1\r\nHost: a\r\n\r\n"),
            ("absolute-form without a host", 400, "GET http:///a HTTP/1.1\r\nHost: a\r\n\r\n"),
            ("HTTP/0.9", 400, "GET /\r\n\r\n"),
            ("not HTTP", 400, "\x16\x03\x01\x02\r\n\r\n"),
            ("many empty lines", 400, "\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n"),
            ("no Host", 400, "GET / HTTP/1.1\r\n\r\n"),
            ("two Hosts", 400, "GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n"),
            ("malformed Host", 400, "GET / HTTP/1.1\r\nHost: a b\r\n\r\n"),
            ("user in Host", 400, "GET / HTTP/1.1\r\nHost: user@a\r\n\r\n"),
            ("port out of range", 400, "GET / HTTP/1.1\r\nHost: a:65536\r\n\r\n"),
        ],
    );
}

#[test]
fn ends_that_can_be_read_in_two_ways() {
    let case =
        |name, status, fields: &str| (name, status, format!("POST / HTTP/1.1\r\nHost: a\r\n{fields}\r\n"));
    let cases = [
        case("both framings", 400, "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n"),
        case("both, the other way round", 400, "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n"),
        case("chunked twice", 400, "Transfer-Encoding: chunked, chunked\r\n"),
        case("chunked in two fields", 400, "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n"),
        case("chunked not last", 400, "Transfer-Encoding: chunked, gzip\r\n"),
        case("chunked obscured", 400, "Transfer-Encoding: xchunked\x0b\r\n"),
        case("another coding before chunked", 501, "Transfer-Encoding: gzip, chunked\r\n"),
        case("two lengths", 400, "Content-Length: 5\r\nContent-Length: 6\r\n"),
        case("the same length twice", 400, "Content-Length: 5\r\nContent-Length: 5\r\n"),
        case("a list of lengths", 400, "Content-Length: 5, 5\r\n"),
        case("signed", 400, "Content-Length: +5\r\n"),
        case("negative", 400, "Content-Length: -5\r\n"),
        case("hexadecimal", 400, "Content-Length: 0x5\r\n"),
        case("inner space", 400, "Content-Length: 1 0\r\n"),
        case("empty", 400, "Content-Length: \r\n"),
        case("over 63 bits", 400, "Content-Length: 9223372036854775808\r\n"),
    ];
    let mut cases: Vec<_> =
        cases.iter().map(|(name, status, wire)| (*name, *status, wire.as_str())).collect();
    let old = "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n";
    cases.push(("a transfer coding in 1.0", 400, old));
    expect_refused("", "", &cases);
}

#[test]
fn what_is_not_spoken_here() {
    expect_refused(
        "",
        "",
        &[
            ("CONNECT", 501, "CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n"),
            ("HTTP/2.0", 505, "GET / HTTP/2.0\r\nHost: a\r\n\r\n"),
            ("the preface of HTTP/2", 505, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
            ("HTTP/3.1", 505, "GET / HTTP/3.1\r\nHost: a\r\n\r\n"),
        ],
    );
}

#[test]
fn another_expectation() {
    let backend = Backend::answering(ok("it got through"));
    let apex = Apex::start(&all(&[backend.addr()]));
    let answer = apex.client().ask("GET / HTTP/1.1\r\nHost: a\r\nExpect: miracles\r\n\r\n");
    assert_eq!(answer.status(), 417);
    expect_own(&answer, "expectation");
    assert_eq!(backend.accepted(), 0);
}

#[test]
fn heads_that_are_too_large() {
    let target = format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "t".repeat(17 * 1024));
    let endless_target = format!("GET /{}", "t".repeat(40 * 1024));
    let head = format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "v".repeat(33 * 1024));
    let endless_head = format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}", "v".repeat(40 * 1024));
    let fields = format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "X: y\r\n".repeat(128));
    expect_refused(
        "",
        "",
        &[
            ("target", 414, &target),
            ("target without an end", 414, &endless_target),
            ("head", 431, &head),
            ("head without an end", 431, &endless_head),
            ("fields", 431, &fields),
        ],
    );
    expect_refused(
        "target_bytes_max = 100",
        "",
        &[("a lower limit", 414, &get(&format!("/{}", "t".repeat(100))))],
    );
}

#[test]
fn heads_that_are_just_small_enough() {
    let origin = echo();
    let apex = Apex::start(&all(&[origin.local_addr()]));
    let target = get(&format!("/{}", "t".repeat(8_000)));
    let fields = format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "X: y\r\n".repeat(100));
    for wire in [target, fields] {
        assert_eq!(apex.client().ask(&wire).status(), 200, "{wire:.60}");
    }
}

#[test]
fn bodies_that_are_too_long() {
    let known = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 101\r\n\r\n";
    let backend = Backend::answering(ok("it got through"));
    for (server, keys) in [("", "body_bytes_max = 100"), ("body_bytes_max = 100", "")] {
        let apex = Apex::with(server, &route("all", keys, &[backend.addr()]));
        let answer = apex.client().ask(known);
        assert_eq!(answer.status(), 413, "{server}{keys}");
        expect_own(&answer, "by its length");
    }
    assert_eq!(backend.accepted(), 0, "its length was known before a backend was asked");

    let origin = echo();
    let apex = Apex::start(&route("all", "body_bytes_max = 100", &[origin.local_addr()]));
    let fits = format!("POST /upload HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n{}", "b".repeat(100));
    assert_eq!(apex.client().ask(fits).status(), 200);
    let chunk = format!("60\r\n{}\r\n", "b".repeat(0x60));
    let chunked = "POST /upload HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
    assert_eq!(apex.client().ask(format!("{chunked}{chunk}{chunk}0\r\n\r\n")).status(), 413);
}

#[test]
fn a_body_that_turns_out_malformed() {
    let broken = [
        ("no size", "\r\n"),
        ("letters", "xyz\r\n"),
        ("signed", "+5\r\nhello\r\n"),
        ("0x", "0x5\r\nhello\r\n"),
        ("space behind the size", "5 \r\nhello\r\n"),
        ("17 digits", "00000000000000005\r\nhello\r\n"),
        ("over 63 bits", "ffffffffffffffff\r\nhello\r\n"),
        ("bare LF behind the size", "5\nhello\r\n"),
        ("no CRLF behind the data", "5\r\nhelloX"),
        ("bare LF behind the data", "5\r\nhello\n0\r\n\r\n"),
        ("bare CR in an extension", "5;a\rb\r\nhello\r\n"),
        ("broken trailer", "0\r\nA : b\r\n\r\n"),
        ("bare LF in the trailers", "0\r\nA: b\n\r\n"),
    ];
    let (tell, seen) = mpsc::channel();
    let backend = Backend::start(move |_, mut wire| {
        if let Some(request) = wire.try_request() {
            tell.send(request.end).unwrap();
        }
    });
    let apex = Apex::start(&all(&[backend.addr()]));
    for (case, chunk) in broken {
        let mut client = apex.client();
        client.send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n4\r\ngood\r\n");
        client.send(chunk);
        let answer = client.response();
        assert_eq!((answer.status(), answer.field("Connection")), (400, Some("close")), "{case}");
        client.expect_end();
        // The backend may not have been asked yet; if it was, it must not take the request for complete.
        for end in seen.try_iter() {
            assert_eq!(end, End::Cut, "{case}");
        }
    }
    // Whatever the backend saw late is judged too.
    while let Ok(end) = seen.recv_timeout(Duration::from_millis(100)) {
        assert_eq!(end, End::Cut);
    }
}

#[test]
fn nobody_takes_it() {
    let origin = echo();
    let apex =
        Apex::start(&route("api", "host = \"api.example\"\npath_prefix = \"/v1\"", &[origin.local_addr()]));
    let mut client = apex.client();
    for (host, target, status) in [
        ("api.example", "/v1/x", 200),
        ("api.example", "/v2", 404),
        ("other.example", "/v1", 404),
        ("api.example", "/v11", 404),
    ] {
        let answer = client.ask(format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n"));
        assert_eq!(answer.status(), status, "{host}{target}");
        // The request's end is known, so the connection goes on.
        assert_eq!(answer.field("Connection"), None, "{host}{target}");
    }
    client.send("HEAD / HTTP/1.1\r\nHost: nobody\r\n\r\n");
    assert_eq!(client.bare_response().status(), 404);
    assert_eq!(client.ask(get("/v1")).status(), 404, "the answer to HEAD had no content");
}

#[test]
fn clients_beyond_the_limit_are_told_so() {
    let origin = echo();
    let apex = Apex::with("connections_max = 2", &all(&[origin.local_addr()]));
    let mut first = apex.client();
    assert_eq!(first.ask(get("/")).status(), 200);
    // The connection by which the start was awaited may still be counted for a moment.
    let second = until("room for a second", || {
        let mut second = apex.client();
        (second.ask(get("/")).status() == 200).then_some(second)
    });
    let mut third = apex.client();
    let answer = third.ask(get("/"));
    assert_eq!((answer.status(), answer.field("Connection")), (503, Some("close")));
    third.expect_end();
    // Those that were there go on, and one that leaves makes room.
    assert_eq!(first.ask(get("/")).status(), 200);
    drop(second);
    until("room", || (apex.client().ask(get("/")).status() == 200).then_some(()));
}

#[test]
fn a_refusal_is_not_lost_to_a_reset() {
    let origin = echo();
    let apex = Apex::with("body_bytes_max = 10", &all(&[origin.local_addr()]));
    for _ in 0..20 {
        let mut client = apex.client();
        client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 300000\r\n\r\n");
        client.try_send(vec![b'x'; 300_000]);
        assert_eq!(client.response().status(), 413);
    }
}

#[test]
fn a_slow_head() {
    let origin = echo();
    let apex = Apex::with("header_timeout_secs = 0.3", &all(&[origin.local_addr()]));
    let mut client = apex.client();
    assert_eq!(client.ask(get("/")).status(), 200);
    client.send("GET / HTTP/1.1\r\nHos");
    let answer = client.response();
    assert_eq!((answer.status(), answer.field("Connection")), (408, Some("close")));
    expect_own(&answer, "slow head");
    client.expect_end();
}

#[test]
fn a_slow_head_gains_nothing_by_dripping() {
    let origin = echo();
    let apex = Apex::with("header_timeout_secs = 0.3", &all(&[origin.local_addr()]));
    let mut client = apex.client();
    let began = std::time::Instant::now();
    client.send("GET / HTTP/1.1\r\nHost: a\r\nX: ");
    // One octet for each 50 ms of silence: each would restart a timer that counts from the last octet.
    while began.elapsed() < SOON && client.try_send("x") && !client.has_more_within(Duration::from_millis(50))
    {
    }
    assert_eq!(client.response().status(), 408);
    assert!(began.elapsed() < SOON / 2);
}

#[test]
fn slow_content_gains_nothing_by_dripping() {
    let origin = echo();
    let apex = Apex::with("timeout_secs = 0.5", &all(&[origin.local_addr()]));
    let mut client = apex.client();
    let began = std::time::Instant::now();
    client.send("POST /upload HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n");
    while began.elapsed() < SOON && client.try_send("x") && !client.has_more_within(Duration::from_millis(50))
    {
    }
    assert_eq!(client.response().status(), 408);
    assert!(began.elapsed() < SOON / 2);
}

#[test]
fn slow_but_steady_content_is_waited_for() {
    let origin = echo();
    let apex = Apex::with("timeout_secs = 0.5", &all(&[origin.local_addr()]));
    let mut client = apex.client();
    // Longer than three spans as a whole, and enough in each of them.
    client.send("POST /upload HTTP/1.1\r\nHost: a\r\nContent-Length: 66000\r\n\r\n");
    client.send([b'x'; 2000]);
    for _ in 0..31 {
        client.send([b'x'; 2000]);
        assert!(!client.has_more_within(Duration::from_millis(50)));
    }
    client.send([b'x'; 2000]);
    assert_eq!(client.response().status(), 200);
}

#[test]
fn an_idle_connection_ends_without_a_word() {
    let origin = echo();
    let apex = Apex::with("idle_timeout_secs = 0.3", &all(&[origin.local_addr()]));
    let mut fresh = apex.client();
    let mut used = apex.client();
    used.ask(get("/"));
    used.expect_end();
    fresh.expect_end();
}
