//! Limits: what is at one passes, what is an octet past it is refused (RFC 9110 section 15.5, RFC 6585 section 5).

use super::super::case::{Case, Group, Reply, Then, answer, case, octets, ok};
use super::super::proxy::{BODY_BYTES_MAX, FIELDS_MAX, HEAD_BYTES_MAX, TARGET_BYTES_MAX};

const LIMITS: Group = Group("limits");

/// Interim responses that one request may get.
const INTERIM_MAX: usize = 16;

/// Names that Connection may list.
const NAMES_MAX: usize = 32;

pub fn cases() -> Vec<Case> {
    [heads(), contents(), responses(), names()].concat()
}

/// Where a limit lies is everybody's own affair; it must only end in a refusal.
fn pair(name: &str, rfc: &'static str, fits: &str, status: u16, exceeds: &str) -> Vec<Case> {
    vec![
        case(LIMITS, rfc, format!("{name}: at the limit")).sends(fits).forwarded(fits).or_refused(),
        case(LIMITS, rfc, format!("{name}: past it")).sends(exceeds).refused(&[status]).or_forwarded(exceeds),
    ]
}

fn heads() -> Vec<Case> {
    let target = |octets: usize| format!("GET /{} HTTP/1.1\r\nHost: h\r\n\r\n", "t".repeat(octets - 1));
    let front = "GET /a HTTP/1.1\r\nHost: h\r\nX: ";
    let head = |octets: usize| format!("{front}{}\r\n\r\n", "v".repeat(octets - front.len() - 4));
    // Host is one of them.
    let fields = |count: usize| format!("GET /a HTTP/1.1\r\nHost: h\r\n{}\r\n", "X: y\r\n".repeat(count - 1));
    let mut cases = [
        pair("target", "9110 15.5.15", &target(TARGET_BYTES_MAX), 414, &target(TARGET_BYTES_MAX + 1)),
        pair("head", "6585 5", &head(HEAD_BYTES_MAX), 431, &head(HEAD_BYTES_MAX + 1)),
        pair("fields", "6585 5", &fields(FIELDS_MAX), 431, &fields(FIELDS_MAX + 1)),
    ]
    .concat();
    let endless = [
        ("a target without an end", format!("GET /{}", "t".repeat(20_000)), 414),
        ("a field without an end", format!("{front}{}", "v".repeat(20_000)), 431),
        ("a name without an end", format!("GET /a HTTP/1.1\r\nHost: h\r\n{}", "n".repeat(20_000)), 431),
        ("fields without an end", format!("GET /a HTTP/1.1\r\nHost: h\r\n{}", "X: y\r\n".repeat(4_000)), 431),
    ];
    for (name, wire, status) in endless {
        // A patient intermediary may have room for it; then its client goes away.
        cases.push(case(LIMITS, "6585 5", name).sends(&wire).half_closes().refused(&[status]));
    }
    cases
}

fn contents() -> Vec<Case> {
    let known = |octets: usize| {
        format!("POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: {octets}\r\n\r\n{}", "b".repeat(octets))
    };
    let front = "POST /a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n";
    let chunked = |octets: usize| format!("{front}{octets:x}\r\n{}\r\n0\r\n\r\n", "b".repeat(octets));
    let mut cases = pair("content", "9110 15.5.14", &known(BODY_BYTES_MAX), 413, &known(BODY_BYTES_MAX + 1));
    cases.push(
        case(LIMITS, "9110 15.5.14", "chunks: at the limit")
            .sends(&chunked(BODY_BYTES_MAX))
            .forwarded(&chunked(BODY_BYTES_MAX))
            .or_refused(),
    );
    cases.push(
        case(LIMITS, "9110 15.5.14", "chunks: past it")
            .sends(&chunked(BODY_BYTES_MAX + 1))
            .broken_off(&[413])
            .or_forwarded(&chunked(BODY_BYTES_MAX + 1)),
    );
    cases.push(
        case(LIMITS, "9110 15.5.14", "content that is only announced")
            .sends("POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 1000000000000\r\n\r\n")
            .half_closes()
            .refused(&[413]),
    );
    cases
}

fn responses() -> Vec<Case> {
    let front = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX: ";
    let head = |octets: usize| format!("{front}{}\r\n\r\nok", "v".repeat(octets - front.len() - 4));
    let fields = |count: usize| {
        format!("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n{}\r\nok", "X: y\r\n".repeat(count - 1))
    };
    let interim = |count: usize| {
        format!(
            "{}HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
            "HTTP/1.1 102 Processing\r\n\r\n".repeat(count)
        )
    };
    let mut cases = Vec::new();
    for (name, fits, exceeds) in [
        ("response head", head(HEAD_BYTES_MAX), head(HEAD_BYTES_MAX + 1)),
        ("response fields", fields(FIELDS_MAX), fields(FIELDS_MAX + 1)),
        ("interim responses", interim(INTERIM_MAX), interim(INTERIM_MAX + 1)),
    ] {
        let at =
            case(LIMITS, "9110 15.6.3", format!("{name}: at the limit")).asks().replies(&fits, Then::Keep);
        cases.push(at.answered(ok()).or_answered(answer(502)).or_answered(answer(500)));
        let past =
            case(LIMITS, "9110 15.6.3", format!("{name}: past it")).asks().replies(&exceeds, Then::Keep);
        cases.push(past.bad_gateway().or_answered(ok()));
    }
    let endless = Reply {
        pieces: vec![octets(front), octets(&"v".repeat(20_000))],
        then: Then::Keep,
        ..Reply::default()
    };
    cases.push(
        case(LIMITS, "9110 15.6.3", "a response head without an end").asks().reply(endless).bad_gateway(),
    );
    cases
}

fn names() -> Vec<Case> {
    let named = |count: usize| {
        let names: Vec<_> = (0..count).map(|number| format!("x-{number}")).collect();
        format!(
            "GET /a HTTP/1.1\r\nHost: h\r\nConnection: {}\r\nX-0: 1\r\nX-Kept: 1\r\n\r\n",
            names.join(", ")
        )
    };
    let kept = "GET /a HTTP/1.1\r\nHost: h\r\nX-Kept: 1\r\n\r\n";
    vec![
        case(LIMITS, "9110 7.6.1", "names in Connection: at the limit")
            .sends(&named(NAMES_MAX))
            .forwarded(kept),
        // Past it Apex would not know what was named, so it refuses.
        case(LIMITS, "9110 7.6.1", "names in Connection: past it")
            .sends(&named(NAMES_MAX + 1))
            .refused(&[400])
            .or_forwarded("GET /a HTTP/1.1\r\nHost: h\r\n\r\n")
            .or_forwarded(kept),
    ]
}
