//! Trailer sections of a request and of a response (RFC 9110 section 6.5, RFC 9112 section 7.1.2).

use super::super::case::{Case, Group, OK, Then, answer, case, ok};
use super::super::proxy::FIELDS_MAX;

const TRAILERS: Group = Group("request trailers");

const HEAD: &str = "POST /a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n";

fn with(trailers: &str) -> String {
    format!("{HEAD}5\r\nhello\r\n0\r\n{trailers}\r\n")
}

pub fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for (name, trailers, kept) in [
        ("one field", "X-Sum: 7\r\n", "X-Sum: 7\r\n"),
        ("two fields", "X-Sum: 7\r\nX-End: z\r\n", "X-Sum: 7\r\nX-End: z\r\n"),
        ("white space around a value", "X-Sum: \t7 \r\n", "X-Sum: 7\r\n"),
        ("an empty value", "X-Sum:\r\n", "X-Sum: \r\n"),
        ("obs-text", "X-Sum: \u{e9}\r\n", "X-Sum: \u{e9}\r\n"),
    ] {
        cases.push(case(TRAILERS, "9110 6.5", name).sends(&with(trailers)).forwarded(&with(kept)));
    }
    // RFC 9110 section 6.5.1: what means something to whoever frames, routes, authenticates or caches is not passed on.
    for &name in HEAD_ONLY {
        let wire = with(&format!("X-Sum: 7\r\n{name}: 1\r\nX-End: z\r\n"));
        let seen = with("X-Sum: 7\r\nX-End: z\r\n");
        cases.push(
            case(TRAILERS, "9110 6.5.1", format!("{name} is left out"))
                .sends(&wire)
                .forwarded(&seen)
                .or_refused(),
        );
    }
    for &(name, trailers) in BROKEN {
        // Whoever throws trailers away need not look at them.
        cases.push(
            case(TRAILERS, "9112 7.1.2", name)
                .sends(&with(trailers))
                .broken_off(&[400])
                .or_forwarded(&with("")),
        );
    }
    let many = "X: y\r\n".repeat(FIELDS_MAX + 1);
    cases.push(
        case(TRAILERS, "9112 7.1.2", "too many fields")
            .sends(&with(&many))
            .broken_off(&[431])
            .or_forwarded(&with("X: y\r\n")),
    );
    let long = format!("X: {}\r\n", "y".repeat(20_000));
    cases.push(
        case(TRAILERS, "9112 7.1.2", "too large a section")
            .sends(&with(&long))
            .broken_off(&[431])
            .or_forwarded(&with(&long)),
    );
    cases.push(
        case(TRAILERS, "9110 10.1.4", "a response's trailers for a client that wants them")
            .sends("GET /a HTTP/1.1\r\nHost: h\r\nTE: trailers\r\nConnection: TE\r\n\r\n")
            .replies("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX-Sum: 7\r\nContent-Length: 9\r\n\r\n", Then::Keep)
            .gives(&["GET /a HTTP/1.1\r\nHost: h\r\nTE: trailers\r\nConnection: TE\r\n\r\n"], vec![ok()], Some(true)),
    );
    cases.push(
        case(TRAILERS, "9110 6.6.2", "Trailer names what will come")
            .sends(&with("X-Sum: 7\r\n").replacen("Transfer", "Trailer: X-Sum\r\nTransfer", 1))
            .replies(OK, Then::Keep)
            .gives(
                &[&with("X-Sum: 7\r\n").replacen("Transfer", "Trailer: X-Sum\r\nTransfer", 1)],
                vec![answer(200)],
                Some(true),
            ),
    );
    cases
}

/// What means something to whoever frames, routes, authenticates or caches, and so is not passed on.
const HEAD_ONLY: &[&str] = &[
    "Content-Length",
    "Transfer-Encoding",
    "Host",
    "Connection",
    "Authorization",
    "Proxy-Authorization",
    "Cookie",
    "Set-Cookie",
    "Content-Type",
    "Content-Encoding",
    "Content-Range",
    "Cache-Control",
    "Expires",
    "Max-Forwards",
    "Expect",
    "Range",
    "If-Match",
    "TE",
    "Trailer",
    "Upgrade",
    "Keep-Alive",
    "X-Forwarded-For",
    "X-Forwarded-Host",
    "Forwarded",
    "Via",
    "Age",
    "Date",
    "x-real-ip",
    "X-Forwarded-Proto",
    "X-Request-Id",
    "Proxy-Connection",
    "If-None-Match",
    "Location",
    "Retry-After",
    "Vary",
    "WWW-Authenticate",
];

/// Sections that are broken, by name.
const BROKEN: &[(&str, &str)] = &[
    ("space before the colon", "X : y\r\n"),
    ("no colon", "X\r\n"),
    ("empty name", ": y\r\n"),
    ("name that is no token", "X(Y): z\r\n"),
    ("folded", "X: y\r\n z\r\n"),
    ("space before the first", " X: y\r\n"),
    ("bare LF", "X: y\n"),
    ("bare CR", "X: y\rz\r\n"),
    ("NUL", "X: y\0z\r\n"),
    ("control octet", "X: y\u{1}z\r\n"),
    ("a request line", "GET /evil HTTP/1.1\r\nHost: evil\r\n"),
];
