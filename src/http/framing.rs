//! The end of a message: the rules of RFC 9112 section 6.3, decided once for each head.
//!
//! The one pass over a head folds the field values into [`Codings`] and [`ContentLength`]; the verdict
//! depends on those two alone. Nothing here reads content.

use super::field::{elements, is_token};
use super::local_reply::LocalReply;
use super::version::Version;

/// The framing of a message's content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// No content, and no framing field is written.
    None,
    /// `Content-Length`: the number of octets (fits 63 bits).
    Length(u64),
    /// `Transfer-Encoding: chunked`.
    Chunked,
    /// The content of a response ends when its connection closes.
    UntilClose,
}

/// The largest `Content-Length`: it fits 63 bits, so that sums with it and signed counters of other programs
/// can hold it.
const LENGTH_MAX: u64 = u64::MAX >> 1;

/// All `Transfer-Encoding` values of a head, as one list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Codings {
    /// No such field.
    #[default]
    Absent,
    /// Exactly one `chunked`.
    Chunked,
    /// Other codings and no `chunked` (so far).
    Foreign,
    /// Other codings, then `chunked` as the last.
    ForeignThenChunked,
    /// `chunked` twice, not last, with parameters, or an element that is no coding.
    Broken,
}

impl Codings {
    /// Adds the codings of one more field line.
    #[must_use]
    pub fn and(self, value: &[u8]) -> Self {
        // An empty list element could hide a coding from a laxer parser; here it is malformed (and so is an
        // empty value).
        elements(value).fold(self, |before, element| match (before, Coding::of(element)) {
            (Self::Absent, Coding::Chunked) => Self::Chunked,
            (Self::Absent | Self::Foreign, Coding::Foreign) => Self::Foreign,
            (Self::Foreign, Coding::Chunked) => Self::ForeignThenChunked,
            _ => Self::Broken,
        })
    }
}

/// One element of `Transfer-Encoding`.
enum Coding {
    Chunked,
    Foreign,
    Malformed,
}

impl Coding {
    fn of(element: &[u8]) -> Self {
        if element.eq_ignore_ascii_case(b"chunked") {
            return Self::Chunked;
        }
        // RFC 9112 section 7: transfer-coding = token *( OWS ";" OWS transfer-parameter ). A quoted parameter
        // value may contain a comma, so it is not accepted: both results are refusals, only the status
        // differs.
        let (name, parameters) =
            element.split_at(element.iter().position(|&b| b == b';').unwrap_or(element.len()));
        let name = name.trim_ascii_end();
        let parameters_plain =
            parameters.iter().all(|&b| matches!(b, b';' | b'=' | b' ' | b'\t') || is_token(&[b]));
        if is_token(name) && !name.eq_ignore_ascii_case(b"chunked") && parameters_plain {
            Self::Foreign
        } else {
            Self::Malformed
        }
    }
}

/// All `Content-Length` values of a head.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ContentLength {
    /// No such field.
    #[default]
    Absent,
    /// One field with one value.
    One(u64),
    /// The same value more than once, in a list or in several fields.
    Repeated(u64),
    /// Malformed, too large, or different values.
    Broken,
}

impl ContentLength {
    /// Adds the value of one more field line.
    #[must_use]
    pub fn and(self, value: &[u8]) -> Self {
        elements(value).fold(self, |before, element| match (before, length(element)) {
            (Self::Absent, Some(new)) => Self::One(new),
            (Self::One(old) | Self::Repeated(old), Some(new)) if old == new => Self::Repeated(old),
            _ => Self::Broken,
        })
    }

    /// The length, if all values agree.
    pub const fn agreed(self) -> Option<u64> {
        match self {
            Self::One(length) | Self::Repeated(length) => Some(length),
            Self::Absent | Self::Broken => None,
        }
    }
}

/// `1*DIGIT` that fits 63 bits (RFC 9110 section 8.6).
fn length(digits: &[u8]) -> Option<u64> {
    decimal(digits).filter(|&length| length <= LENGTH_MAX)
}

/// `1*DIGIT` that fits a `u64`: no sign, no white space, nothing else.
pub(super) fn decimal(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0_u64, |value, &b| {
        let digit = b.is_ascii_digit().then(|| u64::from(b - b'0'))?;
        value.checked_mul(10)?.checked_add(digit)
    })
}

/// The framing of a request's content.
///
/// # Errors
/// 400 if two parsers could find different ends, 501 for a transfer coding that Apex does not know.
pub fn of_request(version: Version, codings: Codings, length: ContentLength) -> Result<Framing, LocalReply> {
    match (codings, length) {
        // RFC 9112 section 6.3, rule 7: neither field, no content.
        (Codings::Absent, ContentLength::Absent) => Ok(Framing::None),
        // RFC 9112 section 6.3, rule 6: a valid Content-Length is the length.
        (Codings::Absent, ContentLength::One(length)) => Ok(Framing::Length(length)),
        // RFC 9112 section 6.3, rule 5 allows equal values to be folded; Apex refuses them in a request.
        (Codings::Absent, ContentLength::Repeated(_)) => {
            Err(LocalReply::bad_request("repeated Content-Length"))
        }
        (Codings::Absent, ContentLength::Broken) => Err(LocalReply::bad_request("malformed Content-Length")),
        // RFC 9112 section 6.1: Transfer-Encoding in an HTTP/1.0 message means that the framing is faulty.
        (_, _) if version == Version::Http10 => Err(LocalReply::bad_request("Transfer-Encoding in HTTP/1.0")),
        // RFC 9112 section 6.3, rule 3: both fields together may be an attempt at request smuggling.
        (_, ContentLength::One(_) | ContentLength::Repeated(_) | ContentLength::Broken) => {
            Err(LocalReply::bad_request("Transfer-Encoding with Content-Length"))
        }
        // RFC 9112 section 6.3, rule 4: chunked as the last coding delimits the content.
        (Codings::Chunked, ContentLength::Absent) => Ok(Framing::Chunked),
        // RFC 9112 section 6.1: a coding that is not understood is answered with 501.
        (Codings::ForeignThenChunked, ContentLength::Absent) => {
            Err(LocalReply { status: 501, reason: "unknown transfer coding" })
        }
        // RFC 9112 section 6.3, rule 4: the length of a request whose last coding is not chunked cannot be
        // known.
        (Codings::Foreign | Codings::Broken, ContentLength::Absent) => {
            Err(LocalReply::bad_request("Transfer-Encoding is not chunked"))
        }
    }
}

/// The framing of a response that may have content (not the response to HEAD, nor 1xx, 204, 304).
///
/// # Errors
/// 502 if the end cannot be known.
pub fn of_response(version: Version, codings: Codings, length: ContentLength) -> Result<Framing, LocalReply> {
    match (codings, length) {
        // RFC 9112 section 6.3, rule 8: neither field, the content ends with the connection.
        (Codings::Absent, ContentLength::Absent) => Ok(Framing::UntilClose),
        // RFC 9112 section 6.3, rule 5: a list of one repeated value counts as that value.
        (Codings::Absent, ContentLength::One(length) | ContentLength::Repeated(length)) => {
            Ok(Framing::Length(length))
        }
        (Codings::Absent, ContentLength::Broken) => Err(LocalReply::bad_gateway("malformed Content-Length")),
        // RFC 9112 section 6.1: Transfer-Encoding in an HTTP/1.0 message means that the framing is faulty.
        (_, _) if version == Version::Http10 => Err(LocalReply::bad_gateway("Transfer-Encoding in HTTP/1.0")),
        // RFC 9112 section 6.3, rule 3: Transfer-Encoding overrides any Content-Length.
        (Codings::Chunked, _) => Ok(Framing::Chunked),
        // RFC 9112 section 6.3, rule 4 would read until the connection closes, in a coding that the client
        // did not ask for (Apex forwards no TE but trailers) and that could not be passed on.
        (Codings::Foreign | Codings::ForeignThenChunked | Codings::Broken, _) => {
            Err(LocalReply::bad_gateway("transfer coding other than chunked"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn transfer_codings_are_read_as_one_list() {
        let cases: &[(&[&str], Codings)] = &[
            (&[], Codings::Absent),
            (&["chunked"], Codings::Chunked),
            (&["CHUNKED"], Codings::Chunked),
            (&[" \tChunked\t "], Codings::Chunked),
            (&["gzip"], Codings::Foreign),
            (&["xchunked"], Codings::Foreign),
            (&["identity"], Codings::Foreign),
            (&["gzip, chunked"], Codings::ForeignThenChunked),
            (&["gzip", "chunked"], Codings::ForeignThenChunked),
            (&["gzip;q=1 ; a=b,\tdeflate, chunked"], Codings::ForeignThenChunked),
            (&["chunked, gzip"], Codings::Broken),
            (&["chunked", "gzip"], Codings::Broken),
            (&["chunked, chunked"], Codings::Broken),
            (&["chunked", "chunked"], Codings::Broken),
            (&["gzip, chunked, chunked"], Codings::Broken),
            (&["chunked;q=1"], Codings::Broken),
            (&["chunked ;q=1"], Codings::Broken),
            (&[""], Codings::Broken),
            (&[",chunked"], Codings::Broken),
            (&["chunked,"], Codings::Broken),
            (&["\"chunked\""], Codings::Broken),
            (&["chun ked"], Codings::Broken),
            (&["gz\u{b}ip, chunked"], Codings::Broken),
            (&["chunked\u{b}"], Codings::Broken),
            (&["g;a=\"x,y\", chunked"], Codings::Broken),
        ];
        for (values, expected) in cases {
            let read = values.iter().fold(Codings::Absent, |codings, value| codings.and(value.as_bytes()));
            assert_eq!(read, *expected, "{values:?}");
        }
    }

    #[test]
    fn content_lengths_are_digits_alone() {
        let cases: &[(&[&str], ContentLength)] = &[
            (&[], ContentLength::Absent),
            (&["0"], ContentLength::One(0)),
            (&["5"], ContentLength::One(5)),
            (&["005"], ContentLength::One(5)),
            (&["9223372036854775807"], ContentLength::One(LENGTH_MAX)),
            (&["9223372036854775808"], ContentLength::Broken),
            (&["18446744073709551616"], ContentLength::Broken),
            (&["99999999999999999999999"], ContentLength::Broken),
            (&["5", "5"], ContentLength::Repeated(5)),
            (&["5, 5"], ContentLength::Repeated(5)),
            (&["5,5", "5"], ContentLength::Repeated(5)),
            (&["5", "6"], ContentLength::Broken),
            (&["5, 6"], ContentLength::Broken),
            (&["5,"], ContentLength::Broken),
            (&[",5"], ContentLength::Broken),
            (&["5", ""], ContentLength::Broken),
            (&[""], ContentLength::Broken),
            (&["+5"], ContentLength::Broken),
            (&["-5"], ContentLength::Broken),
            (&["0x5"], ContentLength::Broken),
            (&["5a"], ContentLength::Broken),
            (&["5 5"], ContentLength::Broken),
            (&["5.0"], ContentLength::Broken),
            (&["1e3"], ContentLength::Broken),
            (&["\u{665}"], ContentLength::Broken),
        ];
        for (values, expected) in cases {
            let read =
                values.iter().fold(ContentLength::Absent, |length, value| length.and(value.as_bytes()));
            assert_eq!(read, *expected, "{values:?}");
        }
    }
}
