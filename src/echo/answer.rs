//! The origin's answers: heads are written at once, content is generated piece by piece as there is room.
//! Uses no socket.

use super::request::{Ask, Request};
use std::time::{Duration, Instant};

/// Period of the octet pattern of `/bytes`, `/chunked` and `/close`. A prime, so that a piece that is lost,
/// duplicated or shifted by a buffer's size is detected.
const PATTERN_PERIOD: usize = 251;

/// Many periods of the pattern, so that it is copied in long runs.
static PATTERN: [u8; PATTERN_PERIOD * 256] = {
    let mut pattern = [0; PATTERN_PERIOD * 256];
    let (mut at, mut octet) = (0, 0);
    while at < pattern.len() {
        pattern[at] = octet;
        octet = if octet == 250 { 0 } else { octet + 1 };
        at += 1;
    }
    pattern
};

/// Room reserved for a chunk's size line (16 digits) and the two CRLF around its data.
const CHUNK_FRAME_BYTES: usize = 20;

/// Format of an answer to this client.
#[derive(Debug, Clone, Copy)]
pub(super) struct Style {
    /// The client speaks HTTP/1.0: no chunked coding, and keep-alive is stated explicitly.
    pub(super) is_old: bool,
    /// The connection closes after this answer.
    pub(super) close: bool,
}

/// Framing of an answer's content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Framing {
    /// No framing field.
    None,
    /// `Content-Length`
    Length(u64),
    /// `Transfer-Encoding: chunked`
    Chunked,
}

/// The rest of an answer's content, generated when there is room.
#[derive(Debug, Clone, Copy)]
pub(super) enum Content {
    /// No content is left.
    Done,
    /// The pattern from `position`, without a coding.
    Run { position: u64, left: u64 },
    /// The pattern from `position`, in chunks; `open` octets of the current chunk are left.
    Chunks { position: u64, left: u64, chunk: u64, open: u64 },
    /// Events; the next one is due at `due` (`None`: at once).
    Events { number: u64, count: u64, every: Duration, due: Option<Instant>, chunked: bool },
}

/// The reason why generation stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Made {
    /// All content is generated.
    All,
    /// No room is left.
    Full,
    /// The next piece is due at this time.
    Until(Instant),
}

/// Writes the head of an answer (and its content, if that is short) and returns the rest.
pub(super) fn begin(
    out: &mut Vec<u8>,
    request: &Request<'_>,
    head: &[u8],
    port: u16,
    style: Style,
) -> Content {
    let content = match request.ask {
        Ask::Line | Ask::Delay(_) => {
            line(out, request, port, style);
            return Content::Done;
        }
        Ask::Bytes(octets) => {
            start(out, 200, "application/octet-stream", Framing::Length(octets), style);
            Content::Run { position: 0, left: octets }
        }
        Ask::UntilClose(octets) => {
            start(out, 200, "application/octet-stream", Framing::None, style);
            Content::Run { position: 0, left: octets }
        }
        Ask::Chunked { octets, chunk } => {
            start(out, 200, "application/octet-stream", chunked_for(style), style);
            if style.is_old {
                Content::Run { position: 0, left: octets }
            } else {
                Content::Chunks { position: 0, left: octets, chunk, open: 0 }
            }
        }
        Ask::Events { count, every } => {
            start(out, 200, "text/event-stream", chunked_for(style), style);
            Content::Events { number: 0, count, every, due: None, chunked: !style.is_old }
        }
        Ask::Trailers => {
            trailers(out, request.method, style);
            Content::Done
        }
        Ask::Status(status @ (204 | 304)) | Ask::Early(status @ (204 | 304)) => {
            start(out, status, "", Framing::None, style);
            Content::Done
        }
        Ask::Status(status) => text(out, request.method, status, b"status\n", style),
        Ask::Early(status) => text(out, request.method, status, b"early\n", style),
        Ask::Headers => text(out, request.method, 200, head, style),
        Ask::Nonsense => text(out, request.method, 400, b"a number in the target makes no sense\n", style),
        // These two are answered where their body is read.
        Ask::Echo | Ask::Upload => Content::Done,
    };
    if request.method == "HEAD" { Content::Done } else { content }
}

/// Writes a complete plain-text answer.
pub(super) fn text(out: &mut Vec<u8>, method: &str, status: u16, content: &[u8], style: Style) -> Content {
    start(out, status, "text/plain", Framing::Length(content.len() as u64), style);
    if method != "HEAD" {
        out.extend_from_slice(content);
    }
    Content::Done
}

/// Writes a head.
pub(super) fn start(out: &mut Vec<u8>, status: u16, content_type: &str, framing: Framing, style: Style) {
    if status == 200 {
        out.extend_from_slice(b"HTTP/1.1 200 OK\r\n");
    } else {
        out.extend_from_slice(b"HTTP/1.1 ");
        decimal(out, status);
        out.extend_from_slice(b" ");
        out.extend_from_slice(reason(status).as_bytes());
        out.extend_from_slice(b"\r\n");
    }
    if !content_type.is_empty() {
        out.extend_from_slice(b"Content-Type: ");
        out.extend_from_slice(content_type.as_bytes());
        out.extend_from_slice(b"\r\n");
    }
    match framing {
        Framing::None => {}
        Framing::Length(octets) => {
            out.extend_from_slice(b"Content-Length: ");
            decimal(out, octets);
            out.extend_from_slice(b"\r\n");
        }
        Framing::Chunked => out.extend_from_slice(b"Transfer-Encoding: chunked\r\n"),
    }
    if style.close {
        out.extend_from_slice(b"Connection: close\r\n");
    } else if style.is_old {
        out.extend_from_slice(b"Connection: keep-alive\r\n");
    }
    out.extend_from_slice(b"\r\n");
}

/// Writes one chunk; `data` is not empty.
pub(super) fn chunk(out: &mut Vec<u8>, data: &[u8]) {
    size_line(out, data.len() as u64);
    out.extend_from_slice(data);
    out.extend_from_slice(b"\r\n");
}

/// Data octets of one chunk that fit into `room` octets.
pub(super) fn chunk_room(room: usize) -> usize {
    room.saturating_sub(CHUNK_FRAME_BYTES)
}

/// Chunked, except for HTTP/1.0 clients.
pub(super) fn chunked_for(style: Style) -> Framing {
    if style.is_old { Framing::None } else { Framing::Chunked }
}

impl Content {
    /// Generates content until `out` holds `full` octets.
    pub(super) fn make(&mut self, out: &mut Vec<u8>, full: usize, now: Instant) -> Made {
        loop {
            let room = full.saturating_sub(out.len());
            match *self {
                Self::Done => return Made::All,
                _ if room <= CHUNK_FRAME_BYTES => return Made::Full,
                Self::Run { position, left } => {
                    let run = pattern(position, left.min(room as u64));
                    out.extend_from_slice(run);
                    let octets = run.len() as u64;
                    *self = if octets == left {
                        Self::Done
                    } else {
                        Self::Run { position: position + octets, left: left - octets }
                    };
                }
                Self::Chunks { position, left, chunk, open: 0 } => {
                    let open = chunk.min(left);
                    if open == 0 {
                        out.extend_from_slice(b"0\r\n\r\n");
                        *self = Self::Done;
                    } else {
                        size_line(out, open);
                        *self = Self::Chunks { position, left, chunk, open };
                    }
                }
                Self::Chunks { position, left, chunk, open } => {
                    let run = pattern(position, open.min(chunk_room(room) as u64));
                    out.extend_from_slice(run);
                    let octets = run.len() as u64;
                    if octets == open {
                        out.extend_from_slice(b"\r\n");
                    }
                    let (position, left, open) = (position + octets, left - octets, open - octets);
                    *self = Self::Chunks { position, left, chunk, open };
                }
                Self::Events { number, count, chunked, .. } if number == count => {
                    out.extend_from_slice(if chunked { b"0\r\n\r\n" } else { b"" });
                    *self = Self::Done;
                }
                Self::Events { due: Some(due), .. } if due > now => return Made::Until(due),
                // The longest event has 32 octets.
                Self::Events { .. } if room < 64 => return Made::Full,
                Self::Events { number, count, every, due, chunked } => {
                    event(out, number, chunked);
                    let due = Some(due.unwrap_or(now) + every);
                    *self = Self::Events { number: number + 1, count, every, due, chunked };
                }
            }
        }
    }
}

/// A run of the pattern: at most `octets`, and not empty unless `octets` is 0.
fn pattern(position: u64, octets: u64) -> &'static [u8] {
    // The remainder is below the period, so it fits.
    let from = usize::try_from(position % PATTERN_PERIOD as u64).unwrap_or(0);
    let run = &PATTERN[from..];
    &run[..run.len().min(usize::try_from(octets).unwrap_or(usize::MAX))]
}

/// `port <port> <METHOD> <target>`, the answer of most benchmarks.
fn line(out: &mut Vec<u8>, request: &Request<'_>, port: u16, style: Style) {
    let mut digits = itoa::Buffer::new();
    let parts = ["port ", digits.format(port), " ", request.method, " ", request.target, "\n"];
    let octets: usize = parts.iter().map(|part| part.len()).sum();
    start(out, 200, "text/plain", Framing::Length(octets as u64), style);
    if request.method != "HEAD" {
        for part in parts {
            out.extend_from_slice(part.as_bytes());
        }
    }
}

fn trailers(out: &mut Vec<u8>, method: &str, style: Style) {
    start(out, 200, "text/plain", chunked_for(style), style);
    let content = b"a trailer follows\n";
    match (method, style.is_old) {
        ("HEAD", _) => {}
        (_, true) => out.extend_from_slice(content),
        (_, false) => {
            chunk(out, content);
            out.extend_from_slice(b"0\r\nX-Trailer: at the end\r\n\r\n");
        }
    }
}

fn event(out: &mut Vec<u8>, number: u64, chunked: bool) {
    let mut digits = itoa::Buffer::new();
    let digits = digits.format(number).as_bytes();
    let parts = [b"data: ", digits, b"\n\n"];
    if chunked {
        size_line(out, 8 + digits.len() as u64);
    }
    for part in parts {
        out.extend_from_slice(part);
    }
    out.extend_from_slice(if chunked { b"\r\n" } else { b"" });
}

fn size_line(out: &mut Vec<u8>, octets: u64) {
    let digits = (16 - octets.leading_zeros() / 4).max(1);
    for place in (0..digits).rev() {
        out.push(b"0123456789abcdef"[(octets >> (place * 4) & 15) as usize]);
    }
    out.extend_from_slice(b"\r\n");
}

fn decimal(out: &mut Vec<u8>, number: impl itoa::Integer) {
    out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
}

fn reason(status: u16) -> &'static str {
    match status {
        201 => "Created",
        204 => "No Content",
        301 => "Moved Permanently",
        302 => "Found",
        304 => "Not Modified",
        400 => "Bad Request",
        404 => "Not Found",
        413 => "Content Too Large",
        500 => "Internal Server Error",
        503 => "Service Unavailable",
        _ => "As Asked",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(mut content: Content, full: usize) -> Vec<u8> {
        #[expect(clippy::disallowed_methods, reason = "a test has no loop to ask for the time")]
        let now = Instant::now();
        let (mut whole, mut out) = (Vec::new(), Vec::new());
        loop {
            let made = content.make(&mut out, full, now);
            assert!(out.len() <= full, "{} octets made where {full} fit", out.len());
            whole.append(&mut out);
            if made == Made::All {
                return whole;
            }
        }
    }

    #[test]
    fn content_is_the_same_whatever_the_room() {
        let chunks = Content::Chunks { position: 0, left: 700, chunk: 300, open: 0 };
        let octets: Vec<u8> = (0..700_u32).map(|at| u8::try_from(at % 251).unwrap()).collect();
        let mut chunked = Vec::new();
        octets.chunks(300).for_each(|data| chunk(&mut chunked, data));
        chunked.extend_from_slice(b"0\r\n\r\n");
        for full in [64, 100, 1000] {
            assert_eq!(all(Content::Run { position: 0, left: 700 }, full), octets);
            assert_eq!(all(chunks, full), chunked);
        }
    }

    #[test]
    fn events_are_chunks_of_their_own() {
        let events =
            |chunked| Content::Events { number: 0, count: 2, every: Duration::ZERO, due: None, chunked };
        assert_eq!(all(events(false), 100), b"data: 0\n\ndata: 1\n\n");
        assert_eq!(all(events(true), 100), b"9\r\ndata: 0\n\n\r\n9\r\ndata: 1\n\n\r\n0\r\n\r\n");
    }

    #[test]
    fn sizes_are_plain_hex() {
        for octets in [1, 15, 16, 255, 4096, u64::MAX] {
            let mut out = Vec::new();
            size_line(&mut out, octets);
            assert_eq!(String::from_utf8(out).unwrap(), format!("{octets:x}\r\n"));
        }
    }
}
