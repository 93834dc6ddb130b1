//! Start lines on the slow path: those that httparse does not accept (another 1.x, obs-text in the target,
//! empty lines before) and those that are incomplete or malformed, so that each gets its own answer (RFC 9112
//! sections 2.2, 2.3, 3 and 4). httparse still parses the fields after them.

use super::{
    BARE_LF, HEAD_TOO_LARGE, METHOD_TOO_LONG, Parsed, RESPONSE_HEAD_TOO_LARGE, RequestLine, StatusLine,
    TARGET_TOO_LONG, Version, field_slots, incomplete, request_error, response_error,
};
use crate::http::field::{Field, FieldSlots, is_token};
use crate::http::limits::{EMPTY_LINES_MAX, FIELDS_CEILING, HeadLimits, METHOD_BYTES_MAX};
use crate::http::local_reply::LocalReply;

/// The first octets of a TLS client (RFC 8446 section 5.1): a record of a handshake, version 3.x. No method
/// contains such octets.
const TLS_HANDSHAKE: [u8; 2] = [0x16, 0x03];

const TLS_HERE: LocalReply = LocalReply::bad_request("TLS on a plain port");
const BARE_LINE_END: LocalReply = LocalReply::bad_request(BARE_LF);

/// Parses a request head, its start line first.
#[cold]
pub(super) fn request<'h, 'b>(
    bytes: &'b [u8],
    slots: &'h mut FieldSlots<'b>,
    limits: &HeadLimits,
) -> Result<Option<Parsed<'h, 'b, RequestLine<'b>>>, LocalReply> {
    let Some(start) = skip_empty_lines(bytes)? else { return Ok(None) };
    let length = bytes.len() - start;
    let Some((line, fields_at)) = request_line(bytes, start, limits)? else {
        return incomplete(length, limits, HEAD_TOO_LARGE);
    };
    match fields(&bytes[fields_at..], slots, limits).map_err(request_error)? {
        None => incomplete(length, limits, HEAD_TOO_LARGE),
        Some((length, fields)) => Ok(Some(Parsed { line, fields, start, end: fields_at + length })),
    }
}

/// Parses a response head, its status line first.
#[cold]
pub(super) fn response<'h, 'b>(
    bytes: &'b [u8],
    slots: &'h mut FieldSlots<'b>,
    limits: &HeadLimits,
) -> Result<Option<Parsed<'h, 'b, StatusLine<'b>>>, LocalReply> {
    let Some((line, fields_at)) = status_line(bytes)? else {
        return incomplete(bytes.len(), limits, RESPONSE_HEAD_TOO_LARGE);
    };
    match fields(&bytes[fields_at..], slots, limits).map_err(response_error)? {
        None => incomplete(bytes.len(), limits, RESPONSE_HEAD_TOO_LARGE),
        Some((length, fields)) => Ok(Some(Parsed { line, fields, start: 0, end: fields_at + length })),
    }
}

/// Octets of the empty lines before a request line; `None` while the last of them is incomplete.
fn skip_empty_lines(bytes: &[u8]) -> Result<Option<usize>, LocalReply> {
    let mut start = 0;
    for _ in 0..=EMPTY_LINES_MAX {
        match &bytes[start..] {
            [b'\r', b'\n', ..] => start += 2,
            [b'\r'] => return Ok(None),
            // RFC 9112 section 2.2: a bare LF or CR is no line end.
            [b'\r' | b'\n', ..] => return Err(BARE_LINE_END),
            _ => return Ok(Some(start)),
        }
    }
    // RFC 9112 section 2.2 asks for at least one to be ignored; more than this limit are noise.
    Err(LocalReply::bad_request("too many empty lines before the request"))
}

/// The request line at `start`, and the start of the fields after it (RFC 9112 section 3).
fn request_line<'b>(
    bytes: &'b [u8],
    start: usize,
    limits: &HeadLimits,
) -> Result<Option<(RequestLine<'b>, usize)>, LocalReply> {
    let malformed = LocalReply::bad_request("malformed request line");
    let rest = &bytes[start..];
    if rest.starts_with(&TLS_HANDSHAKE) {
        return Err(TLS_HERE);
    }
    let method_end = rest.iter().position(|b| !is_token(&[*b]));
    let method = &rest[..method_end.unwrap_or(rest.len())];
    if method.len() > METHOD_BYTES_MAX {
        return Err(METHOD_TOO_LONG);
    }
    let Some(method_end) = method_end else { return Ok(None) };
    // RFC 9112 section 3: single spaces between the parts of a request line.
    if method.is_empty() || rest[method_end] != b' ' {
        return Err(malformed);
    }
    let rest = &rest[method_end + 1..];
    let target_end = rest.iter().position(|&b| b <= b' ' || b == 0x7f);
    let target = &rest[..target_end.unwrap_or(rest.len())];
    if target.len() > limits.target_bytes_max {
        return Err(TARGET_TOO_LONG);
    }
    let Some(target_end) = target_end else { return Ok(None) };
    match rest[target_end] {
        b' ' if !target.is_empty() => {}
        // RFC 9112 appendix C.2.1: a request of HTTP/0.9 has no version.
        b'\r' | b'\n' if !target.is_empty() => {
            return Err(LocalReply::bad_request("no version in the request line"));
        }
        _ => return Err(malformed),
    }
    let rest = &rest[target_end + 1..];
    let version = match version(rest) {
        Ok(None) => return Ok(None),
        Ok(Some((1, 0))) => Version::Http10,
        // RFC 9110 section 2.5: a minor version above the highest known one is treated as that one.
        Ok(Some((1, _))) => Version::Http11,
        Ok(Some((0, 9))) => return Err(LocalReply::bad_request("HTTP/0.9 is not served")),
        // RFC 9110 section 15.6.6; the preface of HTTP/2 (RFC 9113 section 3.4) is such a request line.
        Ok(Some(_)) => return Err(LocalReply { status: 505, reason: "HTTP version not supported" }),
        Err(NoVersion) => return Err(malformed),
    };
    match &rest[VERSION_SHAPE.len()..] {
        [] | [b'\r'] => Ok(None),
        [b'\r', b'\n', behind @ ..] => {
            let method = std::str::from_utf8(method).map_err(|_| malformed)?;
            Ok(Some((RequestLine { method, target, version }, bytes.len() - behind.len())))
        }
        // RFC 9112 section 2.2: a bare LF or CR is no line end.
        [b'\r' | b'\n', ..] => Err(BARE_LINE_END),
        _ => Err(malformed),
    }
}

/// The status line at the front, and the start of the fields after it (RFC 9112 section 4).
fn status_line(bytes: &[u8]) -> Result<Option<(StatusLine<'_>, usize)>, LocalReply> {
    let malformed = LocalReply::bad_gateway("malformed status line");
    let version = match version(bytes) {
        Ok(None) => return Ok(None),
        Ok(Some((1, 0))) => Version::Http10,
        Ok(Some((1, _))) => Version::Http11,
        Ok(Some(_)) => return Err(LocalReply::bad_gateway("HTTP version not supported")),
        Err(NoVersion) => return Err(LocalReply::bad_gateway("not HTTP")),
    };
    let rest = &bytes[VERSION_SHAPE.len()..];
    match shaped(rest, b" ddd") {
        Some(true) => {}
        Some(false) => return Ok(None),
        None => return Err(malformed),
    }
    let status = rest[1..4].iter().fold(0, |status, &b| status * 10 + u16::from(b - b'0'));
    let rest = &rest[4..];
    let Some(line_end) = memchr::memchr(b'\n', rest) else { return Ok(None) };
    let reason = match &rest[..line_end] {
        [b'\r'] => &[],
        [b' ', reason @ .., b'\r'] => reason,
        _ => return Err(malformed),
    };
    // RFC 9112 section 4: reason-phrase = 1*( HTAB / SP / VCHAR / obs-text ).
    if reason.iter().any(|&b| b != b'\t' && b.is_ascii_control()) {
        return Err(malformed);
    }
    let fields_at = bytes.len() - rest.len() + line_end + 1;
    Ok(Some((StatusLine { status, reason, version }, fields_at)))
}

/// HTTP-version = HTTP-name "/" DIGIT "." DIGIT; case-sensitive (RFC 9112 section 2.3). `d` is a digit.
const VERSION_SHAPE: &[u8] = b"HTTP/d.d";

/// The octets cannot become a version.
struct NoVersion;

/// Major and minor version at the front; `None` while they are incomplete.
fn version(bytes: &[u8]) -> Result<Option<(u8, u8)>, NoVersion> {
    match (shaped(bytes, VERSION_SHAPE), bytes) {
        (Some(true), [_, _, _, _, _, major, _, minor, ..]) => Ok(Some((major - b'0', minor - b'0'))),
        (Some(_), _) => Ok(None),
        (None, _) => Err(NoVersion),
    }
}

/// Whether the octets begin like the shape, where `d` stands for a digit. `Some(false)`: so far, but they are
/// incomplete.
fn shaped(bytes: &[u8], shape: &[u8]) -> Option<bool> {
    let fits = |(&b, &wanted): (&u8, &u8)| if wanted == b'd' { b.is_ascii_digit() } else { b == wanted };
    bytes.iter().zip(shape).all(fits).then_some(bytes.len() >= shape.len())
}

/// A field section: its length in octets, and the fields.
type Section<'h, 'b> = (usize, &'h [Field<'b>]);

/// Parses the field section at the front of `bytes`, through the empty line that ends it.
fn fields<'h, 'b>(
    bytes: &'b [u8],
    slots: &'h mut FieldSlots<'b>,
    limits: &HeadLimits,
) -> Result<Option<Section<'h, 'b>>, httparse::Error> {
    // httparse parses a field section alone only into slots that hold fields already. To initialise those
    // without unsafe code, it first parses a fixed request with as many fields as there are slots.
    let mut filler = httparse::Request::new(&mut []);
    filler.parse_with_uninit_headers(FILLER, slots)?;
    let slots = field_slots(filler.headers, limits);
    match httparse::parse_headers(bytes, slots)? {
        httparse::Status::Partial => Ok(None),
        httparse::Status::Complete(section) => Ok(Some(section)),
    }
}

const FILLER_LINE: &[u8] = b"F / HTTP/1.1\r\n";
const FILLER_FIELD: &[u8] = b"f:\r\n";
const FILLER_BYTES: usize = FILLER_LINE.len() + FIELDS_CEILING * FILLER_FIELD.len() + 2;

/// A request head with [`FIELDS_CEILING`] fields.
static FILLER: &[u8; FILLER_BYTES] = &filler();

const fn filler() -> [u8; FILLER_BYTES] {
    let mut bytes = [b'\n'; FILLER_BYTES];
    let mut at = 0;
    while at < FILLER_BYTES - 2 {
        bytes[at] = if at < FILLER_LINE.len() {
            FILLER_LINE[at]
        } else {
            FILLER_FIELD[(at - FILLER_LINE.len()) % FILLER_FIELD.len()]
        };
        at += 1;
    }
    bytes[FILLER_BYTES - 2] = b'\r';
    bytes
}
