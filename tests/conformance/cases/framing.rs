//! Where a request ends: Content-Length and Transfer-Encoding in every spelling (RFC 9112 sections 6.1 to 6.3).

use super::super::case::{Case, Group, case, ok};
use super::{all_forwarded, all_refused, all_refused_or};

const FRAMING: Group = Group("request framing");

/// A body that is a request of its own to whoever does not see it as a body.
const EVIL: &str = "GET /evil HTTP/1.1\r\nHost: evil\r\n\r\n";

/// It as a chunked body.
fn evil_chunked() -> String {
    format!("{:x}\r\n{EVIL}\r\n0\r\n\r\n", EVIL.len())
}

fn post(lines: &str, body: &str) -> String {
    format!("POST /a HTTP/1.1\r\nHost: h\r\n{lines}\r\n\r\n{body}")
}

pub fn cases() -> Vec<Case> {
    [lengths(), broken_lengths(), codings(), broken_codings(), both(), hidden(), ends()].concat()
}

fn lengths() -> Vec<Case> {
    let mut cases = Vec::new();
    for (name, line) in [
        ("a length", "Content-Length: 5"),
        ("a length in lower case", "content-length: 5"),
        ("a length in upper case", "CONTENT-LENGTH: 5"),
        ("white space around a length", "Content-Length: \t 5 \t"),
        ("no white space before a length", "Content-Length:5"),
        ("a length before Host's fellow fields", "Content-Length: 5"),
    ] {
        cases.push(
            case(FRAMING, "9112 6.3", name)
                .sends(&post(line, "hello"))
                .forwarded(&post("Content-Length: 5", "hello")),
        );
    }
    for (name, digits) in
        [("a leading zero", "05"), ("thirty leading zeros", "0000000000000000000000000000005")]
    {
        let wire = post(&format!("Content-Length: {digits}"), "hello");
        cases.push(
            case(FRAMING, "9110 8.6", name)
                .sends(&wire)
                .forwarded(&post("Content-Length: 5", "hello"))
                .or_refused(),
        );
    }
    let empty = post("Content-Length: 0", "");
    cases.push(case(FRAMING, "9110 8.6", "a length of 0").sends(&empty).forwarded(&empty));
    for method in ["GET", "DELETE", "OPTIONS"] {
        let wire = post("Content-Length: 5", "hello").replacen("POST", method, 1);
        cases.push(case(FRAMING, "9112 6", format!("{method} with content")).sends(&wire).forwarded(&wire));
    }
    let wire = post("Content-Length: 5", "hello").replacen("POST", "HEAD", 1);
    let answer = ok().content("");
    let seen = [wire.as_str()];
    cases.push(case(FRAMING, "9112 6", "HEAD with content").head().sends(&wire).gives(
        &seen,
        vec![answer],
        Some(true),
    ));
    let none = "POST /a HTTP/1.1\r\nHost: h\r\n\r\n";
    cases.push(case(FRAMING, "9112 6.3", "POST without a framing field").sends(none).forwarded(none));
    let wire = post(&format!("Content-Length: {}", EVIL.len()), EVIL);
    cases.push(case(FRAMING, "9112 6.3", "content that looks like a request").sends(&wire).forwarded(&wire));
    cases
}

/// RFC 9112 section 6.3, rule 5: an invalid Content-Length is an error that cannot be recovered from.
fn broken_lengths() -> Vec<Case> {
    let mut cases = Vec::new();
    for &value in NO_LENGTHS {
        let value: String = value.chars().map(|c| if c > '\u{ff}' { '\u{e9}' } else { c }).collect();
        let name = format!("length {}", value.escape_default());
        cases.push(
            case(FRAMING, "9112 6.3", name)
                .sends(&post(&format!("Content-Length: {value}"), EVIL))
                .refused(&[400]),
        );
    }
    let one = post("Content-Length: 5", "hello");
    let rows = [
        ("a list of equal lengths", post("Content-Length: 5, 5", "hello")),
        ("a list of three equal lengths", post("Content-Length: 5,5,5", "hello")),
        ("the same length twice", post("Content-Length: 5\r\nContent-Length: 5", "hello")),
        ("a comma behind a length", post("Content-Length: 5,", "hello")),
        ("a comma before a length", post("Content-Length: ,5", "hello")),
        ("equal numbers spelt differently", post("Content-Length: 5\r\nContent-Length: 05", "hello")),
    ];
    for (name, wire) in rows {
        cases.push(case(FRAMING, "9112 6.3", name).sends(&wire).refused(&[400]).or_forwarded(&one));
    }
    let refused = [
        (
            "two lengths, the shorter first",
            "POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\nContent-Length: 5\r\n\r\nhello",
        ),
        (
            "two lengths, the longer first",
            "POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nContent-Length: 0\r\n\r\nhello",
        ),
        (
            "two lengths apart",
            "POST /a HTTP/1.1\r\nContent-Length: 5\r\nHost: h\r\ncontent-length: 0\r\n\r\nhello",
        ),
        (
            "an empty length and a length",
            "POST /a HTTP/1.1\r\nHost: h\r\nContent-Length:\r\nContent-Length: 5\r\n\r\nhello",
        ),
        ("a folded length", "POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n 6\r\n\r\nhello"),
        (
            "two lengths in 1.0",
            "POST /a HTTP/1.0\r\nHost: h\r\nContent-Length: 5\r\nContent-Length: 0\r\n\r\nhello",
        ),
    ];
    cases.extend(all_refused(FRAMING, "9112 6.3", &refused));
    cases
}

fn codings() -> Vec<Case> {
    let mut cases = Vec::new();
    let chunked = post("Transfer-Encoding: chunked", &evil_chunked());
    for (name, line) in [
        ("chunked", "Transfer-Encoding: chunked"),
        ("chunked in mixed case", "Transfer-Encoding: ChunkeD"),
        ("chunked by a lower-case name", "transfer-encoding: chunked"),
        ("white space around chunked", "Transfer-Encoding: \tchunked \t"),
        ("no white space before chunked", "Transfer-Encoding:chunked"),
    ] {
        cases.push(case(FRAMING, "9112 7", name).sends(&post(line, &evil_chunked())).forwarded(&chunked));
    }
    let get = chunked.replacen("POST", "GET", 1);
    cases.push(case(FRAMING, "9112 6", "GET with chunks").sends(&get).forwarded(&get));
    cases
}

/// Codings that two readers could take for different ones.
fn broken_codings() -> Vec<Case> {
    let mut cases = Vec::new();
    for &value in NO_CODINGS {
        let name = format!("coding {}", value.escape_default());
        let wire = post(&format!("Transfer-Encoding: {value}"), &evil_chunked());
        let chunked = post("Transfer-Encoding: chunked", &evil_chunked());
        let case = case(FRAMING, "9112 6.3", name).sends(&wire).refused(&[400]);
        // RFC 9110 section 5.6.1.2: empty list elements may be ignored; then this is one chunked. So it is where a bare CR
        // is taken for a space (RFC 9112 section 2.2).
        cases.push(if matches!(value, "chunked," | ",chunked" | "chunked\r") {
            case.or_forwarded(&chunked)
        } else {
            case
        });
    }
    for value in [
        "gzip, chunked",
        "identity, chunked",
        "cow, chunked",
        "gzip;q=1, chunked",
        "gzip\r\nTransfer-Encoding: chunked",
    ] {
        let name = format!("coding {}", value.escape_default());
        let wire = post(&format!("Transfer-Encoding: {value}"), &evil_chunked());
        let chunked = post("Transfer-Encoding: gzip, chunked", &evil_chunked());
        cases.push(case(FRAMING, "9112 6.1", name).sends(&wire).refused(&[501]).or_forwarded(&chunked));
    }
    let chunks = evil_chunked();
    let rows = [
        ("chunked twice", "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked"),
        ("chunked, then identity", "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity"),
        ("chunked, then an empty coding", "Transfer-Encoding: chunked\r\nTransfer-Encoding:"),
        ("chunked apart from xchunked", "Transfer-Encoding: xchunked\r\nX: y\r\nTransfer-Encoding: chunked"),
        ("chunked, then cow", "Transfer-Encoding: chunked\r\ntransfer-encoding: cow"),
        ("folded chunked", "Transfer-Encoding:\r\n chunked"),
        ("folded behind chunked", "Transfer-Encoding: chunked\r\n , cow"),
    ];
    for (name, lines) in rows {
        let case = case(FRAMING, "9112 6.3", name).sends(&post(lines, &chunks)).refused(&[400, 501]);
        let chunked = post("Transfer-Encoding: chunked", &chunks);
        let mended = matches!(
            name,
            "folded chunked" | "chunked, then an empty coding" | "chunked apart from xchunked"
        );
        cases.push(if mended { case.or_forwarded(&chunked) } else { case });
    }
    cases
}

/// RFC 9112 section 6.3, rule 3: refused, or Transfer-Encoding alone counts and alone goes on.
fn both() -> Vec<Case> {
    let chunks = evil_chunked();
    let chunked = post("Transfer-Encoding: chunked", &chunks);
    let mut cases = Vec::new();
    for (name, lines) in [
        ("both, length first", "Content-Length: 5\r\nTransfer-Encoding: chunked"),
        ("both, coding first", "Transfer-Encoding: chunked\r\nContent-Length: 5"),
        ("both, length 0", "Content-Length: 0\r\nTransfer-Encoding: chunked"),
        ("both, coding in mixed case", "Content-Length: 5\r\ntransfer-encoding: Chunked"),
        ("both, broken length", "Content-Length: x\r\nTransfer-Encoding: chunked"),
        ("both, two lengths", "Content-Length: 5\r\nTransfer-Encoding: chunked\r\nContent-Length: 6"),
        ("both, an empty length", "Content-Length:\r\nTransfer-Encoding: chunked"),
    ] {
        cases.push(
            case(FRAMING, "9112 6.3", name)
                .sends(&post(lines, &chunks))
                .refused(&[400])
                .or_forwarded(&chunked),
        );
    }
    for (name, lines) in [
        ("both, xchunked", "Content-Length: 5\r\nTransfer-Encoding: xchunked"),
        ("both, identity", "Content-Length: 5\r\nTransfer-Encoding: identity"),
        ("both, an empty coding", "Content-Length: 5\r\nTransfer-Encoding:"),
        ("both, vertical tab before chunked", "Content-Length: 5\r\nTransfer-Encoding: \u{b}chunked"),
        ("both, space before the coding's colon", "Content-Length: 5\r\nTransfer-Encoding : chunked"),
        ("both, the coding's name folded", "Content-Length: 5\r\n Transfer-Encoding: chunked"),
        ("both, gzip, chunked", "Content-Length: 5\r\nTransfer-Encoding: gzip, chunked"),
        (
            "both, control octet before the coding's name",
            "Content-Length: 5\r\n\u{1}Transfer-Encoding: chunked",
        ),
    ] {
        cases.push(case(FRAMING, "9112 6.3", name).sends(&post(lines, &chunks)).refused(&[400]));
    }
    let old = format!("POST /a HTTP/1.0\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}");
    cases
        .push(case(FRAMING, "9112 6.1", "chunked in 1.0").sends(&old).refused(&[400]).or_forwarded(&chunked));
    let keeping = old.replacen("\r\n\r\n", "\r\nConnection: keep-alive\r\n\r\n", 1);
    cases.push(
        case(FRAMING, "9112 6.1", "chunked in 1.0 that keeps alive")
            .sends(&keeping)
            .refused(&[400])
            .or_forwarded(&chunked),
    );
    let old = format!(
        "POST /a HTTP/1.0\r\nHost: h\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}"
    );
    cases.push(case(FRAMING, "9112 6.1", "both in 1.0").sends(&old).refused(&[400]).or_forwarded(&chunked));
    cases
}

/// A framing field that only one of two readers would see.
fn hidden() -> Vec<Case> {
    let seen = "POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nX: y\r\n\r\nhello";
    let rows = [
        (
            "a length behind a bare LF",
            "POST /a HTTP/1.1\r\nHost: h\r\nX: y\nContent-Length: 5\r\n\r\nhello",
            seen,
        ),
        (
            "a length behind a bare CR",
            "POST /a HTTP/1.1\r\nHost: h\r\nX: y\rContent-Length: 5\r\n\r\n",
            "POST /a HTTP/1.1\r\nHost: h\r\nX: y Content-Length: 5\r\n\r\n",
        ),
        (
            "a length on a folded line",
            "POST /a HTTP/1.1\r\nHost: h\r\nX: y\r\n Content-Length: 5\r\n\r\n",
            "POST /a HTTP/1.1\r\nHost: h\r\nX: y Content-Length: 5\r\n\r\n",
        ),
        (
            "a length whose name ends in NUL",
            "POST /a HTTP/1.1\r\nHost: h\r\nContent-Length\0: 5\r\n\r\n",
            "POST /a HTTP/1.1\r\nHost: h\r\n\r\n",
        ),
        (
            "a length whose name ends in a vertical tab",
            "POST /a HTTP/1.1\r\nHost: h\r\nContent-Length\u{b}: 5\r\n\r\n",
            "POST /a HTTP/1.1\r\nHost: h\r\n\r\n",
        ),
    ];
    let mut cases = all_refused_or(FRAMING, "9112 2.2", &rows);
    let passed = [
        (
            "a length by another name",
            "POST /a HTTP/1.1\r\nHost: h\r\nContent_Length: 5\r\n\r\n",
            "POST /a HTTP/1.1\r\nHost: h\r\nContent_Length: 5\r\n\r\n",
        ),
        (
            "a coding by another name",
            "POST /a HTTP/1.1\r\nHost: h\r\nTransfer_Encoding: chunked\r\n\r\n",
            "POST /a HTTP/1.1\r\nHost: h\r\nTransfer_Encoding: chunked\r\n\r\n",
        ),
        (
            "Content-Encoding is no framing",
            "POST /a HTTP/1.1\r\nHost: h\r\nContent-Encoding: chunked\r\n\r\n",
            "POST /a HTTP/1.1\r\nHost: h\r\nContent-Encoding: chunked\r\n\r\n",
        ),
    ];
    // Whoever leaves the doubtful name out is safe, too.
    let bare = "POST /a HTTP/1.1\r\nHost: h\r\n\r\n";
    let lenient = |case: Case| case.or_forwarded(bare).or_refused();
    cases.extend(all_forwarded(FRAMING, "9112 6.3", &passed).into_iter().map(lenient));
    cases
}

/// Bodies that end too early, or come in pieces.
fn ends() -> Vec<Case> {
    let mut cases = Vec::new();
    for (name, length, body) in [
        ("content cut short", 10, "hello"),
        ("no content at all", 10, ""),
        ("content short of an octet", 6, "hello"),
    ] {
        let wire = post(&format!("Content-Length: {length}"), body);
        cases.push(case(FRAMING, "9112 8", name).sends(&wire).half_closes().broken_off(&[400]));
    }
    let pieces = case(FRAMING, "9112 6.3", "content in pieces")
        .sends("POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\n");
    cases.push(pieces.sends("h").sends("ell").sends("o").forwarded(&post("Content-Length: 5", "hello")));
    let front = "POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello";
    let second = "GET /b HTTP/1.1\r\nHost: h\r\n\r\n";
    cases.push(
        case(FRAMING, "9112 2.2", "an empty line behind content")
            .sends(&format!("{front}\r\n{second}"))
            .gives(&[front, second], vec![ok(), ok()], Some(true)),
    );
    cases
}

/// What is no length.
const NO_LENGTHS: &[&str] = &[
    "+5",
    "-5",
    "-0",
    "0x5",
    "5a",
    "a5",
    "5 5",
    "5\t5",
    "5.0",
    "5e0",
    "5;",
    "5_0",
    "\"5\"",
    "",
    " ",
    "\u{665}\u{b2}",
    "5\u{b}",
    "\u{b}5",
    "5\0",
    "5\u{c}",
    "5, 6",
    "5;5",
    "9223372036854775808",
    "18446744073709551615",
    "18446744073709551616",
    "18446744073709551621",
    "99999999999999999999999999999999",
    "4294967301a",
    "NaN",
    "chunked",
];

/// What is not one `chunked`, though a careless reader may think so.
const NO_CODINGS: &[&str] = &[
    "xchunked",
    "chunkedx",
    "chunk",
    "chunked, chunked",
    "chunked,chunked",
    "chunked, identity",
    "chunked, gzip",
    "identity",
    "gzip",
    "",
    " ",
    ",",
    "chunked,",
    ",chunked",
    "chunked;q=1",
    "chunked;",
    "\"chunked\"",
    "'chunked'",
    "chun ked",
    "chunked chunked",
    "\u{b}chunked",
    "chunked\u{b}",
    "\u{c}chunked",
    "chunked\0",
    "\0chunked",
    "chunked\u{7f}",
    "chunked\u{a0}",
    "\u{a0}chunked",
    "cow",
    "chunked cow",
    "chunked; x",
    "chunked:",
    "chunked\r",
    "=chunked",
    "chunked=",
    "[chunked]",
    "chunked, cow",
    "identity; chunked",
];
