//! An HTTP/1.1 answer as the load reads it: status, framing, and how many octets of content came. It keeps no content and
//! checks no more than that; a head that was seen before is not parsed again, for the load shares its core with the backend.

use memchr::memmem;

/// The longest head that is taken, octets.
const HEAD_BYTES_MAX: usize = 64 * 1024;
/// Field lines taken in one head.
const FIELDS_MAX: usize = 128;

/// Where a reader stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Head,
    Length(u64),
    /// A size line comes; the size as far as it was read, and whether its digits are over.
    Size(u64, bool),
    /// Octets of a chunk that are left, the CRLF behind them included.
    Data(u64),
    /// A line of the trailer section; octets of it so far.
    Trailer(u64),
}

/// What a head says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Said {
    status: u16,
    body: State,
    closes: bool,
}

/// The head that was parsed last: the next is mostly the same, octet by octet.
#[derive(Debug, Default)]
pub struct Seen {
    head: Vec<u8>,
    said: Option<Said>,
}

/// A whole answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// Octets of content.
    pub content_bytes: u64,
    /// It was the last of its connection.
    pub closes: bool,
}

/// What was read is no answer that the load understands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Malformed;

/// The reader of one connection.
#[derive(Debug)]
pub struct Reader {
    state: State,
    /// A head that came in pieces.
    head: Vec<u8>,
    status: u16,
    closes: bool,
    content_bytes: u64,
}

impl Default for Reader {
    fn default() -> Self {
        Self { state: State::Head, head: Vec::new(), status: 0, closes: false, content_bytes: 0 }
    }
}

impl Reader {
    /// Takes octets; says how many were used, and the answer if it is whole. All are used unless an answer ends within.
    ///
    /// # Errors
    /// [`Malformed`].
    pub fn take(&mut self, octets: &[u8], seen: &mut Seen) -> Result<(usize, Option<Answer>), Malformed> {
        let mut used = 0;
        loop {
            let rest = &octets[used..];
            let is_over = match self.state {
                _ if rest.is_empty() => return Ok((used, None)),
                State::Head => {
                    used += self.take_head(rest, seen)?;
                    // A head that announces no octet is the whole answer.
                    self.state == State::Length(0)
                }
                State::Length(left) => {
                    let count = left.min(rest.len() as u64);
                    self.content_bytes += count;
                    used += clamp(count);
                    self.state = State::Length(left - count);
                    left == count
                }
                State::Size(size, is_read) => {
                    used += 1;
                    self.take_size(rest[0], size, is_read)?;
                    false
                }
                State::Data(left) => {
                    let count = left.min(rest.len() as u64);
                    used += clamp(count);
                    self.state =
                        if left == count { State::Size(0, false) } else { State::Data(left - count) };
                    false
                }
                State::Trailer(length) => {
                    used += 1;
                    self.state = match rest[0] {
                        b'\n' => State::Trailer(0),
                        b'\r' => State::Trailer(length),
                        _ => State::Trailer(length + 1),
                    };
                    rest[0] == b'\n' && length == 0
                }
            };
            if is_over {
                let answer =
                    Answer { status: self.status, content_bytes: self.content_bytes, closes: self.closes };
                self.state = State::Head;
                self.content_bytes = 0;
                return Ok((used, Some(answer)));
            }
        }
    }

    /// Octets of content that come next and need no look; the connection may drop so many unseen and say so by
    /// [`Self::skipped`].
    pub fn skippable(&self) -> u64 {
        // The last is left, so that an answer always ends in `take`.
        if let State::Length(left) = self.state { left.saturating_sub(1) } else { 0 }
    }

    /// So many of the skippable octets were dropped.
    pub fn skipped(&mut self, count: u64) {
        if let State::Length(left) = &mut self.state {
            *left = left.saturating_sub(count);
            self.content_bytes += count;
        }
    }

    /// Nothing of an answer was read yet.
    pub fn is_fresh(&self) -> bool {
        self.state == State::Head && self.head.is_empty()
    }

    fn take_head(&mut self, octets: &[u8], seen: &mut Seen) -> Result<usize, Malformed> {
        if self.head.is_empty()
            && let Some(said) = seen.said.filter(|_| octets.starts_with(&seen.head))
        {
            self.begin(said);
            return Ok(seen.head.len());
        }
        let before = self.head.len();
        self.head.extend_from_slice(octets);
        let from = before.saturating_sub(3);
        let Some(end) = memmem::find(&self.head[from..], b"\r\n\r\n").map(|place| from + place + 4) else {
            return if self.head.len() > HEAD_BYTES_MAX { Err(Malformed) } else { Ok(octets.len()) };
        };
        let said = parse(&self.head[..end])?;
        seen.head.clear();
        seen.head.extend_from_slice(&self.head[..end]);
        seen.said = Some(said);
        self.head.clear();
        self.begin(said);
        Ok(end - before)
    }

    fn begin(&mut self, said: Said) {
        self.state = said.body;
        self.status = said.status;
        self.closes = said.closes;
    }

    fn take_size(&mut self, octet: u8, size: u64, is_read: bool) -> Result<(), Malformed> {
        self.state = match (octet, char::from(octet).to_digit(16)) {
            (b'\n', _) if size == 0 => State::Trailer(0),
            (b'\n', _) => {
                self.content_bytes += size;
                State::Data(size.checked_add(2).ok_or(Malformed)?)
            }
            (_, Some(digit)) if !is_read => {
                State::Size(size.checked_mul(16).ok_or(Malformed)? + u64::from(digit), false)
            }
            _ => State::Size(size, true),
        };
        Ok(())
    }
}

fn clamp(count: u64) -> usize {
    // It is never more than the length of a slice.
    usize::try_from(count).unwrap_or(usize::MAX)
}

fn parse(head: &[u8]) -> Result<Said, Malformed> {
    let mut fields = [httparse::EMPTY_HEADER; FIELDS_MAX];
    let mut parsed = httparse::Response::new(&mut fields);
    if !matches!(parsed.parse(head), Ok(httparse::Status::Complete(_))) {
        return Err(Malformed);
    }
    let status = parsed.code.ok_or(Malformed)?;
    // No request of the load calls for an interim answer.
    if status < 200 {
        return Err(Malformed);
    }
    let mut body = matches!(status, 204 | 304).then_some(State::Length(0));
    let mut closes = parsed.version == Some(0);
    for field in parsed.headers.iter() {
        let value = field.value.trim_ascii();
        if field.name.eq_ignore_ascii_case("content-length") {
            let text = std::str::from_utf8(value).map_err(|_| Malformed)?;
            body = Some(State::Length(text.parse().map_err(|_| Malformed)?));
        } else if field.name.eq_ignore_ascii_case("transfer-encoding") {
            body = Some(State::Size(0, false));
        } else if field.name.eq_ignore_ascii_case("connection") {
            closes = value.eq_ignore_ascii_case(b"close");
        }
    }
    Ok(Said { status, body: body.ok_or(Malformed)?, closes })
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";
    const CHUNKED: &[u8] = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\nConnection: close\r\n\r\n\
        a;x=f\r\n0123456789\r\n1\r\n\n\r\n0\r\nX-Trailer: 1\r\n\r\n";
    const EMPTY: &[u8] = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n";

    #[test]
    fn answers_are_the_same_however_they_are_cut() {
        let wire = [PLAIN, CHUNKED, EMPTY, PLAIN].concat();
        let wanted = [(200, 5, false), (200, 11, true), (404, 0, false), (200, 5, false)];
        for piece in 1..wire.len() {
            let (mut reader, mut seen, mut answers) = (Reader::default(), Seen::default(), Vec::new());
            for octets in wire.chunks(piece) {
                let mut at = 0;
                while at < octets.len() {
                    let (used, answer) = reader.take(&octets[at..], &mut seen).unwrap();
                    assert!(used > 0);
                    at += used;
                    answers.extend(answer.map(|said| (said.status, said.content_bytes, said.closes)));
                }
            }
            assert_eq!(answers, wanted, "in pieces of {piece}");
            assert!(reader.is_fresh());
        }
    }

    #[test]
    fn content_that_is_skipped_counts() {
        let (mut reader, mut seen) = (Reader::default(), Seen::default());
        let head = b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n";
        assert_eq!(reader.take(head, &mut seen), Ok((head.len(), None)));
        assert_eq!(reader.skippable(), 999);
        reader.skipped(999);
        assert_eq!(reader.skippable(), 0);
        let (used, answer) = reader.take(b"xHTTP", &mut seen).unwrap();
        assert_eq!((used, answer.map(|said| said.content_bytes)), (1, Some(1000)));
    }

    #[test]
    fn what_is_no_answer_is_found() {
        for bad in [
            "SSH-2.0-x\r\n\r\n",
            "HTTP/1.1 200 OK\r\n\r\n",
            "HTTP/1.1 100 Continue\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",
        ] {
            assert!(Reader::default().take(bad.as_bytes(), &mut Seen::default()).is_err(), "{bad}");
        }
    }
}
