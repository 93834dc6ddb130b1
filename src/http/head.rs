//! Message heads: parsed with httparse on the stack, checked and judged in one pass over the fields (RFC 9112
//! sections 2 to 6).
//!
//! Nothing here allocates, keeps state between calls, or repairs what a peer sent: a head is accepted whole
//! or refused.

mod facts;
mod line;
#[cfg(test)]
mod tests;

use super::authority::{self, Authority};
use super::field::{Field, FieldSlots};
use super::framing::{self, Codings, ContentLength, Framing};
use super::limits::{CONNECTION_NAMES_MAX, EMPTY_LINES_MAX, FIELDS_CEILING, HeadLimits, METHOD_BYTES_MAX};
use super::lines::Lines;
use super::local_reply::LocalReply;
use super::target::{self, Target};
pub use super::version::Version;
use facts::{Expectation, Facts, Once};
use httparse::Status;

/// Whether a connection stays open after a message (RFC 9112 section 9.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Persistence {
    /// The connection persists.
    KeepAlive,
    /// The connection closes after this message.
    Close,
}

/// The classes of methods that Apex distinguishes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// GET
    Get,
    /// HEAD: its response has no content.
    Head,
    /// OPTIONS
    Options,
    /// TRACE
    Trace,
    /// PUT or DELETE: idempotent, not safe (RFC 9110 section 9.2.2).
    PutOrDelete,
    /// POST, PATCH and every other: never repeated.
    Other,
}

impl Method {
    /// The class of a method; methods are case-sensitive (RFC 9110 section 9.1).
    pub fn of(text: &str) -> Self {
        match text {
            "GET" => Self::Get,
            "HEAD" => Self::Head,
            "OPTIONS" => Self::Options,
            "TRACE" => Self::Trace,
            "PUT" | "DELETE" => Self::PutOrDelete,
            _ => Self::Other,
        }
    }

    /// Whether the request may be sent a second time without harm (RFC 9110 section 9.2.2).
    pub const fn is_idempotent(self) -> bool {
        !matches!(self, Self::Other)
    }
}

/// A request head that was parsed and accepted. It borrows the octets that it was parsed from.
#[derive(Debug)]
pub struct Request<'h, 'b> {
    /// The method's class.
    pub method: Method,
    /// The method as received.
    pub method_text: &'b str,
    /// The target, parsed.
    pub target: Target<'b>,
    /// The target as received, for the log.
    pub target_text: &'b [u8],
    /// The version that the client speaks.
    pub version: Version,
    /// The target's authority, else Host; `None` only in an HTTP/1.0 request.
    pub authority: Option<Authority<'b>>,
    /// The framing of its content.
    pub framing: Framing,
    /// Whether the client allows its connection to persist.
    pub persistence: Persistence,
    /// `Expect: 100-continue` of an HTTP/1.1 client.
    pub expects_continue: bool,
    /// The client asks to upgrade (`Connection: upgrade` with an `Upgrade` field that is not `h2c` alone; an
    /// HTTP/1.1 client).
    pub upgrades: bool,
    /// `Max-Forwards` if the method is TRACE or OPTIONS and the field is well formed.
    pub max_forwards: Option<u64>,
    /// All field lines, in order.
    pub fields: &'h [Field<'b>],
    /// Their positions in the head.
    pub(super) lines: Lines<'b>,
    /// Octets of the head in the buffer, including empty lines before it.
    pub head_bytes: usize,
}

impl<'b> Request<'_, 'b> {
    /// The value of the first field of that name (case ignored), for the log.
    pub fn field(&self, name: &str) -> Option<&'b [u8]> {
        self.fields.iter().find(|field| field.name.eq_ignore_ascii_case(name)).map(|field| field.value)
    }
}

/// A response head that was parsed and accepted. It borrows the octets that it was parsed from.
#[derive(Debug)]
pub struct Response<'h, 'b> {
    /// 100 to 999.
    pub status: u16,
    /// The reason phrase as received; may be empty.
    pub reason: &'b [u8],
    /// The version that the backend speaks.
    pub version: Version,
    /// The framing of its content (`None` for HEAD, 1xx, 204, 304).
    pub framing: Framing,
    /// The `Content-Length` of a response without content (HEAD, 304): forwarded unchanged.
    pub length_hint: Option<u64>,
    /// Whether the backend's connection can be reused according to the head (close, HTTP/1.0 without
    /// keep-alive, Transfer-Encoding together with Content-Length).
    pub persistence: Persistence,
    /// All field lines, in order.
    pub fields: &'h [Field<'b>],
    /// Their positions in the head.
    pub(super) lines: Lines<'b>,
    /// Octets of the head in the buffer.
    pub head_bytes: usize,
}

/// Parses the request head at the front of `bytes`; `None` while it is incomplete.
///
/// # Errors
/// The status for the client: 400, 414, 417, 431, 501 or 505. The end of the request is then unknown.
pub fn request<'h, 'b>(
    bytes: &'b [u8],
    slots: &'h mut FieldSlots<'b>,
    limits: &HeadLimits,
) -> Result<Option<Request<'h, 'b>>, LocalReply> {
    let parsed = if request_line_is_plain(bytes) {
        plain_request(bytes, slots, limits)?
    } else {
        line::request(bytes, slots, limits)?
    };
    let Some(parsed) = parsed else { return Ok(None) };
    judge_request(bytes, &parsed, limits)
}

/// Parses the response head at the front of `bytes`, in response to a request of method `asked`; `None` while
/// it is incomplete.
///
/// # Errors
/// A 502: the octets are not HTTP, or the end of the response cannot be known.
pub fn response<'h, 'b>(
    bytes: &'b [u8],
    slots: &'h mut FieldSlots<'b>,
    limits: &HeadLimits,
    asked: Method,
) -> Result<Option<Response<'h, 'b>>, LocalReply> {
    let parsed = if bytes.starts_with(b"HTTP/1.1 ") || bytes.starts_with(b"HTTP/1.0 ") {
        plain_response(bytes, slots, limits)?
    } else {
        line::response(bytes, slots, limits)?
    };
    let Some(parsed) = parsed else { return Ok(None) };
    judge_response(bytes, &parsed, limits, asked)
}

/// Whether the octets begin as a HEAD request, whatever follows. Works for an incomplete or malformed head
/// too.
pub fn begins_as_head(bytes: &[u8]) -> bool {
    let mut line = bytes;
    for _ in 0..EMPTY_LINES_MAX {
        line = line.strip_prefix(b"\r\n").unwrap_or(line);
    }
    line.starts_with(b"HEAD ")
}

/// A head as parsed and not yet judged.
struct Parsed<'h, 'b, Line> {
    line: Line,
    fields: &'h [Field<'b>],
    /// Octets of the empty lines before the head.
    start: usize,
    /// The end of the head in the buffer.
    end: usize,
}

struct RequestLine<'b> {
    method: &'b str,
    target: &'b [u8],
    version: Version,
}

struct StatusLine<'b> {
    status: u16,
    reason: &'b [u8],
    version: Version,
}

const METHOD_TOO_LONG: LocalReply = LocalReply::bad_request("method too long");
// RFC 9110 section 15.5.15.
const TARGET_TOO_LONG: LocalReply = LocalReply { status: 414, reason: "request target too long" };
const BARE_LF: &str = "line does not end in CRLF";
// RFC 9110 section 7.6.1: each option may name a field that ends here, so none may be overlooked.
const TOO_MANY_OPTIONS: &str = "too many connection options";

// RFC 6585 section 5.
const HEAD_TOO_LARGE: LocalReply = LocalReply { status: 431, reason: "request head too large" };
const RESPONSE_HEAD_TOO_LARGE: LocalReply = LocalReply::bad_gateway("response head too large");

/// The result for a head without an end within `length` octets: wait, or refuse.
fn incomplete<T>(length: usize, limits: &HeadLimits, too_large: LocalReply) -> Result<Option<T>, LocalReply> {
    // At the limit, the next octet would put the head over it.
    if length < limits.head_bytes_max { Ok(None) } else { Err(too_large) }
}

/// Limits the slots to the number of fields that a head may have.
fn field_slots<'s, Slot>(slots: &'s mut [Slot], limits: &HeadLimits) -> &'s mut [Slot] {
    let count = limits.fields_max.min(FIELDS_CEILING).min(slots.len());
    &mut slots[..count]
}

/// The line is complete, pure ASCII, ends in CRLF and has version 1.0 or 1.1: httparse accepts it, or it is
/// certainly malformed.
fn request_line_is_plain(bytes: &[u8]) -> bool {
    let Some(line) = memchr::memchr(b'\n', bytes).map(|end| &bytes[..end]) else { return false };
    (line.ends_with(b" HTTP/1.1\r") || line.ends_with(b" HTTP/1.0\r")) && line.is_ascii()
}

/// The status line certainly has version 1.0 or 1.1: httparse parses the whole head.
fn plain_response<'h, 'b>(
    bytes: &'b [u8],
    slots: &'h mut FieldSlots<'b>,
    limits: &HeadLimits,
) -> Result<Option<Parsed<'h, 'b, StatusLine<'b>>>, LocalReply> {
    let mut parsed = httparse::Response::new(&mut []);
    let read = httparse::ParserConfig::default()
        .parse_response_with_uninit_headers(&mut parsed, bytes, field_slots(slots, limits))
        .map_err(response_error)?;
    let (Status::Complete(end), Some(version), Some(status)) = (read, parsed.version, parsed.code) else {
        return incomplete(bytes.len(), limits, RESPONSE_HEAD_TOO_LARGE);
    };
    let reason = match parsed.reason {
        // httparse hides a reason phrase with obs-text; it follows the status code and one space.
        None | Some("") => obs_reason(bytes),
        Some(reason) => reason.as_bytes(),
    };
    let line = StatusLine { status, reason, version: version_of(version) };
    Ok(Some(Parsed { line, fields: parsed.headers, start: 0, end }))
}

fn plain_request<'h, 'b>(
    bytes: &'b [u8],
    slots: &'h mut FieldSlots<'b>,
    limits: &HeadLimits,
) -> Result<Option<Parsed<'h, 'b, RequestLine<'b>>>, LocalReply> {
    let mut parsed = httparse::Request::new(&mut []);
    let read = parsed.parse_with_uninit_headers(bytes, field_slots(slots, limits)).map_err(request_error)?;
    if parsed.method.unwrap_or_default().len() > METHOD_BYTES_MAX {
        return Err(METHOD_TOO_LONG);
    }
    let target = parsed.path.unwrap_or_default().as_bytes();
    if target.len() > limits.target_bytes_max {
        return Err(TARGET_TOO_LONG);
    }
    let (Status::Complete(end), Some(method), Some(version)) = (read, parsed.method, parsed.version) else {
        return incomplete(bytes.len(), limits, HEAD_TOO_LARGE);
    };
    let line = RequestLine { method, target, version: version_of(version) };
    Ok(Some(Parsed { line, fields: parsed.headers, start: 0, end }))
}

/// The reason phrase, empty or not, after `HTTP/1.1 200 `, up to its CR.
fn obs_reason(bytes: &[u8]) -> &[u8] {
    let behind = bytes.get(12..).and_then(|behind| behind.strip_prefix(b" ")).unwrap_or_default();
    &behind[..memchr::memchr(b'\r', behind).unwrap_or(0)]
}

/// The version for the minor number that httparse found.
const fn version_of(minor: u8) -> Version {
    if minor == 0 { Version::Http10 } else { Version::Http11 }
}

/// Judges a request head of valid syntax: it is complete, so there is always a result. The result is large,
/// and is built in the form that the caller gets, so that it is never moved.
fn judge_request<'h, 'b>(
    bytes: &'b [u8],
    parsed: &Parsed<'h, 'b, RequestLine<'b>>,
    limits: &HeadLimits,
) -> Result<Option<Request<'h, 'b>>, LocalReply> {
    let &Parsed { line: RequestLine { method, target: target_text, version }, fields, start, end } = parsed;
    let head = &bytes[start..end];
    if head.len() > limits.head_bytes_max {
        return Err(HEAD_TOO_LARGE);
    }
    let mut facts = Facts::default();
    let mut lines = Lines::of(head);
    facts.collect(&mut lines, fields).ok_or(LocalReply::bad_request(BARE_LF))?;
    if facts.options.count > CONNECTION_NAMES_MAX {
        return Err(LocalReply::bad_request(TOO_MANY_OPTIONS));
    }
    let target = target::judge(method, target_text)?;
    let host = judge_host(version, facts.host)?;
    let framing = framing::of_request(version, facts.codings, facts.length)?;
    let class = Method::of(method);
    let is_11 = version == Version::Http11;
    // RFC 9110 section 10.1.1: the Expect of an HTTP/1.0 client is ignored; an expectation that cannot be met
    // is a 417.
    if is_11 && facts.expectation == Expectation::Unknown {
        return Err(LocalReply { status: 417, reason: "unknown expectation" });
    }
    Ok(Some(Request {
        method: class,
        method_text: method,
        target,
        target_text,
        version,
        // RFC 9112 section 3.2.2: the authority of an absolute-form replaces Host.
        authority: target.authority.or(host),
        framing,
        persistence: facts.options.persistence(version),
        expects_continue: is_11 && facts.expectation == Expectation::Continue,
        // RFC 9110 section 7.8: Upgrade counts only if Connection names it, and never from an HTTP/1.0
        // client.
        upgrades: is_11 && facts.options.upgrade && facts.upgrade_named,
        max_forwards: judge_max_forwards(class, facts.max_forwards),
        fields,
        lines,
        head_bytes: end,
    }))
}

/// RFC 9112 section 3.2: an HTTP/1.1 request has exactly one Host; no request has two, or a malformed one.
fn judge_host(version: Version, host: Once<'_>) -> Result<Option<Authority<'_>>, LocalReply> {
    match host {
        Once::One(text) => authority::parse(text).map(Some).ok_or(LocalReply::bad_request("malformed Host")),
        Once::Absent if version == Version::Http10 => Ok(None),
        Once::Absent => Err(LocalReply::bad_request("no Host field")),
        Once::Repeated => Err(LocalReply::bad_request("two Host fields")),
    }
}

/// RFC 9110 section 7.6.2: Max-Forwards counts for TRACE and OPTIONS; elsewhere, or malformed, it may be
/// ignored.
fn judge_max_forwards(method: Method, field: Once<'_>) -> Option<u64> {
    let (Method::Trace | Method::Options, Once::One(digits)) = (method, field) else { return None };
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    // RFC 9110 section 7.6.2: a number above the largest supported one is taken as that one.
    Some(framing::decimal(digits).unwrap_or(u64::MAX))
}

/// Judges a response head of valid syntax; as for a request, there is always a result.
fn judge_response<'h, 'b>(
    bytes: &'b [u8],
    parsed: &Parsed<'h, 'b, StatusLine<'b>>,
    limits: &HeadLimits,
    asked: Method,
) -> Result<Option<Response<'h, 'b>>, LocalReply> {
    let &Parsed { line: StatusLine { status, reason, version }, fields, start, end } = parsed;
    let head = &bytes[start..end];
    if head.len() > limits.head_bytes_max {
        return Err(RESPONSE_HEAD_TOO_LARGE);
    }
    let mut facts = Facts::default();
    let mut lines = Lines::of(head);
    facts.collect(&mut lines, fields).ok_or(LocalReply::bad_gateway(BARE_LF))?;
    if facts.options.count > CONNECTION_NAMES_MAX {
        return Err(LocalReply::bad_gateway(TOO_MANY_OPTIONS));
    }
    // RFC 9110 section 15: a status code is 100 to 599; a greater one is of an unknown class, and passes.
    if status < 100 {
        return Err(LocalReply::bad_gateway("malformed status code"));
    }
    // RFC 9112 section 6.3, rule 1: no content, whatever the fields are.
    let is_empty = asked == Method::Head || matches!(status, 100..=199 | 204 | 304);
    let framing =
        if is_empty { Framing::None } else { framing::of_response(version, facts.codings, facts.length)? };
    // RFC 9110 section 8.6: in a response to HEAD and in a 304 it is the length of content that was not sent;
    // in 1xx and 204 the field is not allowed. RFC 9112 section 6.3, rule 3: together with Transfer-Encoding
    // it is dropped.
    let hinted = is_empty && !matches!(status, 100..=199 | 204) && facts.codings == Codings::Absent;
    // RFC 9112 section 6.1: after Transfer-Encoding together with Content-Length, or in an HTTP/1.0 message,
    // the connection closes.
    let suspicious = facts.codings != Codings::Absent
        && (facts.length != ContentLength::Absent || version == Version::Http10);
    let persistence = if suspicious || framing == Framing::UntilClose {
        Persistence::Close
    } else {
        facts.options.persistence(version)
    };
    Ok(Some(Response {
        status,
        reason,
        version,
        framing,
        length_hint: facts.length.agreed().filter(|_| hinted),
        persistence,
        fields,
        lines,
        head_bytes: end,
    }))
}

/// The answer to a request head that httparse refuses.
#[cold]
const fn request_error(error: httparse::Error) -> LocalReply {
    use httparse::Error;
    match error {
        // RFC 9112 sections 5.1 and 5.2: this includes white space before the colon, white space before a
        // field line, which folds the line before it (obs-fold), and an empty name.
        Error::HeaderName => LocalReply::bad_request("malformed field name"),
        // RFC 9110 section 5.5: CR, LF, NUL and other control bytes in a value.
        Error::HeaderValue => LocalReply::bad_request("malformed field value"),
        Error::NewLine => LocalReply::bad_request(BARE_LF),
        // RFC 6585 section 5.
        Error::TooManyHeaders => LocalReply { status: 431, reason: "too many fields" },
        Error::Status | Error::Token | Error::Version => LocalReply::bad_request("malformed request line"),
    }
}

/// The reason of the 502 for a response head that httparse refuses.
#[cold]
const fn response_error(error: httparse::Error) -> LocalReply {
    use httparse::Error;
    match error {
        Error::HeaderName => LocalReply::bad_gateway("malformed field name"),
        Error::HeaderValue => LocalReply::bad_gateway("malformed field value"),
        Error::NewLine => LocalReply::bad_gateway(BARE_LF),
        Error::TooManyHeaders => LocalReply::bad_gateway("too many fields in the response"),
        Error::Status | Error::Token | Error::Version => LocalReply::bad_gateway("malformed status line"),
    }
}
