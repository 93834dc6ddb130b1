//! Apex's own answers: a status, a short plain text, a date (RFC 9110 section 15).
//!
//! They never name the software or its version, and never repeat what the client sent (except for TRACE,
//! whose purpose that is).

use super::field::Field;
use super::forward::{line, own_line, write_connection, write_framing, write_status_line};
use super::framing::Framing;
use super::head::{Method, Persistence, Request, Version};
use super::local_reply::LocalReply;

/// Octets of an answer's head, and of a reply's text; only a hint for the buffer.
const ANSWER_BYTES: usize = 256;

/// Whether the answer carries its text (not for HEAD; its fields are the same).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Content {
    /// Head and text.
    Full,
    /// The head alone, for HEAD.
    HeadOnly,
}

/// Appends the whole answer and returns the length of its content in octets. `date` is an IMF-fixdate.
/// `connection` as in `forward::ResponseEdits`.
pub fn write(
    out: &mut Vec<u8>,
    reply: LocalReply,
    content: Content,
    connection: Option<Persistence>,
    date: &str,
) -> usize {
    let mut digits = itoa::Buffer::new();
    let parts = [digits.format(reply.status), " ", reason(reply.status), ": ", reply.reason, "\n"];
    let length = parts.iter().map(|part| part.len()).sum();
    write_head(out, reply.status, Some("text/plain"), length, connection, date);
    if content == Content::HeadOnly {
        return 0;
    }
    for part in parts {
        out.extend_from_slice(part.as_bytes());
    }
    length
}

/// Appends the answer to a TRACE whose Max-Forwards is 0: the head as received (RFC 9110 section 9.3.8),
/// without fields that carry credentials. `date` and `connection` as in [`write()`].
pub fn trace(out: &mut Vec<u8>, request: &Request<'_, '_>, connection: Option<Persistence>, date: &str) {
    let version = match request.version {
        Version::Http10 => " HTTP/1.0\r\n",
        Version::Http11 => " HTTP/1.1\r\n",
    };
    let start_line = request.method_text.len() + 1 + request.target_text.len() + version.len();
    let reflected = || request.fields.iter().filter(|field| !is_secret(field));
    let lines: usize = reflected().map(|field| field.name.len() + field.value.len() + 4).sum();
    write_head(out, 200, Some("message/http"), start_line + lines + 2, connection, date);
    out.extend_from_slice(request.method_text.as_bytes());
    out.push(b' ');
    out.extend_from_slice(request.target_text);
    out.extend_from_slice(version.as_bytes());
    for field in reflected() {
        line(out, field.name, field.value);
    }
    out.extend_from_slice(b"\r\n");
}

/// Appends the answer to an OPTIONS whose Max-Forwards is 0, without options (RFC 9110 section 9.3.7): only
/// the backend knows what is allowed. `date` and `connection` as in [`write()`].
pub fn options(out: &mut Vec<u8>, connection: Option<Persistence>, date: &str) {
    write_head(out, 200, None, 0, connection, date);
}

/// Appends the answer to a request whose Max-Forwards is 0 (RFC 9110 section 7.6.2), and returns its status.
/// `date` and `connection` as in [`write()`].
pub fn at_last_hop(
    out: &mut Vec<u8>,
    request: &Request<'_, '_>,
    connection: Option<Persistence>,
    date: &str,
) -> u16 {
    // Max-Forwards counts for TRACE and OPTIONS only.
    if request.method == Method::Trace {
        trace(out, request, connection, date);
    } else {
        options(out, connection, date);
    }
    200
}

/// RFC 9110 section 9.3.8: fields that are likely to contain sensitive data are left out of what TRACE
/// reflects.
fn is_secret(field: &Field<'_>) -> bool {
    let name = field.name.as_bytes();
    name.eq_ignore_ascii_case(b"authorization")
        || name.eq_ignore_ascii_case(b"cookie")
        || name.eq_ignore_ascii_case(b"cookie2")
        || name.get(..6).is_some_and(|front| front.eq_ignore_ascii_case(b"proxy-"))
}

/// Writes a head of Apex's own, through the empty line.
fn write_head(
    out: &mut Vec<u8>,
    status: u16,
    content_type: Option<&str>,
    length: usize,
    connection: Option<Persistence>,
    date: &str,
) {
    out.reserve(ANSWER_BYTES + length);
    write_status_line(out, status, reason(status).as_bytes());
    own_line(out, b"Date: ", date.as_bytes());
    if let Some(content_type) = content_type {
        own_line(out, b"Content-Type: ", content_type.as_bytes());
    }
    write_framing(out, Framing::Length(length as u64));
    write_connection(out, connection);
    out.extend_from_slice(b"\r\n");
}

/// The reason phrase of a status of Apex's own.
pub fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        400 => "Bad Request",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        413 => "Content Too Large",
        414 => "URI Too Long",
        417 => "Expectation Failed",
        421 => "Misdirected Request",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        // Only for the log: the client connection is closed.
        499 => "Client Closed Request",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        505 => "HTTP Version Not Supported",
        _ => "Error",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::head::Method;
    use crate::http::lines::Lines;
    use crate::http::target::Target;

    const DATE: &str = "Sun, 06 Nov 1994 08:49:37 GMT";

    fn text(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).unwrap()
    }

    fn content_of(answer: &[u8]) -> usize {
        let head = memchr::memmem::find(answer, b"\r\n\r\n").unwrap() + 4;
        answer.len() - head
    }

    #[test]
    fn refusals() {
        let reply = LocalReply { status: 404, reason: "no route for this request" };
        let head = |connection: &str| {
            format!(
                "HTTP/1.1 404 Not Found\r\nDate: {DATE}\r\nContent-Type: text/plain\r\nContent-Length: 41\r\n{connection}\r\n"
            )
        };
        let body = "404 Not Found: no route for this request\n";
        for (connection, written) in [
            (None, ""),
            (Some(Persistence::Close), "Connection: close\r\n"),
            (Some(Persistence::KeepAlive), "Connection: keep-alive\r\n"),
        ] {
            let full =
                text(|out| assert_eq!(write(out, reply, Content::Full, connection, DATE), content_of(out)));
            assert_eq!(full, head(written) + body);
            let head_only = text(|out| assert_eq!(write(out, reply, Content::HeadOnly, connection, DATE), 0));
            assert_eq!(head_only, head(written));
        }
    }

    #[test]
    fn every_status_has_a_reason() {
        for status in [200, 400, 404, 408, 413, 414, 417, 431, 499, 500, 501, 502, 503, 504, 505] {
            assert_ne!(reason(status), "Error", "{status}");
        }
        assert_eq!(reason(599), "Error");
    }

    #[test]
    fn options_tells_nothing() {
        assert_eq!(
            text(|out| options(out, Some(Persistence::Close), DATE)),
            format!("HTTP/1.1 200 OK\r\nDate: {DATE}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        );
    }

    #[test]
    fn trace_reflects_all_but_credentials() {
        let field = |name, value: &'static str| Field { name, value: value.as_bytes() };
        let request = Request {
            method: Method::Trace,
            method_text: "TRACE",
            target: Target { path_and_query: b"/x", slash_missing: false, authority: None },
            target_text: b"http://h/x",
            version: Version::Http10,
            authority: None,
            framing: Framing::None,
            persistence: Persistence::Close,
            expects_continue: false,
            upgrades: false,
            max_forwards: Some(0),
            fields: &[
                field("Max-Forwards", "0"),
                field("AUTHORIZATION", "secret"),
                field("x-own", "1"),
                field("Cookie", "secret"),
                field("Proxy-Authorization", "secret"),
                field("Via", "1.0 a"),
            ],
            lines: Lines::unknown(),
            head_bytes: 0,
        };
        let body = "TRACE http://h/x HTTP/1.0\r\nMax-Forwards: 0\r\nx-own: 1\r\nVia: 1.0 a\r\n\r\n";
        let length = body.len();
        assert_eq!(
            text(|out| trace(out, &request, None, DATE)),
            format!(
                "HTTP/1.1 200 OK\r\nDate: {DATE}\r\nContent-Type: message/http\r\nContent-Length: {length}\r\n\r\n{body}"
            )
        );
    }
}
