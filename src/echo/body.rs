//! Reads the content of a request: with `Content-Length` or chunked. It stores no octets.

/// Maximum length of a chunk's size line and of a trailer line, in octets.
const LINE_BYTES_MAX: usize = 4096;

/// Position of the reader in a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Body {
    /// At the end, or there is no body.
    Done,
    /// `Content-Length`: octets left.
    Length(u64),
    /// Chunked: before a size line.
    Size,
    /// Chunked: octets of data left in this chunk.
    Data(u64),
    /// Chunked: before the CRLF after the data.
    DataEnd,
    /// Chunked: in the trailer section.
    Trailers,
}

/// The body violates its coding and cannot be resynchronised.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Malformed;

impl Body {
    /// A body of `octets` octets.
    pub(super) fn of_length(octets: u64) -> Self {
        if octets == 0 { Self::Done } else { Self::Length(octets) }
    }

    /// Takes one piece from the front of `bytes`: returns how many octets were consumed, and which of them
    /// are data (at most `data_max`, always the last ones consumed). If no octet was consumed, more input is
    /// needed.
    pub(super) fn take<'b>(
        &mut self,
        bytes: &'b [u8],
        data_max: usize,
    ) -> Result<(usize, &'b [u8]), Malformed> {
        match *self {
            Self::Done => Ok((0, &[])),
            Self::Length(left) => {
                let data = front(bytes, left, data_max);
                *self = Self::of_length(left - data.len() as u64);
                Ok((data.len(), data))
            }
            Self::Data(left) => {
                let data = front(bytes, left, data_max);
                let left = left - data.len() as u64;
                *self = if left == 0 { Self::DataEnd } else { Self::Data(left) };
                Ok((data.len(), data))
            }
            Self::DataEnd => match bytes {
                [b'\r', b'\n', ..] => {
                    *self = Self::Size;
                    Ok((2, &[]))
                }
                [] | [b'\r'] => Ok((0, &[])),
                _ => Err(Malformed),
            },
            Self::Size => match httparse::parse_chunk_size(bytes) {
                Ok(httparse::Status::Complete((used, size))) => {
                    *self = if size == 0 { Self::Trailers } else { Self::Data(size) };
                    Ok((used, &[]))
                }
                Ok(httparse::Status::Partial) if bytes.len() <= LINE_BYTES_MAX => Ok((0, &[])),
                _ => Err(Malformed),
            },
            Self::Trailers => match memchr::memchr(b'\n', bytes) {
                Some(end) => {
                    // An empty line ends the section; all other lines are skipped.
                    if bytes[..end].trim_ascii().is_empty() {
                        *self = Self::Done;
                    }
                    Ok((end + 1, &[]))
                }
                None if bytes.len() <= LINE_BYTES_MAX => Ok((0, &[])),
                None => Err(Malformed),
            },
        }
    }
}

/// The front of `bytes`, within both bounds.
fn front(bytes: &[u8], left: u64, data_max: usize) -> &[u8] {
    let left = usize::try_from(left).unwrap_or(usize::MAX);
    &bytes[..bytes.len().min(left).min(data_max)]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads `wire` in pieces of `step` octets; returns the data, and the octets left after the body.
    fn read(mut body: Body, wire: &[u8], step: usize) -> Result<(Vec<u8>, usize), Malformed> {
        let (mut data, mut start, mut end) = (Vec::new(), 0, 0);
        loop {
            let (used, piece) = body.take(&wire[start..end], 3)?;
            data.extend_from_slice(piece);
            start += used;
            match body {
                Body::Done => return Ok((data, wire.len() - start)),
                _ if used > 0 => {}
                _ => {
                    assert!(end < wire.len(), "the body never ended");
                    end = wire.len().min(end + step);
                }
            }
        }
    }

    /// Name, reader, wire, data, octets left after the body.
    type Case = (&'static str, Body, &'static [u8], &'static [u8], usize);

    #[test]
    fn bodies_end_where_they_should() {
        let cases: [Case; 4] = [
            ("none", Body::of_length(0), b"next", b"", 4),
            ("length", Body::of_length(5), b"hellonext", b"hello", 4),
            ("chunked", Body::Size, b"5\r\nhello\r\n1;a=b\r\n!\r\n0\r\n\r\nnext", b"hello!", 4),
            ("trailers", Body::Size, b"2\r\nhi\r\n0\r\nA: b\r\nC: d\r\n\r\n", b"hi", 0),
        ];
        for (name, body, wire, data, left) in cases {
            for step in 1..=wire.len() {
                assert_eq!(read(body, wire, step), Ok((data.to_vec(), left)), "{name} by {step}");
            }
        }
    }

    #[test]
    fn broken_chunks_are_refused() {
        for wire in [&b"x\r\n"[..], b"5\r\nhelloXX", b"11111111111111111\r\n"] {
            assert_eq!(read(Body::Size, wire, 64), Err(Malformed), "{:?}", wire.escape_ascii().to_string());
        }
    }
}
