//! The chunked transfer coding: its framing, parsed strictly and rewritten (RFC 9112 section 7.1).
//!
//! The decoder reads framing only: it never touches chunk data, so that data may go through memory or through
//! a kernel pipe. Chunk extensions are checked, skipped and never forwarded.

use super::limits::{CHUNK_EXCESS_BYTES_MAX, CHUNK_LINE_BYTES_MAX};
use super::local_reply::LocalReply;
use super::octet;

/// Hex digits of a chunk's size: the digits of 64 bits.
const SIZE_DIGITS_MAX: u16 = 16;

const BAD_SIZE: LocalReply = LocalReply::bad_request("malformed chunk size");
const SIZE_TOO_LARGE: LocalReply = LocalReply::bad_request("chunk size too large");
const BAD_EXTENSION: LocalReply = LocalReply::bad_request("malformed chunk extension");
const LINE_TOO_LONG: LocalReply = LocalReply::bad_request("chunk extensions too long");
const BAD_LINE_END: LocalReply = LocalReply::bad_request("chunk line not ended by CRLF");
const BAD_DATA_END: LocalReply = LocalReply::bad_request("chunk data not ended by CRLF");
const BROKEN: LocalReply = LocalReply::bad_request("malformed chunked body");

/// The decoder's position in a chunked body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Decoder {
    /// Within the size line, the size read so far; afterwards, the octets of data not taken yet.
    left: u64,
    /// Octets of lines with extensions beyond the allowance that content gives.
    excess: u32,
    /// Octets of the size line so far.
    line: u16,
    padding: Padding,
    state: State,
}

/// White space after a chunk's size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Padding {
    /// RFC 9112 section 7.1 allows none, and two parsers could disagree on such a request.
    Refused,
    /// Old servers pad their sizes to a fixed width.
    Skipped,
}

/// The next octet that is expected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// The first digit of a size.
    Start,
    /// Another digit, or the octet after the size.
    Size,
    /// More white space after a size, or the octet after it.
    Padded,
    /// An extension's name, after its `;`.
    NameStart,
    /// More of the name, or the octet after it.
    Name,
    /// The `=`, after white space.
    Equals,
    /// An extension's value, after its `=`.
    ValueStart,
    /// More of a value that is a token, or the octet after it.
    Value,
    /// More of a quoted value.
    Quoted,
    /// The octet after a backslash in a quoted value.
    QuotedPair,
    /// The octet after a quoted value.
    QuotedEnd,
    /// The LF of the size line.
    LineFeed,
    /// Data, or the CR after its last octet.
    Data,
    /// The LF after data.
    DataLineFeed,
    /// The trailer section.
    Trailers,
    /// None: the body is malformed.
    Broken,
}

/// What follows the framing that the decoder read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found {
    /// All octets given were framing (or none were given): more are needed.
    More,
    /// Chunk data follows: [`Decoder::data_left`] octets.
    Data,
    /// The last chunk was read: the trailer section follows (see `http::trailers`).
    Trailers,
}

impl Default for Decoder {
    fn default() -> Self {
        Self::new()
    }
}

impl Decoder {
    /// At the start of a request's body.
    pub const fn new() -> Self {
        Self { left: 0, excess: 0, line: 0, padding: Padding::Refused, state: State::Start }
    }

    /// At the start of a response's body: white space after a chunk's size is skipped.
    pub const fn of_response() -> Self {
        Self { padding: Padding::Skipped, ..Self::new() }
    }

    /// Octets of the current chunk that were not taken yet.
    pub const fn data_left(&self) -> u64 {
        if matches!(self.state, State::Data) { self.left } else { 0 }
    }

    /// `count` octets of chunk data were taken; never more than [`Decoder::data_left`].
    ///
    /// Taking more is a bug of the caller: framing was forwarded as data. The body is then marked as
    /// malformed, so that the exchange is cut and the two ends cannot disagree unnoticed.
    pub fn take_data(&mut self, count: u64) {
        debug_assert!(count <= self.data_left(), "took {count} octets of {}", self.data_left());
        if count > self.data_left() {
            self.state = State::Broken;
        } else if count > 0 {
            self.left -= count;
        }
    }

    /// Parses framing at the front of `bytes` (only while no data is left to take); returns how many octets
    /// it consumed.
    ///
    /// Calls may split the octets anywhere: the result is the same.
    ///
    /// # Errors
    /// 400 with the violated rule; the body is then malformed. (For a response, the caller makes it a 502.)
    pub fn read(&mut self, bytes: &[u8]) -> Result<(usize, Found), LocalReply> {
        let mut used = 0;
        match self.state {
            State::Data if self.left > 0 => return Ok((0, Found::Data)),
            State::Trailers => return Ok((0, Found::Trailers)),
            State::Broken => return Err(BROKEN),
            State::Data if bytes.starts_with(b"\r\n") => {
                self.state = State::Start;
                used = 2;
            }
            _ => {}
        }
        // Most size lines arrive complete and without extensions: they are parsed at once, not octet by
        // octet.
        if self.state == State::Start
            && let Some((size, length)) = whole_line(&bytes[used..])
        {
            self.left = size;
            return Ok((used + length, self.end_line()));
        }
        for &octet in &bytes[used..] {
            used += 1;
            match self.step(octet) {
                Ok(Found::More) => {}
                Ok(found) => return Ok((used, found)),
                Err(reply) => {
                    self.state = State::Broken;
                    return Err(reply);
                }
            }
        }
        Ok((used, Found::More))
    }

    /// Consumes one octet of framing.
    fn step(&mut self, octet: u8) -> Result<Found, LocalReply> {
        self.state = match self.state {
            State::Start => self.digit(octet)?,
            State::Size => match octet {
                b'\r' => State::LineFeed,
                b';' => self.extension(octet)?,
                b' ' | b'\t' if self.padding == Padding::Skipped => self.extension(octet)?,
                _ => self.digit(octet)?,
            },
            // RFC 9112 section 2.2: a CR without its LF is refused; section 7.1 has no bare LF either.
            State::LineFeed if octet == b'\n' => return Ok(self.end_line()),
            State::LineFeed => return Err(BAD_LINE_END),
            State::Data if octet == b'\r' => State::DataLineFeed,
            State::DataLineFeed if octet == b'\n' => State::Start,
            State::Data | State::DataLineFeed => return Err(BAD_DATA_END),
            State::Trailers | State::Broken => return Err(BROKEN),
            _ => self.extension(octet)?,
        };
        Ok(Found::More)
    }

    /// RFC 9112 section 7.1: `chunk-size = 1*HEXDIG`. No sign, no `0x`, no white space; leading zeros count
    /// as digits.
    fn digit(&mut self, octet: u8) -> Result<State, LocalReply> {
        let Some(digit) = hex_value(octet) else { return Err(BAD_SIZE) };
        // `line` is the number of digits until an extension begins.
        if self.line == SIZE_DIGITS_MAX {
            return Err(SIZE_TOO_LARGE);
        }
        self.line += 1;
        self.left = grown(self.left, digit).ok_or(SIZE_TOO_LARGE)?;
        Ok(State::Size)
    }

    /// RFC 9112 section 7.1.1: `chunk-ext = *( BWS ";" BWS name [ BWS "=" BWS ( token / quoted-string ) ] )`.
    /// White space before `;` is nevertheless refused in requests: a parser might take it as the end of the
    /// size or of a value.
    fn extension(&mut self, octet: u8) -> Result<State, LocalReply> {
        let next = match (self.state, octet) {
            (State::Padded | State::Name | State::Value | State::QuotedEnd, b'\r') => {
                self.charge()?;
                return Ok(State::LineFeed);
            }
            (State::Size | State::Padded, b' ' | b'\t') => State::Padded,
            (State::Size | State::Padded | State::Name | State::Value | State::QuotedEnd, b';')
            | (State::NameStart, b' ' | b'\t') => State::NameStart,
            (State::Name | State::Equals, b' ' | b'\t') => State::Equals,
            (State::Name | State::Equals, b'=') | (State::ValueStart, b' ' | b'\t') => State::ValueStart,
            (State::ValueStart, b'"') => State::Quoted,
            (State::Quoted, b'"') => State::QuotedEnd,
            (State::Quoted, b'\\') => State::QuotedPair,
            (State::Quoted | State::QuotedPair, _) if octet::is_value(octet) => State::Quoted,
            (State::NameStart | State::Name, _) if octet::is_token(octet) => State::Name,
            (State::ValueStart | State::Value, _) if octet::is_token(octet) => State::Value,
            _ => return Err(BAD_EXTENSION),
        };
        if usize::from(self.line) >= CHUNK_LINE_BYTES_MAX {
            return Err(LINE_TOO_LONG);
        }
        self.line += 1;
        Ok(next)
    }

    /// RFC 9112 section 7.1.1: the total length of extensions ought to have a limit. The limit grows with the
    /// content, so that a peer that signs each of its large chunks never exceeds it.
    fn charge(&mut self) -> Result<(), LocalReply> {
        let allowed = u32::try_from(self.left.saturating_mul(2)).unwrap_or(u32::MAX);
        self.excess = self.excess.saturating_add(u32::from(self.line)).saturating_sub(allowed);
        if self.excess > CHUNK_EXCESS_BYTES_MAX { Err(LINE_TOO_LONG) } else { Ok(()) }
    }

    /// The size line is complete: `left` holds the size.
    fn end_line(&mut self) -> Found {
        self.line = 0;
        if self.left == 0 {
            self.state = State::Trailers;
            Found::Trailers
        } else {
            self.state = State::Data;
            Found::Data
        }
    }
}

/// The size and the length of a size line without extensions at the front of `bytes`; `None` for every other
/// line.
fn whole_line(bytes: &[u8]) -> Option<(u64, usize)> {
    let mut size = 0;
    let mut digits = 0;
    for &octet in bytes.iter().take(usize::from(SIZE_DIGITS_MAX)) {
        let Some(digit) = hex_value(octet) else { break };
        size = grown(size, digit)?;
        digits += 1;
    }
    (digits > 0 && bytes[digits..].starts_with(b"\r\n")).then_some((size, digits + 2))
}

/// `size` with one more hex digit appended; `None` over 63 bits.
const fn grown(size: u64, digit: u8) -> Option<u64> {
    // Below this, four more bits still fit 63.
    const GROWS_BELOW: u64 = 1 << 59;
    if size < GROWS_BELOW { Some((size << 4) | digit as u64) } else { None }
}

const fn hex_value(octet: u8) -> Option<u8> {
    match octet {
        b'0'..=b'9' => Some(octet - b'0'),
        b'a'..=b'f' => Some(octet - b'a' + 10),
        b'A'..=b'F' => Some(octet - b'A' + 10),
        _ => None,
    }
}

/// The last chunk's size line; the trailer section and an empty line follow.
pub const LAST_CHUNK: &[u8] = b"0\r\n";

/// Writes the size line of a chunk of `size` octets (lower-case hex, no leading zero, no extension). `size`
/// is not 0. The caller writes the data and the CRLF after it.
pub fn write_size_line(out: &mut Vec<u8>, size: u64) {
    debug_assert_ne!(size, 0, "a chunk of no octets would end the body");
    let (line, start) = size_line(size);
    out.extend_from_slice(&line[start..]);
}

/// Whether this is the framing that Apex would write: the CRLF after the previous data (if `owed`), then the
/// size line.
pub fn is_as_written(bytes: &[u8], size: u64, owed: bool) -> bool {
    let (line, start) = size_line(size);
    let line_of = |bytes: &[u8]| bytes == &line[start..];
    if owed { bytes.strip_prefix(b"\r\n").is_some_and(line_of) } else { line_of(bytes) }
}

/// A size line, and the index at which it starts in the array.
fn size_line(size: u64) -> ([u8; 18], usize) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut line = *b"0000000000000000\r\n";
    for (pair, octet) in line.chunks_exact_mut(2).zip(size.to_be_bytes()) {
        pair[0] = DIGITS[usize::from(octet >> 4)];
        pair[1] = DIGITS[usize::from(octet & 0xf)];
    }
    (line, (size.leading_zeros() / 4).min(15) as usize)
}

#[cfg(test)]
mod tests;
