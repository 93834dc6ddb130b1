//! Chunks that arrive framed as Apex would frame them: passed on unchanged, size lines included, as many as
//! were read.
//!
//! Rewritten, they would be the same octets with one write a chunk. Everything else (extensions, leading
//! zeros, upper case, trailers, an incomplete or malformed line) is left to the general path, which judges
//! it.

use super::{Body, Buffers, COPY_MAX, Encoding, FRAMING_ROOM, Flow};
use crate::http::chunked::{self, Decoder, Found};

/// The front of the octets, as far as it is framed as Apex would frame it.
struct Run {
    /// Octets of framing and data.
    length: usize,
    /// Octets of framing within `length`.
    framing: usize,
    /// The position in the body after them.
    body: Body,
    /// The CRLF of the last chunk's data is not included.
    owes_crlf: bool,
}

impl Flow {
    /// Passes on what is framed as Apex would frame it; false if there is nothing.
    pub(super) fn pass_verbatim(&mut self, decoder: Decoder, buffers: &mut Buffers) -> bool {
        if self.encoding != Encoding::Chunked {
            return false;
        }
        let run = whole_chunks(self.incoming.unread(), decoder, self.owes_crlf);
        if run.length == 0 {
            return false;
        }
        self.content_bytes += (run.length - run.framing) as u64;
        self.body = run.body;
        self.owes_crlf = run.owes_crlf;
        if run.length <= COPY_MAX && self.outgoing.room() >= run.length + FRAMING_ROOM {
            self.outgoing.open(buffers).extend_from_slice(&self.incoming.unread()[..run.length]);
            self.copied += run.length - run.framing;
            self.incoming.take(run.length);
            self.incoming.forget();
        } else {
            self.direct = run.length;
            self.direct_framing = run.framing;
        }
        true
    }
}

/// The longest run at the front of `bytes`, of which `decoder` is at the start.
fn whole_chunks(bytes: &[u8], mut decoder: Decoder, mut owes_crlf: bool) -> Run {
    let (mut length, mut framing) = (0, 0);
    loop {
        let rest = &bytes[length..];
        let data_left = decoder.data_left();
        if data_left > 0 {
            let count = usize::try_from(data_left).unwrap_or(usize::MAX).min(rest.len());
            decoder.take_data(count as u64);
            length += count;
            owes_crlf = decoder.data_left() == 0;
            if !owes_crlf {
                break;
            }
            continue;
        }
        let mut ahead = decoder;
        let (used, size) = match ahead.read(rest) {
            Ok((used, Found::Data)) => (used, ahead.data_left()),
            // RFC 9112 section 7.1: the last chunk, then no trailers.
            Ok((used, Found::Trailers)) if rest[used..].starts_with(b"\r\n") => (used, 0),
            _ => break,
        };
        if !chunked::is_as_written(&rest[..used], size, owes_crlf) {
            break;
        }
        owes_crlf = false;
        if size == 0 {
            let used = used + b"\r\n".len();
            return Run { length: length + used, framing: framing + used, body: Body::Done, owes_crlf };
        }
        decoder = ahead;
        length += used;
        framing += used;
    }
    Run { length, framing, body: Body::Chunked(decoder), owes_crlf }
}
