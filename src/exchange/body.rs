//! The progress of a message body in its source's framing (RFC 9112 section 6.3), and its framing towards the
//! sink.

use crate::http::chunked::Decoder;
use crate::http::framing::Framing;

/// The position in a body, in its source's framing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Body {
    /// Octets still to come, never 0.
    Length(u64),
    Chunked(Decoder),
    /// The last chunk was read; the trailer section follows.
    Trailers,
    UntilClose,
    /// All of it was read from the source.
    Done,
}

impl Body {
    /// The start of a request body with that framing, and its framing towards the sink.
    #[inline]
    pub(super) fn of_request(framing: Framing) -> (Self, Encoding) {
        Self::framed_by(framing, Decoder::new())
    }

    /// The start of a response body with that framing, and its framing towards the sink.
    #[inline]
    pub(super) fn of_response(framing: Framing) -> (Self, Encoding) {
        Self::framed_by(framing, Decoder::of_response())
    }

    #[inline]
    fn framed_by(framing: Framing, decoder: Decoder) -> (Self, Encoding) {
        match framing {
            Framing::None | Framing::Length(0) => (Self::Done, Encoding::AsIs),
            Framing::Length(length) => (Self::Length(length), Encoding::AsIs),
            Framing::Chunked => (Self::Chunked(decoder), Encoding::Chunked),
            Framing::UntilClose => (Self::UntilClose, Encoding::AsIs),
        }
    }
}

/// The framing of content towards the sink.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Encoding {
    AsIs,
    Chunked,
    /// It is read and discarded.
    Discard,
}

/// A body ended before its framing allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Truncated;
