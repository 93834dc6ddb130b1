//! Host: exactly one, and well formed (RFC 9112 section 3.2, RFC 9110 section 7.2).

use super::super::case::{Case, Group, case};
use super::all_refused;

const HOST: Group = Group("Host");

pub fn cases() -> Vec<Case> {
    let with = |host: &str| format!("GET /a HTTP/1.1\r\nHost: {host}\r\n\r\n");
    let mut cases = Vec::new();
    for host in [
        "h:8080",
        "Shop.Example",
        "h.",
        "my_host-1~x",
        "127.0.0.1:1",
        "[::1]",
        "[2001:db8::1]:80",
        "xn--bcher-kva.example",
    ] {
        cases.push(case(HOST, "9110 7.2", host).sends(&with(host)).forwarded(&with(host)));
    }
    for host in ["h:", "a%20b", "a!$&'()*+,;=b", "h:00080"] {
        cases.push(case(HOST, "9110 7.2", host).sends(&with(host)).forwarded(&with(host)).or_refused());
    }
    // RFC 9112 section 3.2: a Host with an invalid value is answered with 400.
    for &host in MALFORMED {
        let name = host.escape_default().to_string();
        cases.push(case(HOST, "9112 3.2", name).sends(&with(host)).refused(&[400]));
    }
    // Well formed by RFC 3986 and RFC 6874, and of no use: no bound for ports, an empty name, addresses of no known kind.
    for host in ["a:65536", "a:99999999999", "", "[v1.x]", "[::1%25eth0]"] {
        let name = format!("value {host:?}");
        let case = case(HOST, "9112 3.2", name).sends(&with(host)).refused(&[400]);
        cases.push(case.or_forwarded("GET /a HTTP/1.1\r\n\r\n"));
    }
    let refused = [
        ("none", "GET /a HTTP/1.1\r\n\r\n"),
        ("none but another field", "GET /a HTTP/1.1\r\nX: h\r\n\r\n"),
        ("two that differ", "GET /a HTTP/1.1\r\nHost: h\r\nHost: i\r\n\r\n"),
        ("two that are equal", "GET /a HTTP/1.1\r\nHost: h\r\nHost: h\r\n\r\n"),
        ("two, one lower-case", "GET /a HTTP/1.1\r\nHost: h\r\nX: y\r\nhost: h\r\n\r\n"),
        ("two, one empty", "GET /a HTTP/1.1\r\nHost:\r\nHost: h\r\n\r\n"),
        ("two in 1.0", "GET /a HTTP/1.0\r\nHost: h\r\nHost: i\r\n\r\n"),
        ("malformed in 1.0", "GET /a HTTP/1.0\r\nHost: a b\r\n\r\n"),
        ("a list", "GET /a HTTP/1.1\r\nHost: h, i\r\n\r\n"),
        ("space before the colon", "GET /a HTTP/1.1\r\nHost : h\r\n\r\n"),
        ("folded", "GET /a HTTP/1.1\r\nHost: h\r\n i\r\n\r\n"),
        ("none by another name", "GET /a HTTP/1.1\r\nHosts: h\r\n\r\n"),
        ("space before the name", "GET /a HTTP/1.1\r\n Host: h\r\n\r\n"),
    ];
    cases.extend(all_refused(HOST, "9112 3.2", &refused));
    for (name, wire, seen) in [
        (
            "the last field",
            "GET /a HTTP/1.1\r\nX: y\r\nHost: h\r\n\r\n",
            "GET /a HTTP/1.1\r\nX: y\r\nHost: h\r\n\r\n",
        ),
        (
            "the name in mixed case",
            "GET /a HTTP/1.1\r\nhOsT: h\r\n\r\n",
            "GET /a HTTP/1.1\r\nhOsT: h\r\n\r\n",
        ),
        (
            "white space around",
            "GET /a HTTP/1.1\r\nHost:\t h \t\r\n\r\n",
            "GET /a HTTP/1.1\r\nHost: h\r\n\r\n",
        ),
        ("no white space", "GET /a HTTP/1.1\r\nHost:h\r\n\r\n", "GET /a HTTP/1.1\r\nHost: h\r\n\r\n"),
    ] {
        cases.push(case(HOST, "9110 5.5", name).sends(wire).forwarded(seen));
    }
    cases
}

/// What is no `uri-host [ ":" port ]`.
const MALFORMED: &[&str] = &[
    "a b",
    "a/b",
    "/",
    "a?b",
    "a#b",
    "u@h",
    "a:x",
    "a:80:80",
    "a:-1",
    "a:+80",
    "a: 80",
    ":80",
    "[::1",
    "::1",
    "[::1]x",
    "[]",
    "a\\b",
    "<a>",
    "a\"b",
    "a%zz",
    "a%",
    "a\tb",
    "a\u{b}b",
    "a\0b",
    "caf\u{e9}",
    "http://h",
    "a|b",
    "a^b",
];
