//! Field lines of a request: names, values, white space and line ends (RFC 9112 section 5, RFC 9110 section 5).

use super::super::case::{Case, Group, case, ok};
use super::{all_forwarded, all_refused, all_refused_or};

const FIELD: Group = Group("field syntax");
const SPLITTING: Group = Group("splitting");

const PLAIN: &str = "GET /a HTTP/1.1\r\nHost: h\r\n\r\n";

fn with(lines: &str) -> String {
    format!("GET /a HTTP/1.1\r\nHost: h\r\n{lines}\r\n\r\n")
}

pub fn cases() -> Vec<Case> {
    [names(), values(), lines(), passed(), splitting()].concat()
}

/// A name is a token. One that is none may be left out by an intermediary, but never passed on.
fn names() -> Vec<Case> {
    let mut cases = Vec::new();
    for octet in "\"(),/;<=>?@[\\]{}\0\u{1}\u{b}\u{7f}\u{80}\u{ff}".chars() {
        let name = format!("{} in a name", octet.escape_default());
        let wire = with(&format!("X{octet}Y: v"));
        cases.push(case(FIELD, "9110 5.1", name).sends(&wire).refused(&[400]).or_forwarded(PLAIN));
    }
    // RFC 9112 section 5.1: white space before the colon is refused by any server.
    for (name, line) in [
        ("space before the colon", "X : v"),
        ("tab before the colon", "X\t: v"),
        ("vertical tab before the colon", "X\u{b}: v"),
        ("space within a name", "X Y: v"),
    ] {
        cases.push(case(FIELD, "9112 5.1", name).sends(&with(line)).refused(&[400]));
    }
    for (name, line) in [("no colon", "X"), ("empty name", ": v"), ("a colon alone", ":")] {
        let refused = case(FIELD, "9112 5", name).sends(&with(line)).refused(&[400]).or_forwarded(PLAIN);
        cases.push(if name == "no colon" { refused.or_forwarded(&with("X: ")) } else { refused });
    }
    cases
}

fn values() -> Vec<Case> {
    let mut cases = Vec::new();
    // RFC 9110 section 5.5: other control octets may be kept by a recipient; CR, LF and NUL may not.
    for octet in (1..=8).chain(11..=12).chain(14..=31).chain([127]) {
        let name = format!("octet {octet:#04x} in a value");
        let wire = with(&format!("X: a{}b", char::from(octet)));
        cases.push(case(FIELD, "9110 5.5", name).sends(&wire).refused(&[400]).or_forwarded(&wire));
    }
    for (name, octet) in [("NUL in a value", '\0'), ("bare CR in a value", '\r')] {
        let wire = with(&format!("X: a{octet}b"));
        let mended = with("X: a b");
        cases.push(case(FIELD, "9110 5.5", name).sends(&wire).refused(&[400]).or_forwarded(&mended));
    }
    cases
}

fn lines() -> Vec<Case> {
    let folded = "GET /a HTTP/1.1\r\nHost: h\r\nX: a b\r\n\r\n";
    let taken = "GET /a HTTP/1.1\r\nHost: h\r\nX: a\r\n\r\n";
    let rows = [
        ("folded with a space", "GET /a HTTP/1.1\r\nHost: h\r\nX: a\r\n b\r\n\r\n", folded),
        ("folded with a tab", "GET /a HTTP/1.1\r\nHost: h\r\nX: a\r\n\tb\r\n\r\n", folded),
        ("folded, an empty value first", "GET /a HTTP/1.1\r\nHost: h\r\nX:\r\n a\r\n\r\n", taken),
        ("a line of white space", "GET /a HTTP/1.1\r\nHost: h\r\nX: a\r\n \r\n\r\n", taken),
        ("space before the first field", "GET /a HTTP/1.1\r\n X: a\r\nHost: h\r\n\r\n", PLAIN),
        ("tab before the first field", "GET /a HTTP/1.1\r\n\tX: a\r\nHost: h\r\n\r\n", PLAIN),
        (
            "bare LF ends a field",
            "GET /a HTTP/1.1\r\nHost: h\r\nX: a\nY: b\r\n\r\n",
            "GET /a HTTP/1.1\r\nHost: h\r\nX: a\r\nY: b\r\n\r\n",
        ),
        ("bare LF ends the last field", "GET /a HTTP/1.1\r\nHost: h\r\nX: a\n\r\n", taken),
        ("bare LF ends the head", "GET /a HTTP/1.1\r\nHost: h\r\nX: a\r\n\n", taken),
        (
            "CR CR LF ends a field",
            "GET /a HTTP/1.1\r\nHost: h\r\nX: a\r\r\nY: b\r\n\r\n",
            "GET /a HTTP/1.1\r\nHost: h\r\nX: a\r\nY: b\r\n\r\n",
        ),
    ];
    let mut cases = all_refused_or(FIELD, "9112 5.2", &rows);
    let refused = [("bare CR ends a field", "GET /a HTTP/1.1\r\nHost: h\rX: a\r\n\r\n")];
    cases.push(
        case(FIELD, "9112 2.2", "CR CR ends the head")
            .sends("GET /a HTTP/1.1\r\nHost: h\r\nX: a\r\r\r\n\r\n")
            .refused(&[400])
            .or_forwarded(taken),
    );
    cases.extend(all_refused(FIELD, "9112 2.2", &refused));
    cases
}

/// What is well formed passes as it came.
fn passed() -> Vec<Case> {
    let own = |line: &str| with(line);
    let mut cases = Vec::new();
    for (name, line, seen) in [
        ("no white space", "X:v", "X: v"),
        ("much white space", "X: \t v\t \t", "X: v"),
        ("an empty value", "X:", "X: "),
        ("a value of white space", "X: \t ", "X: "),
        ("tab within a value", "X: a\tb", "X: a\tb"),
        ("spaces within a value", "X: a  b", "X: a  b"),
        ("colons within a value", "X: a:b: c", "X: a:b: c"),
        ("quotes and backslashes", "X: \"a\\\"b\", c\\", "X: \"a\\\"b\", c\\"),
        ("obs-text", "X: caf\u{e9}\u{80}\u{ff}", "X: caf\u{e9}\u{80}\u{ff}"),
        ("a name in mixed case", "x-LOWER-Upper: v", "x-LOWER-Upper: v"),
        ("a name of digits", "123: v", "123: v"),
        ("a name of one letter", "X: v", "X: v"),
        ("a name of odd token characters", "!#$%&'*+-.^_`|~: v", "!#$%&'*+-.^_`|~: v"),
        ("a name with an underscore", "X_Y: v", "X_Y: v"),
        ("repeated fields in order", "X: a\r\nY: b\r\nX: c\r\nx: a", "X: a\r\nY: b\r\nX: c\r\nx: a"),
        ("a long name", &format!("{}: v", "N".repeat(200)), &format!("{}: v", "N".repeat(200))),
        ("cookies", "Cookie: a=b; c=\"d\"\r\nCookie: e=f", "Cookie: a=b; c=\"d\"\r\nCookie: e=f"),
        ("credentials", "Authorization: Basic eDp5", "Authorization: Basic eDp5"),
        (
            "ranges and conditions",
            "Range: bytes=0-1\r\nIf-None-Match: \"x\", W/\"y\"",
            "Range: bytes=0-1\r\nIf-None-Match: \"x\", W/\"y\"",
        ),
    ] {
        cases.push(case(FIELD, "9110 5.3", name).sends(&own(line)).forwarded(&own(seen)));
    }
    cases
}

/// Attempts to have one message taken for two.
fn splitting() -> Vec<Case> {
    let evil = "GET /evil HTTP/1.1\r\nHost: evil\r\n\r\n";
    let passing = [
        (
            "escaped line ends in the target",
            "GET /a?x=%0d%0aX:%20y%0d%0a%0d%0aGET%20/evil HTTP/1.1\r\nHost: h\r\n\r\n",
            "GET /a?x=%0d%0aX:%20y%0d%0a%0d%0aGET%20/evil HTTP/1.1\r\nHost: h\r\n\r\n",
        ),
        (
            "escaped line ends in a value",
            "GET /a HTTP/1.1\r\nHost: h\r\nX: a%0d%0aY: b\r\n\r\n",
            "GET /a HTTP/1.1\r\nHost: h\r\nX: a%0d%0aY: b\r\n\r\n",
        ),
        (
            "octets that lose their eighth bit in a value",
            "GET /a HTTP/1.1\r\nHost: h\r\nX: a\u{8d}\u{8a}Y: b\r\n\r\n",
            "GET /a HTTP/1.1\r\nHost: h\r\nX: a\u{8d}\u{8a}Y: b\r\n\r\n",
        ),
        (
            "UTF-8 that ends in CR and LF",
            "GET /a HTTP/1.1\r\nHost: h\r\nX: \u{e5}\u{98}\u{8d}\u{e5}\u{98}\u{8a}Y: b\r\n\r\n",
            "GET /a HTTP/1.1\r\nHost: h\r\nX: \u{e5}\u{98}\u{8d}\u{e5}\u{98}\u{8a}Y: b\r\n\r\n",
        ),
    ];
    let mut cases = all_forwarded(SPLITTING, "9110 5.5", &passing);
    // A reader that mends what stands before the empty line sees two requests, and may; one that does not must refuse.
    let first = with("X: a");
    for (name, front) in [
        ("bare LFs hide a request", "GET /a HTTP/1.1\r\nHost: h\r\nX: a\n\n"),
        ("NUL hides a request", "GET /a HTTP/1.1\r\nHost: h\r\nX: a\0\r\n\r\n"),
        ("a fold hides a request", "GET /a HTTP/1.1\r\nHost: h\r\nX: a\r\n \r\n\r\n"),
        ("LF CR hides a request", "GET /a HTTP/1.1\r\nHost: h\r\nX: a\n\r\n\r\n"),
    ] {
        let refused = case(SPLITTING, "9112 2.2", name).sends(&format!("{front}{evil}")).refused(&[400]);
        cases.push(refused.finals(2).or_gives(&[&first, evil], vec![ok(), ok()]));
    }
    for (name, front) in [
        ("bare CRs hide a request", "GET /a HTTP/1.1\r\nHost: h\r\nX: a\r\r"),
        (
            "a space before the colon hides a body",
            "POST /a HTTP/1.1\r\nHost: h\r\nContent-Length : 38\r\n\r\n",
        ),
        (
            "a space before the colon hides chunks",
            "POST /a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
        ),
    ] {
        cases.push(
            case(SPLITTING, "9112 2.2", name).sends(&format!("{front}{evil}")).refused(&[400]).finals(2),
        );
    }
    cases
}
