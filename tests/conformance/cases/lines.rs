//! Request lines, methods and versions (RFC 9112 sections 2.2, 2.3 and 3, RFC 9110 sections 2.5 and 9.1).

use super::super::case::{Case, Group, case, ok};
use super::{all_forwarded, all_forwarded_or_refused, all_refused, all_refused_or};

const LINE: Group = Group("request line");
const METHOD: Group = Group("method token");
const VERSION: Group = Group("version");

const SEEN: &str = "GET /a HTTP/1.1\r\nHost: h\r\n\r\n";

/// Octets of a method that Apex takes.
const LONGEST_METHOD: usize = 32;

pub fn cases() -> Vec<Case> {
    [line_cases(), method_cases(), version_cases()].concat()
}

fn line_cases() -> Vec<Case> {
    let lenient = [
        ("two spaces behind the method", "GET  /a HTTP/1.1\r\nHost: h\r\n\r\n", SEEN),
        ("two spaces behind the target", "GET /a  HTTP/1.1\r\nHost: h\r\n\r\n", SEEN),
        ("tab behind the method", "GET\t/a HTTP/1.1\r\nHost: h\r\n\r\n", SEEN),
        ("tab behind the target", "GET /a\tHTTP/1.1\r\nHost: h\r\n\r\n", SEEN),
        ("vertical tab behind the target", "GET /a\u{b}HTTP/1.1\r\nHost: h\r\n\r\n", SEEN),
        ("form feed behind the method", "GET\u{c}/a HTTP/1.1\r\nHost: h\r\n\r\n", SEEN),
        ("bare CR behind the method", "GET\r/a HTTP/1.1\r\nHost: h\r\n\r\n", SEEN),
        ("space before the method", " GET /a HTTP/1.1\r\nHost: h\r\n\r\n", SEEN),
        ("space behind the version", "GET /a HTTP/1.1 \r\nHost: h\r\n\r\n", SEEN),
        ("bare LF ends the line", "GET /a HTTP/1.1\nHost: h\r\n\r\n", SEEN),
        ("CR CR LF ends the line", "GET /a HTTP/1.1\r\r\nHost: h\r\n\r\n", SEEN),
        ("bare LFs throughout", "GET /a HTTP/1.1\nHost: h\n\n", SEEN),
        ("bare LF before the line", "\nGET /a HTTP/1.1\r\nHost: h\r\n\r\n", SEEN),
        (
            "nine empty lines before the line",
            "\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\nGET /a HTTP/1.1\r\nHost: h\r\n\r\n",
            SEEN,
        ),
    ];
    let refused = [
        ("no method", " /a HTTP/1.1\r\nHost: h\r\n\r\n"),
        ("no target", "GET HTTP/1.1\r\nHost: h\r\n\r\n"),
        ("no target between two spaces", "GET  HTTP/1.1\r\nHost: h\r\n\r\n"),
        ("no version, then fields", "GET /a\r\nHost: h\r\n\r\n"),
        ("a word behind the version", "GET /a HTTP/1.1 x\r\nHost: h\r\n\r\n"),
        ("space in the target", "GET /a b HTTP/1.1\r\nHost: h\r\n\r\n"),
        ("version twice", "GET /a HTTP/1.1 HTTP/1.1\r\nHost: h\r\n\r\n"),
        ("NUL in the target", "GET /a\0 HTTP/1.1\r\nHost: h\r\n\r\n"),
        ("control octet in the target", "GET /a\u{1} HTTP/1.1\r\nHost: h\r\n\r\n"),
        ("DEL in the target", "GET /a\u{7f} HTTP/1.1\r\nHost: h\r\n\r\n"),
        ("CR in the target", "GET /a\rb HTTP/1.1\r\nHost: h\r\n\r\n"),
        ("LF in the target", "GET /a\nb HTTP/1.1\r\nHost: h\r\n\r\n"),
        ("a TLS greeting", "\u{16}\u{3}\u{1}\u{2}\0\u{1}\0\u{1}\r\n\r\n"),
        ("a status line", "HTTP/1.1 200 OK\r\nHost: h\r\n\r\n"),
        ("a field line", "Host: h\r\n\r\n"),
    ];
    let skipped = [
        ("an empty line before the line", "\r\nGET /a HTTP/1.1\r\nHost: h\r\n\r\n", SEEN),
        ("two empty lines before the line", "\r\n\r\nGET /a HTTP/1.1\r\nHost: h\r\n\r\n", SEEN),
    ];
    let mut cases = all_refused_or(LINE, "9112 3", &lenient);
    cases.extend(all_refused(LINE, "9112 3", &refused).into_iter().map(Case::may_be_old));
    cases.extend(all_forwarded(LINE, "9112 2.2", &skipped[..1]));
    cases.extend(all_forwarded_or_refused(LINE, "9112 2.2", &skipped[1..]));
    cases.push(
        case(LINE, "9112 2.2", "octet by octet in two pieces")
            .sends("GE")
            .sends("T /a HT")
            .sends("TP/1.1\r")
            .sends("\nHost: h\r\n\r")
            .sends("\n")
            .forwarded(SEEN),
    );
    let cut =
        ["GET", "GET /a HTTP/1.1", "GET /a HTTP/1.1\r\nHost: h\r\n", "GET /a HTTP/1.1\r\nHost: h\r\n\r"];
    for wire in cut {
        let name = format!("{} octets of a head and no more", wire.len());
        cases.push(case(LINE, "9112 8", name).sends(wire).half_closes().dropped());
    }
    cases.push(case(LINE, "9112 8", "nothing but an end").half_closes().dropped());
    cases
}

fn method_cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for method in
        ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "PROPFIND", "M-SEARCH", "get", "X", "!#$%&'*+-.^_`|~9"]
    {
        let wire = format!("{method} /a HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n");
        cases.push(case(METHOD, "9110 9.1", method).sends(&wire).forwarded(&wire).or_refused());
    }
    for (name, length) in [("the longest method", LONGEST_METHOD), ("a method too long", LONGEST_METHOD + 1)]
    {
        let wire = format!("{} /a HTTP/1.1\r\nHost: h\r\n\r\n", "M".repeat(length));
        let begun = case(METHOD, "9112 3", name).sends(&wire);
        cases.push(if length > LONGEST_METHOD {
            begun.refused(&[400]).or_forwarded(&wire)
        } else {
            begun.forwarded(&wire).or_refused()
        });
    }
    for octet in "\"(),/:;<=>?@[\\]{}\0\u{1}\u{b}\u{7f}\u{80}\u{ff}".chars() {
        let name = format!("{} in the method", octet.escape_default());
        let wire = format!("G{octet}T /a HTTP/1.1\r\nHost: h\r\n\r\n");
        cases.push(case(METHOD, "9110 9.1", name).sends(&wire).refused(&[400]));
    }
    cases.push(
        case(METHOD, "9110 9.3.6", "CONNECT")
            .sends("CONNECT h:443 HTTP/1.1\r\nHost: h:443\r\n\r\n")
            .refused(&[501])
            .or_forwarded("CONNECT h:443 HTTP/1.1\r\nHost: h:443\r\n\r\n"),
    );
    cases.push(
        case(METHOD, "9110 9.3.6", "CONNECT with a path")
            .sends("CONNECT /a HTTP/1.1\r\nHost: h\r\n\r\n")
            .refused(&[400, 501]),
    );
    cases
}

fn version_cases() -> Vec<Case> {
    let with = |version: &str| format!("GET /a {version}\r\nHost: h\r\n\r\n");
    let mut cases = Vec::new();
    for version in ["HTTP/2.0", "HTTP/3.0", "HTTP/9.9", "HTTP/0.0"] {
        // RFC 9110 section 15.6.6 has a status for it; nobody is bound to use it.
        cases.push(
            case(VERSION, "9110 15.6.6", version).sends(&with(version)).refused(&[505]).or_forwarded(SEEN),
        );
    }
    // RFC 9112 section 3 has a SHOULD against mending an invalid request line; what comes of it has one reading.
    for &version in NO_VERSIONS {
        cases.push(
            case(VERSION, "9112 2.3", version.escape_default().to_string())
                .sends(&with(version))
                .refused(&[400])
                .or_forwarded(SEEN),
        );
    }
    for version in ["HTTP/1.2", "HTTP/1.9"] {
        cases.push(case(VERSION, "9110 2.5", version).sends(&with(version)).forwarded(SEEN).or_refused());
    }
    cases.push(
        case(VERSION, "9113 3.4", "the preface of HTTP/2")
            .sends("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
            .refused(&[505]),
    );
    cases.push(case(VERSION, "9112 C.2.1", "HTTP/0.9").sends("GET /a\r\n\r\n").refused(&[400]).may_be_old());
    cases.push(
        case(VERSION, "9110 2.5", "HTTP/0.9 by name")
            .sends(&with("HTTP/0.9"))
            .refused(&[400, 505])
            .or_forwarded(SEEN),
    );
    cases.push(case(VERSION, "9112 9.3", "HTTP/1.0 with a Host").old().sends(&with("HTTP/1.0")).gives(
        &[SEEN],
        vec![ok()],
        Some(false),
    ));
    cases.push(
        case(VERSION, "9112 3.2", "HTTP/1.0 without a Host")
            .old()
            .sends("GET /a HTTP/1.0\r\n\r\n")
            .gives(
                &["GET /a HTTP/1.1\r\nHost: BACKEND\r\n\r\n"],
                vec![ok().has("Connection", "close")],
                Some(false),
            )
            .or_gives(&["GET /a HTTP/1.1\r\n\r\n"], vec![ok()]),
    );
    cases.push(
        case(VERSION, "9112 9.3", "HTTP/1.0 that keeps alive")
            .old()
            .sends("GET /a HTTP/1.0\r\nHost: h\r\nConnection: keep-alive\r\n\r\n")
            .gives(&[SEEN], vec![ok().has("Connection", "keep-alive")], Some(true))
            .or_gives(&[SEEN], vec![ok()]),
    );
    cases
}

/// What is no HTTP-version.
const NO_VERSIONS: &[&str] = &[
    "http/1.1",
    "HTTP/1",
    "HTTP/1.",
    "HTTP/.1",
    "HTTP/1.10",
    "HTTP/11.1",
    "HTTP/1,1",
    "HTTP 1.1",
    "HTTP/1.x",
    "HTTP/ 1.1",
    "HTTPS/1.1",
    "HTTP/1.1a",
    "HTTP/-1.1",
    "HTTP/+1.1",
    "HTTP\\1.1",
    "XTTP/1.1",
    "HTTP/1.1\0",
];
