//! The heads that Apex sends: start line and framing rewritten, hop-by-hop fields removed, X-Forwarded-*
//! added (RFC 9110 section 7.6, RFC 9112 sections 3 and 6).
//!
//! Never copies a framing field of the peer, and never judges: its input was accepted by `http::head`.

use super::connection::{self, Named};
use super::field::{Field, Name, classify, is_h2c};
use super::framing::Framing;
use super::head::{Persistence, Request, Response, Version};
use super::lines::StartLine;
use super::octet;
use super::target::Target;
use crate::base::Random;
use std::cell::Cell;

/// Octets that Apex's own lines may need beyond the received head and the texts in them.
const OWN_LINES_BYTES: usize = 256;

/// What Apex states about the client and the path of the request.
#[derive(Debug, Clone, Copy)]
pub struct RequestEdits<'a> {
    /// Octets to remove from the front of the path (`strip_prefix`); 0 for none. The path sent always starts
    /// with `/`.
    pub strip_bytes: usize,
    /// The client's address as text, for X-Forwarded-For. A client of a Unix socket has none: the field of a
    /// trusted client is forwarded unchanged, and otherwise there is none (as `HAProxy` does: many readers of
    /// the field accept only addresses).
    pub client_address: Option<&'a [u8]>,
    /// The peer's own X-Forwarded-* are trusted: For is appended to, Proto and Host are kept if present.
    pub client_trusted: bool,
    /// The Host to send if an HTTP/1.0 client sent none.
    pub host_fallback: &'a str,
    /// The name by which Apex adds itself to Via; `None`: it does not.
    pub via: Option<&'a str>,
    /// The X-Request-Id of a request without a trusted one; `None`: the field is forwarded unchanged.
    pub request_id: Option<RequestId>,
}

/// An id for one request, by which the logs of all servers that handle it can be joined: 32 hexadecimal
/// digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestId(pub u128);

impl RequestId {
    /// The next id of a sequence.
    pub fn draw(random: &mut Random) -> Self {
        Self(u128::from(random.number()) << 64 | u128::from(random.number()))
    }

    /// The text for the field and for the log.
    pub fn text(self) -> [u8; 32] {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let mut text = [0; 32];
        for (pair, octet) in text.chunks_exact_mut(2).zip(self.0.to_be_bytes()) {
            pair[0] = DIGITS[usize::from(octet >> 4)];
            pair[1] = DIGITS[usize::from(octet & 15)];
        }
        text
    }
}

/// The X-Request-Id that a request is forwarded with under these `edits`.
pub fn request_id<'b>(request: &Request<'_, 'b>, edits: &RequestEdits<'_>) -> Option<&'b [u8]> {
    let believed = edits.request_id.is_none() || edits.client_trusted;
    request.field("x-request-id").filter(|value| believed && !value.is_empty())
}

/// Appends the head of the forwarded request, through the empty line. It is always HTTP/1.1 and keeps the
/// connection open.
///
/// Fields keep the client's order; Apex's own lines follow them, except Host, which keeps its place (and
/// comes first if the client sent none).
pub fn request(out: &mut Vec<u8>, request: &Request<'_, '_>, edits: &RequestEdits<'_>) {
    let host = request.authority.map_or(edits.host_fallback.as_bytes(), |authority| authority.text);
    // `name:value` becomes `name: value`, so that each field may grow by one octet.
    out.reserve(
        request.head_bytes
            + request.fields.len()
            + 2 * host.len()
            + edits.client_address.map_or(0, <[u8]>::len)
            + OWN_LINES_BYTES,
    );
    let start_line = if request_line_stays(request, edits) {
        StartLine::AsItCame
    } else {
        write_request_line(out, request, edits);
        StartLine::Written
    };
    // An HTTP/1.1 request without Host was refused before.
    if request.version == Version::Http10 && request.field("host").is_none() {
        own_line(out, b"Host: ", host);
    }
    let passed = request_fields(out, request, edits, host, start_line);
    write_forwarded(out, request, edits, &passed);
    if request.expects_continue {
        out.extend_from_slice(b"Expect: 100-continue\r\n");
    }
    write_framing(out, request.framing);
    // RFC 9110 section 7.6.1: fields for the next hop alone are named in Connection.
    out.extend_from_slice(match (passed.trailers_wanted, request.upgrades) {
        (true, true) => b"TE: trailers\r\nConnection: TE, upgrade\r\n\r\n",
        (true, false) => b"TE: trailers\r\nConnection: TE\r\n\r\n",
        (false, true) => b"Connection: upgrade\r\n\r\n",
        (false, false) => b"\r\n",
    });
}

/// Whether the request line is forwarded unchanged.
fn request_line_stays(request: &Request<'_, '_>, edits: &RequestEdits<'_>) -> bool {
    const VERSION: &[u8] = b" HTTP/1.1\r\n";
    let line = request.lines.start_line(request.fields);
    edits.strip_bytes == 0
        && request.target.authority.is_none()
        && line.len() == request.method_text.len() + 1 + request.target_text.len() + VERSION.len()
        && line.ends_with(VERSION)
}

fn write_request_line(out: &mut Vec<u8>, request: &Request<'_, '_>, edits: &RequestEdits<'_>) {
    out.extend_from_slice(request.method_text.as_bytes());
    out.push(b' ');
    write_target(out, &request.target, edits.strip_bytes);
    out.extend_from_slice(b" HTTP/1.1\r\n");
}

/// The client's fields that decide which lines follow them.
#[derive(Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "independent facts of one head")]
struct Passed {
    /// `TE: trailers` of a client that can receive trailers.
    trailers_wanted: bool,
    /// A trusted X-Forwarded-Proto was kept.
    proto: bool,
    /// A trusted X-Forwarded-Host was kept.
    host: bool,
    /// A trusted X-Request-Id was kept.
    request_id: bool,
}

/// Writes the client's fields that are forwarded, in their order.
fn request_fields(
    out: &mut Vec<u8>,
    request: &Request<'_, '_>,
    edits: &RequestEdits<'_>,
    host: &[u8],
    start_line: StartLine,
) -> Passed {
    let named = connection::named(request.fields, &request.lines);
    let mut passed = Passed::default();
    let host_written = Cell::new(false);
    // Where this is called, Connection names none of these.
    let stays = |name| match name {
        Name::Host => request.target.authority.is_none() && !host_written.replace(true),
        Name::Date | Name::Trailer => true,
        Name::RequestId => edits.request_id.is_none(),
        _ => false,
    };
    let look = connection::look(named.as_ref());
    request.lines.pass(request.fields, look, start_line, out, stays, |out, field, name| {
        match name {
            Name::Other | Name::Date | Name::Trailer => pass(out, field, named.as_ref()),
            // RFC 9112 section 3.2.2: the authority of an absolute-form replaces Host. It is written once.
            Name::Host if !host_written.replace(true) => line(out, field.name, host),
            Name::Te => {
                // An HTTP/1.0 client cannot receive chunks, hence no trailers either.
                passed.trailers_wanted |= request.version == Version::Http11 && wants_trailers(field.value);
            }
            Name::Upgrade if request.upgrades => write_upgrade(out, field),
            Name::MaxForwards => write_max_forwards(out, field, request.max_forwards),
            Name::ForwardedProto if edits.client_trusted => {
                line(out, field.name, field.value);
                passed.proto = true;
            }
            Name::ForwardedHost if edits.client_trusted => {
                line(out, field.name, field.value);
                passed.host = true;
            }
            Name::RequestId if edits.request_id.is_none() => pass(out, field, named.as_ref()),
            Name::RequestId if edits.client_trusted && !passed.request_id && !field.value.is_empty() => {
                line(out, field.name, field.value);
                passed.request_id = true;
            }
            // RFC 9110 section 7.6.1: hop by hop. Framing, Expect and X-Forwarded-* are rewritten after the
            // fields; none of these is ever removed because Connection names it.
            Name::Connection
            | Name::ContentLength
            | Name::Expect
            | Name::ForwardedFor
            | Name::ForwardedHost
            | Name::ForwardedProto
            | Name::Host
            | Name::KeepAlive
            | Name::ProxyConnection
            | Name::ProxyCredentials
            | Name::RequestId
            | Name::TransferEncoding
            | Name::Upgrade => {}
        }
    });
    passed
}

/// Appends path and query unchanged, without `strip_bytes` of stripped prefix; always with a slash in front
/// (except `*`).
pub fn write_target(out: &mut Vec<u8>, target: &Target<'_>, strip_bytes: usize) {
    let text = target.path_and_query;
    // RFC 9112 section 3.2.4: `*` refers to the server as a whole and has no path.
    if text == b"*" {
        out.push(b'*');
        return;
    }
    // The prefix was matched against a path with its slash; a missing slash cannot be removed.
    let stripped = strip_bytes.saturating_sub(usize::from(target.slash_missing));
    debug_assert!(stripped <= text.len(), "stripped {stripped} octets of {}", text.len());
    let rest = text.get(stripped..).unwrap_or_default();
    // RFC 9112 section 3.2.1: an origin-form begins with a slash.
    if rest.first() != Some(&b'/') {
        out.push(b'/');
    }
    out.extend_from_slice(rest);
}

/// RFC 9110 section 10.1.4: `trailers` means that the client accepts trailers. Transfer codings are between
/// two hops.
fn wants_trailers(value: &[u8]) -> bool {
    octet::list(value).any(|member| member.eq_ignore_ascii_case(b"trailers"))
}

/// RFC 9110 section 7.8: the protocols that the client offers, but never `h2c`: its frames would be a tunnel
/// past every rule of Apex's.
fn write_upgrade(out: &mut Vec<u8>, field: &Field<'_>) {
    if !octet::list(field.value).any(is_h2c) {
        line(out, field.name, field.value);
        return;
    }
    let mut separator: &[u8] = b": ";
    for protocol in octet::list(field.value).filter(|protocol| !is_h2c(protocol)) {
        if separator == b": " {
            out.extend_from_slice(field.name.as_bytes());
        }
        out.extend_from_slice(separator);
        out.extend_from_slice(protocol);
        separator = b", ";
    }
    if separator == b", " {
        out.extend_from_slice(b"\r\n");
    }
}

/// RFC 9110 section 7.6.2: each hop decrements the count; at 0 Apex answers, and nothing is forwarded.
fn write_max_forwards(out: &mut Vec<u8>, field: &Field<'_>, hops_left: Option<u64>) {
    match hops_left {
        Some(hops) => {
            debug_assert_ne!(hops, 0, "a request that must not be forwarded");
            line(out, field.name, itoa::Buffer::new().format(hops.saturating_sub(1)).as_bytes());
        }
        None => line(out, field.name, field.value),
    }
}

/// Writes X-Forwarded-For as one line: a backend that reads only the first, or the last, sees the whole list.
fn write_forwarded_for(out: &mut Vec<u8>, request: &Request<'_, '_>, edits: &RequestEdits<'_>) {
    let start = out.len();
    out.extend_from_slice(b"X-Forwarded-For: ");
    let empty = out.len();
    if edits.client_trusted {
        let lists = request.fields.iter().filter(|field| classify(field.name) == Name::ForwardedFor);
        for list in lists.filter(|field| !field.value.is_empty()) {
            out.extend_from_slice(list.value);
            out.extend_from_slice(b", ");
        }
    }
    if let Some(address) = edits.client_address {
        out.extend_from_slice(address);
    } else if out.len() == empty {
        return out.truncate(start);
    } else {
        // The comma and the space after the last one.
        out.truncate(out.len() - 2);
    }
    out.extend_from_slice(b"\r\n");
}

/// Writes X-Forwarded-For, and the protocol and host that Apex knows unless a trusted peer sent them.
fn write_forwarded(out: &mut Vec<u8>, request: &Request<'_, '_>, edits: &RequestEdits<'_>, passed: &Passed) {
    write_forwarded_for(out, request, edits);
    if !passed.proto {
        out.extend_from_slice(b"X-Forwarded-Proto: http\r\n");
    }
    if !passed.host
        && let Some(authority) = request.authority
    {
        own_line(out, b"X-Forwarded-Host: ", authority.text);
    }
    if let Some(id) = edits.request_id.filter(|_| !passed.request_id) {
        own_line(out, b"X-Request-Id: ", &id.text());
    }
    if let Some(name) = edits.via {
        // RFC 9110 section 7.6.3: the version in which the request was received, and a pseudonym.
        out.extend_from_slice(match request.version {
            Version::Http10 => b"Via: 1.0 ",
            Version::Http11 => b"Via: 1.1 ",
        });
        out.extend_from_slice(name.as_bytes());
        out.extend_from_slice(b"\r\n");
    }
}

/// The edits of a response on its way to the client.
#[derive(Debug, Clone, Copy)]
pub struct ResponseEdits {
    /// The framing towards the client (to an HTTP/1.1 client, a body framed by the close is sent chunked).
    pub framing: Framing,
    /// `Some(Close)` writes `Connection: close`, `Some(KeepAlive)` writes `Connection: keep-alive` (to an
    /// HTTP/1.0 client), `None` neither.
    pub connection: Option<Persistence>,
    /// A 101: `Connection: upgrade` is written and the `Upgrade` field kept.
    pub upgrades: bool,
}

/// Appends the head of the forwarded response, through the empty line. It is always HTTP/1.1.
pub fn response(out: &mut Vec<u8>, response: &Response<'_, '_>, edits: &ResponseEdits) {
    write_response(out, response, edits, None);
}

/// Like [`response`], with a `Date` line if the backend sent none (RFC 9110 section 6.6.1 requires that of a
/// recipient with a clock that forwards a response). `date` is an IMF-fixdate. Interim responses get none.
pub fn response_dated(out: &mut Vec<u8>, response: &Response<'_, '_>, edits: &ResponseEdits, date: &str) {
    let date = (response.status >= 200).then_some(date);
    write_response(out, response, edits, date);
}

fn write_response(out: &mut Vec<u8>, response: &Response<'_, '_>, edits: &ResponseEdits, date: Option<&str>) {
    out.reserve(response.head_bytes + response.fields.len() + OWN_LINES_BYTES);
    let start_line = if status_line_stays(response) {
        StartLine::AsItCame
    } else {
        write_status_line(out, response.status, response.reason);
        StartLine::Written
    };
    let named = connection::named(response.fields, &response.lines);
    let is_dated = Cell::new(false);
    let names_protocols = Cell::new(false);
    let stays = |name| {
        if name == Name::Date {
            is_dated.set(true);
        }
        name == Name::Date
    };
    let look = connection::look(named.as_ref());
    response.lines.pass(response.fields, look, start_line, out, stays, |out, field, name| {
        match name {
            Name::Date => {
                let before = out.len();
                pass(out, field, named.as_ref());
                // A date that Connection names ends at this hop, and a response is forwarded with a date.
                if out.len() > before {
                    is_dated.set(true);
                }
            }
            Name::Other
            | Name::Expect
            | Name::ForwardedFor
            | Name::ForwardedHost
            | Name::ForwardedProto
            | Name::Host
            | Name::MaxForwards
            | Name::RequestId
            | Name::Trailer => pass(out, field, named.as_ref()),
            Name::Upgrade if edits.upgrades => line(out, field.name, field.value),
            // RFC 9110 section 15.5.22: a 426 names the required protocols.
            Name::Upgrade if response.status == 426 => {
                let before = out.len();
                write_upgrade(out, field);
                names_protocols.set(names_protocols.get() || out.len() > before);
            }
            // RFC 9110 section 7.6.1: hop by hop. Framing is rewritten after the fields.
            Name::Connection
            | Name::ContentLength
            | Name::KeepAlive
            | Name::ProxyConnection
            | Name::ProxyCredentials
            | Name::Te
            | Name::TransferEncoding
            | Name::Upgrade => {}
        }
    });
    if let Some(date) = date.filter(|_| !is_dated.get()) {
        own_line(out, b"Date: ", date.as_bytes());
    }
    write_response_framing(out, response, edits.framing);
    // RFC 9110 section 7.8: Upgrade is for the next hop alone, and Connection must name it.
    if edits.upgrades || names_protocols.get() {
        out.extend_from_slice(b"Connection: upgrade\r\n");
    }
    if !edits.upgrades {
        write_connection(out, edits.connection);
    }
    out.extend_from_slice(b"\r\n");
}

fn write_response_framing(out: &mut Vec<u8>, response: &Response<'_, '_>, framing: Framing) {
    match (framing, response.length_hint) {
        // RFC 9112 section 6.1 and RFC 9110 section 8.6: neither framing field in a 1xx or a 204.
        _ if response.status < 200 || response.status == 204 => {}
        // RFC 9110 section 8.6: in a response to HEAD, and in a 304, it is the length that the content of a
        // GET would have had.
        (Framing::None, Some(length)) => write_framing(out, Framing::Length(length)),
        (framing, _) => write_framing(out, framing),
    }
}

/// Whether the status line is forwarded unchanged.
fn status_line_stays(response: &Response<'_, '_>) -> bool {
    const FRONT: &[u8] = b"HTTP/1.1 ";
    let line = response.lines.start_line(response.fields);
    line.len() == FRONT.len() + b"200 ".len() + response.reason.len() + b"\r\n".len()
        && line.starts_with(FRONT)
}

/// `HTTP/1.1 status reason`; the space after the status is written even without a reason (RFC 9112 section
/// 4).
pub(super) fn write_status_line(out: &mut Vec<u8>, status: u16, reason: &[u8]) {
    out.extend_from_slice(b"HTTP/1.1 ");
    out.extend_from_slice(itoa::Buffer::new().format(status).as_bytes());
    out.push(b' ');
    out.extend_from_slice(reason);
    out.extend_from_slice(b"\r\n");
}

/// The Connection line of a response, if it needs one.
pub(super) fn write_connection(out: &mut Vec<u8>, connection: Option<Persistence>) {
    match connection {
        Some(Persistence::Close) => out.extend_from_slice(b"Connection: close\r\n"),
        Some(Persistence::KeepAlive) => out.extend_from_slice(b"Connection: keep-alive\r\n"),
        None => {}
    }
}

/// The one framing field of a message, from the decision about it (RFC 9112 section 6.3).
pub(super) fn write_framing(out: &mut Vec<u8>, framing: Framing) {
    match framing {
        Framing::Length(length) => {
            own_line(out, b"Content-Length: ", itoa::Buffer::new().format(length).as_bytes());
        }
        Framing::Chunked => out.extend_from_slice(b"Transfer-Encoding: chunked\r\n"),
        Framing::None | Framing::UntilClose => {}
    }
}

/// Writes the field unchanged, unless Connection names it.
#[inline]
fn pass(out: &mut Vec<u8>, field: &Field<'_>, named: Option<&Named<'_>>) {
    if named.is_none_or(|named| !named.holds(field.name)) {
        line(out, field.name, field.value);
    }
}

/// Writes one field line of Apex's own; the name includes the `: ` after it.
pub(super) fn own_line<const N: usize>(out: &mut Vec<u8>, name: &[u8; N], value: &[u8]) {
    out.extend_from_slice(name);
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

/// Writes one field line.
#[inline]
pub(super) fn line(out: &mut Vec<u8>, name: &str, value: &[u8]) {
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests;
