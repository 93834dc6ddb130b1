//! How far a message body has come, as its source frames it (RFC 9112 section 6.3), and how it goes to the sink.

use crate::http::chunked::Decoder;
use crate::http::framing::Framing;

/// Where a body stands, as its source frames it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Body {
    /// So many octets are still to come, never 0.
    Length(u64),
    Chunked(Decoder),
    /// The last chunk was read, the trailer section comes.
    Trailers,
    UntilClose,
    /// All of it was taken from the source.
    Done,
}

impl Body {
    /// The body of a request with that framing, at its front, and how it goes on.
    #[inline]
    pub(super) fn of_request(framing: Framing) -> (Self, Encoding) {
        Self::framed_by(framing, Decoder::new())
    }

    /// The body of a response with that framing, at its front, and how it goes on.
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

/// How content goes to the sink.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Encoding {
    AsIs,
    Chunked,
    /// It is read and thrown away.
    Discard,
}

/// A body ended before its framing said so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Truncated;
