//! The status line and the field lines of a response (RFC 9112 sections 4 and 5, RFC 9110 section 15).

use super::super::case::{Case, Group, Link, Then, answer, case, ok};

const STATUS: Group = Group("response status line");
const SPLITTING: Group = Group("response splitting");

const REST: &str = "\r\nContent-Length: 2\r\n\r\nok";

pub fn cases() -> Vec<Case> {
    [taken(), refused(), fields(), splitting()].concat()
}

fn taken() -> Vec<Case> {
    let mut cases = Vec::new();
    for (name, line, status) in [
        ("a plain one", "HTTP/1.1 200 OK", 200),
        ("an empty reason", "HTTP/1.1 200 ", 200),
        ("a long reason", "HTTP/1.1 200 Fine, thanks; and you?", 200),
        ("obs-text in the reason", "HTTP/1.1 200 caf\u{e9}", 200),
        ("tab in the reason", "HTTP/1.1 200 a\tb", 200),
        ("a status without a name", "HTTP/1.1 299 X", 299),
        ("404", "HTTP/1.1 404 Not Found", 404),
        ("500", "HTTP/1.1 500 Oh", 500),
        ("599", "HTTP/1.1 599 X", 599),
        ("a backend of 1.0", "HTTP/1.0 200 OK", 200),
    ] {
        let begun = case(STATUS, "9112 4", name).asks().replies(&format!("{line}{REST}"), Then::Keep);
        cases.push(begun.answered(answer(status).content("ok")));
    }
    for (name, line, status) in [
        ("no reason and no space", "HTTP/1.1 200", 200),
        ("another minor version", "HTTP/1.2 200 OK", 200),
        ("600", "HTTP/1.1 600 X", 600),
        ("999", "HTTP/1.1 999 X", 999),
    ] {
        let begun = case(STATUS, "9112 4", name).asks().replies(&format!("{line}{REST}"), Then::Keep);
        cases.push(begun.answered(answer(status).content("ok")).or_answered(answer(502)));
    }
    cases
}

fn refused() -> Vec<Case> {
    let mut cases = Vec::new();
    for &(name, line) in NO_STATUS_LINES {
        let begun = case(STATUS, "9112 4", name).asks().replies(&format!("{line}{REST}"), Then::Keep);
        let case = begun.bad_gateway();
        // RFC 9110 section 15: a client SHOULD take such a status for a 5xx; nobody is bound to keep it from the client.
        let case = if matches!(name, "099" | "000") {
            case.or_answered(answer(99)).or_answered(answer(0))
        } else {
            case
        };
        // A sender's sloppiness that leaves one reading may be mended.
        let mended = [
            "two spaces",
            "tab before",
            "space before",
            "an empty line",
            "NUL",
            "control",
            "CR",
            "lower-case",
            "HTTP/2",
            "HTTP/0",
            "HTTP/11",
            "ICY",
            "another",
            "no space behind",
        ];
        cases.push(if mended.iter().any(|front| name.starts_with(front)) {
            case.or_answered(ok())
        } else {
            case
        });
    }
    cases.push(
        case(STATUS, "9112 4", "bare LF ends the line")
            .asks()
            .replies(&format!("HTTP/1.1 200 OK{}", &REST[1..]), Then::Keep)
            .bad_gateway()
            .or_answered(ok()),
    );
    cases.push(
        case(STATUS, "9112 4", "HTML alone")
            .asks()
            .replies("<html>hello</html>\r\n\r\n", Then::Close)
            .bad_gateway(),
    );
    cases
}

fn fields() -> Vec<Case> {
    let mut cases = Vec::new();
    for (name, line, value) in [
        ("obs-text in a value", "X: caf\u{e9}", "caf\u{e9}"),
        ("an empty value", "X:", ""),
        ("white space around a value", "X: \t y \t", "y"),
        ("tab within a value", "X: a\tb", "a\tb"),
        ("repeated fields", "X: a\r\nx: b", "a, b"),
    ] {
        let reply = format!("HTTP/1.1 200 OK\r\n{line}{REST}");
        cases.push(
            case(STATUS, "9110 5.5", name).asks().replies(&reply, Then::Keep).answered(ok().has("X", value)),
        );
    }
    // RFC 9112 section 5.1: a proxy takes white space before the colon out of a response; Apex does not take such a response.
    for (name, line, mended) in [
        ("space before the colon", "X : a", Some("a")),
        ("folded", "X: a\r\n b", Some("a b")),
        ("folded with a tab", "X: a\r\n\tb", Some("a b")),
        ("space before the first field", " X: a", None),
        ("no colon", "X", None),
        ("empty name", ": a", None),
        ("name that is no token", "X(Y): a", None),
        ("bare LF ends a field", "X: a\nY: b", Some("a")),
        ("bare LF ends the head", "X: a\n", Some("a")),
        ("obs-text in a name", "X\u{e9}: a", None),
    ] {
        let reply = format!("HTTP/1.1 200 OK\r\n{line}{REST}");
        let begun = case(STATUS, "9112 5", format!("field: {name}")).asks().replies(&reply, Then::Keep);
        let mended = mended.map_or(ok().lacks("X"), |value| ok().has("X", value));
        let case = begun.bad_gateway().or_answered(mended);
        cases.push(if name == "no colon" { case.or_answered(ok().has("X", "")) } else { case });
    }
    cases
}

/// Octets that would make two responses of one, or fields of a value.
fn splitting() -> Vec<Case> {
    let mut cases = Vec::new();
    for (name, line, mended) in [
        ("bare CR in a value", "X: a\rSet-Cookie: evil", "a Set-Cookie: evil"),
        ("NUL in a value", "X: a\0b", "a b"),
        ("CR CR LF", "X: a\r\r\nY: b", "a"),
        ("a bare CR ends the value", "X: a\r", "a"),
    ] {
        let reply = format!("HTTP/1.1 200 OK\r\n{line}{REST}");
        let begun = case(SPLITTING, "9110 5.5", name).asks().replies(&reply, Then::Keep);
        cases.push(begun.bad_gateway().or_answered(ok().has("X", mended)));
    }
    for (name, value) in [
        ("escaped line ends", "a%0d%0aSet-Cookie: evil"),
        ("octets that lose their eighth bit", "a\u{8d}\u{8a}Set-Cookie: evil"),
        ("UTF-8 that ends in CR and LF", "\u{e5}\u{98}\u{8d}\u{e5}\u{98}\u{8a}Set-Cookie: evil"),
    ] {
        let reply = format!("HTTP/1.1 200 OK\r\nX: {value}{REST}");
        let wanted = ok().has("X", value).lacks("Set-Cookie");
        cases.push(case(SPLITTING, "9110 5.5", name).asks().replies(&reply, Then::Keep).answered(wanted));
    }
    let evil = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil";
    for (name, front) in [
        ("an empty line ends the head early", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX: a\r\n\r\nok"),
        ("a second response behind a 304", "HTTP/1.1 304 No\r\n\r\n"),
        ("a second response behind a 204", "HTTP/1.1 204 No\r\n\r\n"),
        ("a second response behind a length of 0", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"),
    ] {
        let status = front[9..12].parse().expect("a status");
        let begun = case(SPLITTING, "9112 9.2", name).asks().replies(&format!("{front}{evil}"), Then::Keep);
        cases.push(begun.answered(answer(status)).next_on(Link::Another));
    }
    cases
}

/// Status lines that are none, by name.
const NO_STATUS_LINES: &[(&str, &str)] = &[
    ("two digits", "HTTP/1.1 20 OK"),
    ("four digits", "HTTP/1.1 2000 OK"),
    ("099", "HTTP/1.1 099 OK"),
    ("000", "HTTP/1.1 000 OK"),
    ("letters", "HTTP/1.1 abc OK"),
    ("a sign", "HTTP/1.1 +20 OK"),
    ("no status", "HTTP/1.1 OK"),
    ("no space before the status", "HTTP/1.1200 OK"),
    ("no space behind the status", "HTTP/1.1 200OK"),
    ("two spaces before the status", "HTTP/1.1  200 OK"),
    ("tab before the status", "HTTP/1.1\t200 OK"),
    ("space before the line", " HTTP/1.1 200 OK"),
    ("an empty line before the line", "\r\nHTTP/1.1 200 OK"),
    ("lower-case version", "http/1.1 200 OK"),
    ("HTTP/2.0", "HTTP/2.0 200 OK"),
    ("HTTP/2", "HTTP/2 200 OK"),
    ("HTTP/0.9", "HTTP/0.9 200 OK"),
    ("HTTP/11.1", "HTTP/11.1 200 OK"),
    ("another protocol", "ICY 200 OK"),
    ("no HTTP at all", "SSH-2.0-x"),
    ("a request line", "GET / HTTP/1.1"),
    ("NUL in the reason", "HTTP/1.1 200 O\0K"),
    ("control octet in the reason", "HTTP/1.1 200 O\u{1}K"),
    ("CR in the reason", "HTTP/1.1 200 O\rK"),
];
