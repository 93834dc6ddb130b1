//! Golden responses: name, the request's method, wire in, verdict.

use super::super::*;
use super::{assert_clean, read_response};
use std::fmt::Write;

pub(super) struct Taken {
    pub(super) name: &'static str,
    pub(super) asked: Method,
    pub(super) wire: &'static [u8],
    /// See [`summary`].
    verdict: &'static str,
}

const fn taken(name: &'static str, wire: &'static [u8], verdict: &'static str) -> Taken {
    Taken { name, asked: Method::Get, wire, verdict }
}

const fn to_head(name: &'static str, wire: &'static [u8], verdict: &'static str) -> Taken {
    Taken { name, asked: Method::Head, wire, verdict }
}

/// Version, status, reason phrase, framing, persistence, and the length hint if there is one.
fn summary(wire: &[u8], asked: Method) -> String {
    read_response(wire, &HeadLimits::DEFAULT, asked, |read| {
        let response = read.expect("taken").expect("complete");
        assert_clean(response.fields, wire);
        assert_eq!(response.head_bytes, wire.len());
        let Response { version, status, reason, framing, persistence, .. } = response;
        let mut text = format!(
            "{version:?} {status} {:?} {framing:?} {persistence:?}",
            reason.escape_ascii().to_string()
        );
        if let Some(length) = response.length_hint {
            write!(text, " hint={length}").unwrap();
        }
        text
    })
}

macro_rules! ok {
    ($fields:literal) => {
        concat!("HTTP/1.1 200 OK\r\n", $fields, "\r\n").as_bytes()
    };
}

macro_rules! old {
    ($fields:literal) => {
        concat!("HTTP/1.0 200 OK\r\n", $fields, "\r\n").as_bytes()
    };
}

#[rustfmt::skip]
pub(super) static TAKEN: &[Taken] = &[
    taken("until close", ok!(""), "Http11 200 \"OK\" UntilClose Close"),
    taken("until close whatever it says", ok!("Connection: keep-alive\r\n"), "Http11 200 \"OK\" UntilClose Close"),
    taken("Content-Length", ok!("Content-Length: 5\r\n"), "Http11 200 \"OK\" Length(5) KeepAlive"),
    taken("Content-Length 0", ok!("Content-Length: 0\r\n"), "Http11 200 \"OK\" Length(0) KeepAlive"),
    taken("Content-Length twice", ok!("Content-Length: 5\r\nContent-Length: 5\r\n"), "Http11 200 \"OK\" Length(5) KeepAlive"),
    taken("Content-Length in a list", ok!("Content-Length: 5, 5\r\n"), "Http11 200 \"OK\" Length(5) KeepAlive"),
    taken("Content-Length of 63 bits", ok!("Content-Length: 9223372036854775807\r\n"), "Http11 200 \"OK\" Length(9223372036854775807) KeepAlive"),
    taken("chunked", ok!("Transfer-Encoding: Chunked\r\n"), "Http11 200 \"OK\" Chunked KeepAlive"),
    taken("chunked beside Content-Length", ok!("Transfer-Encoding: chunked\r\nContent-Length: 5\r\n"), "Http11 200 \"OK\" Chunked Close"),
    taken("chunked beside a broken Content-Length", ok!("Content-Length: x\r\nTransfer-Encoding: chunked\r\n"), "Http11 200 \"OK\" Chunked Close"),
    taken("close", ok!("Content-Length: 5\r\nConnection: x, Close\r\n"), "Http11 200 \"OK\" Length(5) Close"),
    taken("1.0", old!("Content-Length: 5\r\n"), "Http10 200 \"OK\" Length(5) Close"),
    taken("1.0 with keep-alive", old!("Content-Length: 5\r\nConnection: keep-alive\r\n"), "Http10 200 \"OK\" Length(5) KeepAlive"),
    taken("1.0 with both", old!("Content-Length: 5\r\nConnection: keep-alive\r\nConnection: close\r\n"), "Http10 200 \"OK\" Length(5) Close"),
    taken("1.0 until close", old!("Connection: keep-alive\r\n"), "Http10 200 \"OK\" UntilClose Close"),
    taken("1.2", b"HTTP/1.2 200 OK\r\nContent-Length: 5\r\n\r\n", "Http11 200 \"OK\" Length(5) KeepAlive"),
    taken("1.2 without reason phrase or space", b"HTTP/1.2 404\r\nContent-Length: 5\r\n\r\n", "Http11 404 \"\" Length(5) KeepAlive"),
    taken("1.2 with obs-text in the reason phrase", b"HTTP/1.2 404 \xe9\r\nContent-Length: 5\r\n\r\n", "Http11 404 \"\\\\xe9\" Length(5) KeepAlive"),
    taken("empty reason phrase", b"HTTP/1.1 404 \r\nContent-Length: 5\r\n\r\n", "Http11 404 \"\" Length(5) KeepAlive"),
    taken("no space behind the status", b"HTTP/1.1 404\r\nContent-Length: 5\r\n\r\n", "Http11 404 \"\" Length(5) KeepAlive"),
    taken("long reason phrase", b"HTTP/1.1 404 Not\tFound at  all \r\nContent-Length: 5\r\n\r\n", "Http11 404 \"Not\\\\tFound at  all \" Length(5) KeepAlive"),
    taken("obs-text in the reason phrase", b"HTTP/1.1 404 Nicht gef\xfcnden\r\nContent-Length: 5\r\n\r\n", "Http11 404 \"Nicht gef\\\\xfcnden\" Length(5) KeepAlive"),
    taken("obs-text in a value", b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX: \xff\r\n\r\n", "Http11 200 \"OK\" Length(5) KeepAlive"),
    taken("status 599", b"HTTP/1.1 599 X\r\nContent-Length: 5\r\n\r\n", "Http11 599 \"X\" Length(5) KeepAlive"),
    taken("status 999", b"HTTP/1.1 999 X\r\nContent-Length: 5\r\n\r\n", "Http11 999 \"X\" Length(5) KeepAlive"),
    taken("100", b"HTTP/1.1 100 Continue\r\n\r\n", "Http11 100 \"Continue\" None KeepAlive"),
    taken("103 with framing fields", b"HTTP/1.1 103 X\r\nContent-Length: 5\r\n\r\n", "Http11 103 \"X\" None KeepAlive"),
    taken("101", b"HTTP/1.1 101 X\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n", "Http11 101 \"X\" None KeepAlive"),
    taken("204", b"HTTP/1.1 204 X\r\nContent-Length: 5\r\n\r\n", "Http11 204 \"X\" None KeepAlive"),
    taken("304", b"HTTP/1.1 304 X\r\n\r\n", "Http11 304 \"X\" None KeepAlive"),
    taken("304 with Content-Length", b"HTTP/1.1 304 X\r\nContent-Length: 5\r\n\r\n", "Http11 304 \"X\" None KeepAlive hint=5"),
    taken("304 with Transfer-Encoding", b"HTTP/1.1 304 X\r\nTransfer-Encoding: chunked\r\n\r\n", "Http11 304 \"X\" None KeepAlive"),
    taken("205 may have content", b"HTTP/1.1 205 X\r\nContent-Length: 0\r\n\r\n", "Http11 205 \"X\" Length(0) KeepAlive"),
    to_head("to HEAD", ok!(""), "Http11 200 \"OK\" None KeepAlive"),
    to_head("to HEAD with Content-Length", ok!("Content-Length: 5\r\n"), "Http11 200 \"OK\" None KeepAlive hint=5"),
    to_head("to HEAD with equal Content-Length", ok!("Content-Length: 5, 5\r\n"), "Http11 200 \"OK\" None KeepAlive hint=5"),
    to_head("to HEAD with a broken Content-Length", ok!("Content-Length: x\r\n"), "Http11 200 \"OK\" None KeepAlive"),
    to_head("to HEAD with differing Content-Length", ok!("Content-Length: 5, 6\r\n"), "Http11 200 \"OK\" None KeepAlive"),
    to_head("to HEAD, chunked", ok!("Transfer-Encoding: chunked\r\n"), "Http11 200 \"OK\" None KeepAlive"),
    to_head("to HEAD with both", ok!("Transfer-Encoding: chunked\r\nContent-Length: 5\r\n"), "Http11 200 \"OK\" None Close"),
    to_head("to HEAD, chunked in 1.0", old!("Transfer-Encoding: chunked\r\nConnection: keep-alive\r\n"), "Http10 200 \"OK\" None Close"),
    to_head("204 to HEAD", b"HTTP/1.1 204 X\r\nContent-Length: 5\r\n\r\n", "Http11 204 \"X\" None KeepAlive"),
    to_head("100 to HEAD", b"HTTP/1.1 100 X\r\nContent-Length: 5\r\n\r\n", "Http11 100 \"X\" None KeepAlive"),
];

#[rustfmt::skip]
pub(super) static REFUSED: &[(&str, &[u8])] = &[
    ("not HTTP", b"SSH-2.0-OpenSSH\r\n\r\n"),
    ("small letters", b"http/1.1 200 OK\r\n\r\n"),
    ("HTTP/2.0", b"HTTP/2.0 200 OK\r\n\r\n"),
    ("HTTP/0.9", b"HTTP/0.9 200 OK\r\n\r\n"),
    ("HTTP/1.10", b"HTTP/1.10 200 OK\r\n\r\n"),
    ("an empty line before", b"\r\nHTTP/1.1 200 OK\r\n\r\n"),
    ("a bare LF before", b"\nHTTP/1.1 200 OK\r\n\r\n"),
    ("a space before", b" HTTP/1.1 200 OK\r\n\r\n"),
    ("two spaces behind the version", b"HTTP/1.1  200 OK\r\n\r\n"),
    ("HTAB behind the version", b"HTTP/1.1\t200 OK\r\n\r\n"),
    ("status of two digits", b"HTTP/1.1 20 OK\r\n\r\n"),
    ("status of four digits", b"HTTP/1.1 2000 OK\r\n\r\n"),
    ("status of letters", b"HTTP/1.1 2xx OK\r\n\r\n"),
    ("status 099", b"HTTP/1.1 099 OK\r\n\r\n"),
    ("status 000", b"HTTP/1.2 000 OK\r\n\r\n"),
    ("no status", b"HTTP/1.1 \r\n\r\n"),
    ("HTAB behind the status", b"HTTP/1.1 200\tOK\r\n\r\n"),
    ("control byte in the reason phrase", b"HTTP/1.1 200 O\x01K\r\n\r\n"),
    ("NUL in the reason phrase of 1.2", b"HTTP/1.2 200 O\0K\r\n\r\n"),
    ("bare CR in the reason phrase", b"HTTP/1.1 200 O\rK\r\n\r\n"),
    ("bare CR in the reason phrase of 1.2", b"HTTP/1.2 200 O\rK\r\n\r\n"),
    ("bare LF behind the status line", b"HTTP/1.1 200 OK\nContent-Length: 5\r\n\r\n"),
    ("bare LF behind a bare status", b"HTTP/1.1 200\nContent-Length: 5\r\n\r\n"),
    ("bare LF behind obs-text", b"HTTP/1.1 200 \xe9\nContent-Length: 5\r\n\r\n"),
    ("bare LF behind the status line of 1.2", b"HTTP/1.2 200 OK\nContent-Length: 5\r\n\r\n"),
    ("bare LF behind the status line, no fields", b"HTTP/1.1 200 OK\n\r\n"),
    ("bare LF behind a field", b"HTTP/1.1 200 OK\r\nA: b\nContent-Length: 5\r\n\r\n"),
    ("bare LF at the end", b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\n"),
    ("bare CR in a value", b"HTTP/1.1 200 OK\r\nA: b\rc\r\n\r\n"),
    ("NUL in a value", b"HTTP/1.1 200 OK\r\nA: b\0c\r\n\r\n"),
    ("obs-fold", b"HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\r\n"),
    ("obs-fold in 1.2", b"HTTP/1.2 200 OK\r\nA: b\r\n\tc\r\n\r\n"),
    ("white space before the colon", b"HTTP/1.1 200 OK\r\nContent-Length : 5\r\n\r\n"),
    ("white space before the first field", b"HTTP/1.1 200 OK\r\n Content-Length: 5\r\n\r\n"),
    ("empty name", b"HTTP/1.1 200 OK\r\n: 5\r\n\r\n"),
    ("line without colon", b"HTTP/1.1 200 OK\r\nfoo\r\n\r\n"),
    ("differing Content-Length", ok!("Content-Length: 5\r\nContent-Length: 6\r\n")),
    ("differing Content-Length in a list", ok!("Content-Length: 5, 6\r\n")),
    ("empty element in Content-Length", ok!("Content-Length: 5,\r\n")),
    ("empty Content-Length", ok!("Content-Length:\r\n")),
    ("Content-Length with a sign", ok!("Content-Length: +5\r\n")),
    ("Content-Length of 64 bits", ok!("Content-Length: 9223372036854775808\r\n")),
    ("not chunked", ok!("Transfer-Encoding: gzip\r\n")),
    ("identity", ok!("Transfer-Encoding: identity\r\n")),
    ("another coding before chunked", ok!("Transfer-Encoding: gzip, chunked\r\n")),
    ("chunked not last", ok!("Transfer-Encoding: chunked, gzip\r\n")),
    ("chunked twice", ok!("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n")),
    ("empty Transfer-Encoding", ok!("Transfer-Encoding:\r\nContent-Length: 5\r\n")),
    ("chunked in 1.0", old!("Transfer-Encoding: chunked\r\n")),
    ("chunked in 1.0 beside Content-Length", old!("Transfer-Encoding: chunked\r\nContent-Length: 5\r\n")),
];

#[test]
fn golden_responses_are_taken() {
    for case in TAKEN {
        assert_eq!(summary(case.wire, case.asked), case.verdict, "{}", case.name);
    }
}

#[test]
fn golden_responses_are_refused() {
    for &(name, wire) in REFUSED {
        assert_eq!(status(wire, &HeadLimits::DEFAULT), 502, "{name}");
    }
}

/// 502 if it is refused, 0 if it is incomplete, 200 if it is accepted.
fn status(wire: &[u8], limits: &HeadLimits) -> u16 {
    read_response(wire, limits, Method::Get, |read| match read {
        Err(reply) => reply.status,
        Ok(None) => 0,
        Ok(Some(_)) => 200,
    })
}

#[test]
fn the_limits_hold_for_responses() {
    for version in ["HTTP/1.1", "HTTP/1.2"] {
        let wire = format!("{version} 200 OK\r\nA: b\r\nContent-Length: 5\r\n\r\n");
        let wire = wire.as_bytes();
        let bytes = |head_bytes_max| HeadLimits { head_bytes_max, ..HeadLimits::DEFAULT };
        assert_eq!(status(wire, &bytes(wire.len())), 200);
        assert_eq!(status(wire, &bytes(wire.len() - 1)), 502);
        assert_eq!(status(&wire[..wire.len() - 1], &bytes(wire.len())), 0);
        assert_eq!(status(&wire[..wire.len() - 1], &bytes(wire.len() - 1)), 502, "it cannot end in time");
        assert_eq!(status(&[wire, wire].concat(), &bytes(wire.len())), 200);
        assert_eq!(status(&wire[..15], &bytes(15)), 502, "a status line that does not end");
        let fields = |fields_max| HeadLimits { fields_max, ..HeadLimits::DEFAULT };
        assert_eq!(status(wire, &fields(2)), 200);
        assert_eq!(status(wire, &fields(1)), 502);
    }
}

#[test]
fn connection_options_have_their_limit_in_responses() {
    for version in ["HTTP/1.1", "HTTP/1.2"] {
        let wire = |count: usize| {
            let options = vec!["close"; count].join(", ");
            format!("{version} 200 OK\r\nConnection: {options}\r\nContent-Length: 5\r\n\r\n")
        };
        assert_eq!(status(wire(CONNECTION_NAMES_MAX).as_bytes(), &HeadLimits::DEFAULT), 200);
        assert_eq!(status(wire(CONNECTION_NAMES_MAX + 1).as_bytes(), &HeadLimits::DEFAULT), 502);
    }
}
