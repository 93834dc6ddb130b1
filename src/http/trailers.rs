//! The trailer section of a chunked body: parsed by a head's rules, and forwarded without the fields that
//! must not be in it (RFC 9110 section 6.5, RFC 9112 section 7.1.2).
//!
//! Never merges a trailer field into a head, and never waits for more than the section itself.

use super::limits::HeadLimits;
use super::local_reply::LocalReply;
use super::octet;

const BAD_LINE_END: LocalReply = LocalReply::bad_request("trailer line not ended by CRLF");
const BAD_NAME: LocalReply = LocalReply::bad_request("malformed trailer field name");
const BAD_VALUE: LocalReply = LocalReply::bad_request("control character in a trailer field");
const FOLDED: LocalReply = LocalReply::bad_request("folded trailer line");
const TOO_LARGE: LocalReply = LocalReply { status: 431, reason: "trailer section too large" };
const TOO_MANY: LocalReply = LocalReply { status: 431, reason: "too many trailer fields" };

/// Fields that frame, route, authenticate, cache or otherwise control the processing of a message, which must
/// therefore be in its head (RFC 9110 section 6.5.1), and those that end at a hop (section 7.6.1). Lower
/// case.
const HEAD_ONLY: &[&str] = &[
    // Framing, content format.
    "content-encoding",
    "content-length",
    "content-range",
    "content-type",
    "trailer",
    "transfer-encoding",
    // Routing, and the identity of the client.
    "forwarded",
    "host",
    "location",
    "max-forwards",
    "via",
    "x-real-ip",
    "x-request-id",
    // Authentication.
    "authentication-info",
    "authorization",
    "cookie",
    "cookie2",
    "set-cookie",
    "set-cookie2",
    "www-authenticate",
    // Caching and response control.
    "age",
    "cache-control",
    "date",
    "expires",
    "pragma",
    "retry-after",
    "vary",
    "warning",
    // Request control.
    "expect",
    "range",
    // Hop by hop.
    "connection",
    "http2-settings",
    "keep-alive",
    "te",
    "upgrade",
];

/// Families of such fields, by the start of their names: conditions, a proxy's own statements, credentials
/// for one hop.
const HEAD_ONLY_PREFIXES: &[&str] = &["if-", "x-forwarded-", "proxy-"];

/// Parses the trailer section at the front of `bytes`, through the empty line that ends it; `None` while it
/// is incomplete, otherwise the octets consumed. Allowed fields are appended to `out` as field lines (no
/// empty line is written).
///
/// # Errors
/// 400: a malformed field line, or 431: a section over the limits. In both cases nothing was appended.
pub fn forward(
    bytes: &[u8],
    limits: &HeadLimits,
    out: Option<&mut Vec<u8>>,
) -> Result<Option<usize>, LocalReply> {
    // Most bodies have no trailers.
    if bytes.starts_with(b"\r\n") {
        return Ok(Some(2));
    }
    let Some(out) = out else { return section(bytes, limits, |_, _| {}) };
    let written_before = out.len();
    let outcome = section(bytes, limits, |name, value| {
        if may_trail(name) {
            out.extend_from_slice(name);
            out.extend_from_slice(b": ");
            out.extend_from_slice(value);
            out.extend_from_slice(b"\r\n");
        }
    });
    if !matches!(outcome, Ok(Some(_))) {
        out.truncate(written_before);
    }
    outcome
}

/// Checks the section line by line and passes each field to `field`.
fn section(
    bytes: &[u8],
    limits: &HeadLimits,
    mut field: impl FnMut(&[u8], &[u8]),
) -> Result<Option<usize>, LocalReply> {
    let room = &bytes[..bytes.len().min(limits.head_bytes_max)];
    let mut at = 0;
    let mut fields = 0;
    while let Some(length) = memchr::memchr(b'\n', &room[at..]) {
        // RFC 9112 section 2.2: a line ends in CRLF; only some parsers take a bare LF as a line end.
        let Some(line) = room[at..at + length].strip_suffix(b"\r") else { return Err(BAD_LINE_END) };
        at += length + 1;
        if line.is_empty() {
            return Ok(Some(at));
        }
        fields += 1;
        if fields > limits.fields_max {
            return Err(TOO_MANY);
        }
        let (name, value) = field_line(line)?;
        field(name, value);
    }
    if bytes.len() >= limits.head_bytes_max { Err(TOO_LARGE) } else { Ok(None) }
}

/// Name and value of a line without its CRLF.
fn field_line(line: &[u8]) -> Result<(&[u8], &[u8]), LocalReply> {
    // RFC 9112 section 5.2: a line that begins with white space would continue the line before it.
    if line.first().is_some_and(|&octet| octet::is_blank(octet)) {
        return Err(FOLDED);
    }
    let colon = memchr::memchr(b':', line).ok_or(BAD_NAME)?;
    let (name, value) = (&line[..colon], &line[colon + 1..]);
    // RFC 9112 section 5.1: no white space between name and colon; RFC 9110 section 5.1: a name is a token.
    if name.is_empty() || !name.iter().all(|&octet| octet::is_token(octet)) {
        return Err(BAD_NAME);
    }
    // RFC 9110 section 5.5: CR, LF, NUL and the other control characters are dangerous in a value.
    if !value.iter().all(|&octet| octet::is_value(octet)) {
        return Err(BAD_VALUE);
    }
    Ok((name, octet::trim(value)))
}

fn may_trail(name: &[u8]) -> bool {
    let begins_with = |prefix: &&str| {
        name.get(..prefix.len()).is_some_and(|front| front.eq_ignore_ascii_case(prefix.as_bytes()))
    };
    !HEAD_ONLY.iter().any(|head_only| name.eq_ignore_ascii_case(head_only.as_bytes()))
        && !HEAD_ONLY_PREFIXES.iter().any(begins_with)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: HeadLimits = HeadLimits { head_bytes_max: 64, fields_max: 3, target_bytes_max: 0 };

    #[track_caller]
    fn run(name: &str, bytes: &[u8], limits: &HeadLimits) -> Result<(Option<usize>, Vec<u8>), u16> {
        let mut out = b"0\r\n".to_vec();
        let outcome = forward(bytes, limits, Some(&mut out));
        assert_eq!(forward(bytes, limits, None), outcome, "{name}: without out");
        assert!(out.starts_with(b"0\r\n"), "{name}");
        let appended = out.split_off(3);
        if !matches!(outcome, Ok(Some(_))) {
            assert!(appended.is_empty(), "{name}: something was appended");
        }
        outcome.map(|used| (used, appended)).map_err(|reply| reply.status)
    }

    #[test]
    fn accepts() {
        /// Name, octets in, octets consumed, field lines out.
        type Case = (&'static str, &'static [u8], Option<usize>, &'static [u8]);
        let cases: &[Case] = &[
            ("none", b"\r\n", Some(2), b""),
            ("none, the next message behind", b"\r\nGET / HTTP/1.1\r\n", Some(2), b""),
            ("incomplete: nothing", b"", None, b""),
            ("incomplete: CR", b"\r", None, b""),
            ("incomplete: no empty line", b"A: b\r\n", None, b""),
            ("incomplete: half an empty line", b"A: b\r\n\r", None, b""),
            ("one", b"A: b\r\n\r\n", Some(8), b"A: b\r\n"),
            (
                "order, case and repeats",
                b"b: 1\r\nA: 2\r\nB: 3\r\n\r\nX",
                Some(20),
                b"b: 1\r\nA: 2\r\nB: 3\r\n",
            ),
            ("white space around the value", b"A:b\r\nC:\t d e \r\n\r\n", Some(17), b"A: b\r\nC: d e\r\n"),
            ("empty value, obs-text", b"A:\r\nB: \x80\xff\r\n\r\n", Some(13), b"A: \r\nB: \x80\xff\r\n"),
            (
                "content digest",
                b"Content-Digest: sha-256=:x:\r\n\r\n",
                Some(31),
                b"Content-Digest: sha-256=:x:\r\n",
            ),
            ("left out", b"Content-Length: 5\r\nA: b\r\nHOST: c\r\n\r\n", Some(36), b"A: b\r\n"),
        ];
        for (name, bytes, used, appended) in cases {
            assert_eq!(run(name, bytes, &LIMITS), Ok((*used, appended.to_vec())), "{name}");
        }
    }

    #[test]
    fn refuses() {
        let cases: &[(&str, &[u8], u16)] = &[
            ("bare LF for the empty line", b"\n", 400),
            ("bare LF behind a field", b"A: b\n\r\n", 400),
            ("bare LF for the last line", b"A: b\r\n\n", 400),
            ("bare CR in a value", b"A: b\rc\r\n\r\n", 400),
            ("CR CR LF", b"A: b\r\r\n\r\n", 400),
            ("CR CR LF for the empty line", b"\r\r\n", 400),
            ("NUL", b"A: \0\r\n\r\n", 400),
            ("DEL", b"A: \x7f\r\n\r\n", 400),
            ("control", b"A: \x0b\r\n\r\n", 400),
            ("folded", b"A: b\r\n c\r\n\r\n", 400),
            ("white space first", b" A: b\r\n\r\n", 400),
            ("space before the colon", b"A : b\r\n\r\n", 400),
            ("no colon", b"Ab\r\n\r\n", 400),
            ("no name", b": b\r\n\r\n", 400),
            ("name with obs-text", b"A\x80: b\r\n\r\n", 400),
            ("name with a delimiter", b"A(: b\r\n\r\n", 400),
            ("a broken line behind a good one", b"A: b\r\nGET / HTTP/1.1\r\n\r\n", 400),
            ("too many", b"A:\r\nB:\r\nC:\r\nD:\r\n\r\n", 431),
        ];
        for (name, bytes, status) in cases {
            assert_eq!(run(name, bytes, &LIMITS), Err(*status), "{name}");
            for cut in 0..bytes.len() {
                let early = run(name, &bytes[..cut], &LIMITS);
                assert!(matches!(early, Ok((None, _))) || early == Err(*status), "{name}: cut at {cut}");
            }
        }
    }

    #[test]
    fn a_section_has_a_largest_size() {
        let section = |length: usize| format!("A:{}\r\n\r\n", "b".repeat(length - 6)).into_bytes();
        assert_eq!(run("largest", &section(64), &LIMITS).unwrap().0, Some(64));
        assert_eq!(run("over", &section(65), &LIMITS), Err(431));
        assert_eq!(run("unfinished", &section(64)[..63], &LIMITS).unwrap().0, None);
        assert_eq!(run("unfinished and full", &[b'a'; 64], &LIMITS), Err(431));
        // Octets after the section do not count.
        let followed = [section(64), vec![b'x'; 500]].concat();
        assert_eq!(run("followed", &followed, &LIMITS).unwrap().0, Some(64));
    }

    #[test]
    fn fields_that_belong_in_a_head_are_left_out() {
        for name in HEAD_ONLY.iter().chain(&[
            "If-Match",
            "if-none-match",
            "IF-RANGE",
            "X-Forwarded-For",
            "x-forwarded-proto",
            "Proxy-Authorization",
            "Proxy-Connection",
            "Transfer-ENCODING",
        ]) {
            let bytes = format!("{name}: x\r\nKept: y\r\n\r\n");
            let outcome = run(name, bytes.as_bytes(), &HeadLimits::DEFAULT);
            assert_eq!(outcome, Ok((Some(bytes.len()), b"Kept: y\r\n".to_vec())), "{name}");
        }
        for name in ["ETag", "grpc-status", "Server-Timing", "X-Checksum", "Hosts", "If"] {
            assert!(may_trail(name.as_bytes()), "{name}");
        }
    }
}
