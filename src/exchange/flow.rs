//! One direction of an exchange: a body with its framing, octets in memory, octets in a kernel pipe, and the
//! readiness of its source and its sink. The same type serves requests, responses and tunnels.
//!
//! The order of what it holds is fixed: `outgoing` (head and framing as rewritten, small content), then
//! `direct` (content at the front of `incoming`, written from where it was read), then the pipe. Memory is
//! older than the pipe.

mod verbatim;

use super::body::{Body, Encoding, Truncated};
use super::buffer::{Buffer, Buffers};
use crate::http::chunked::{self, Decoder, Found};
use crate::http::limits::HeadLimits;
use crate::http::local_reply::LocalReply;
use crate::http::trailers;

/// Content up to this length in octets is copied after its framing, so that both leave in one plain write;
/// beyond it, a vectored write of two pieces costs less than the copy.
const COPY_MAX: usize = 4 * 1024;

/// Room that `outgoing` must have to continue: a chunk's CRLF and the next size line, with some to spare.
const FRAMING_ROOM: usize = 64;

/// The shortest run of opaque content, in octets, that goes through a pipe. Below it, copies through buffers
/// in the processor's cache cost less than splices: the curve is in `benches/peers/README.md`.
pub(super) const SPLICE_RUN_MIN: u64 = 256 * 1024;

/// The most octets that a pipe may hold. The kernel's page count is no bound: a nominal 64 KiB pipe was seen
/// to hold 265,189.
pub(super) const PIPE_HELD_MAX: usize = 256 * 1024;

/// The usual low-water mark of a wait for a source: its next octet.
pub const ANY_BYTES: usize = 1;

/// The low-water mark, in octets, of a wait for long content that arrives fast: fewer wakes, fills, drains
/// and acknowledgements, each for more octets.
pub(super) const GATHER_BYTES: usize = 128 * 1024;

/// Content arrives fast if at least this many octets of it arrive between two waits.
const FAST_BYTES: usize = 32 * 1024;

/// A move that is possible now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Move {
    Read,
    Write,
    Fill,
    Drain,
}

#[derive(Debug, Clone, Copy, Default)]
#[expect(clippy::struct_excessive_bools, reason = "independent facts of one socket")]
pub(super) struct Source {
    /// A read may find octets.
    pub(super) ready: bool,
    /// The peer closed its sending side; octets that it sent before must still be read, to the end.
    pub(super) closing: bool,
    /// The connection was reset: an end that is read later is not one that the peer sent.
    pub(super) reset: bool,
    /// The end has been read.
    pub(super) ended: bool,
}

impl Source {
    /// No more octets will arrive.
    pub(super) fn is_closed(self) -> bool {
        self.closing || self.ended
    }
}

#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Sink {
    /// A write may find room.
    pub(super) ready: bool,
}

#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "independent facts, of which any may hold")]
pub(super) struct Flow {
    pub(super) incoming: Buffer,
    pub(super) outgoing: Buffer,
    /// Octets at the front of `incoming` that go to the sink unchanged, after `outgoing`.
    direct: usize,
    /// Octets of framing within `direct`.
    direct_framing: usize,
    /// Octets of content at the end of `outgoing`.
    copied: usize,
    /// Reads use large buffers, with fewer calls: long content is expected, or has arrived.
    pub(super) large_reads: bool,
    /// All of a chunk's data was taken from the source; its CRLF must still be sent.
    owes_crlf: bool,
    /// Octets in the pipe.
    piped: usize,
    /// A fill found no room although the pipe held less than [`PIPE_HELD_MAX`]; true until a drain.
    pipe_full: bool,
    /// Octets of content taken since the last wait; `None`: the source was not read.
    burst: Option<usize>,
    /// The current run goes through the pipe.
    splices: bool,
    /// Some of this body went through the pipe.
    pub(super) spliced: bool,
    /// The system refused a pipe: all content goes through memory.
    pipeless: bool,
    /// Everything sent to the sink so far is still in `outgoing` and can be sent again.
    pub(super) rewindable: bool,
    pub(super) body: Body,
    pub(super) encoding: Encoding,
    pub(super) source: Source,
    pub(super) sink: Sink,
    /// Octets of content taken from the source.
    pub(super) content_bytes: u64,
}

impl Flow {
    pub(super) fn new() -> Self {
        Self {
            incoming: Buffer::default(),
            outgoing: Buffer::default(),
            direct: 0,
            direct_framing: 0,
            copied: 0,
            large_reads: false,
            owes_crlf: false,
            piped: 0,
            pipe_full: false,
            burst: None,
            splices: false,
            spliced: false,
            pipeless: false,
            rewindable: false,
            body: Body::Done,
            encoding: Encoding::AsIs,
            source: Source::default(),
            sink: Sink::default(),
            content_bytes: 0,
        }
    }

    /// Octets in the pipe of this direction.
    pub(super) fn piped(&self) -> usize {
        self.piped
    }

    /// Octets of content given to the sink.
    pub(super) fn content_given(&self) -> u64 {
        // If part of a run with framing was written, its framing counts as written first.
        let direct = self.direct - self.direct_framing.min(self.direct);
        let copied = self.copied.min(self.outgoing.len());
        self.content_bytes - (copied + direct + self.piped) as u64
    }

    /// Octets are held for the sink, in memory or in the pipe.
    pub(super) fn holds(&self) -> bool {
        self.has_memory() || self.piped > 0
    }

    /// Octets are held for the sink, which has no room for them.
    pub(super) fn is_blocked(&self) -> bool {
        self.holds() && !self.sink.ready
    }

    /// Octets are held for the sink in memory.
    pub(super) fn has_memory(&self) -> bool {
        !self.outgoing.is_empty() || self.direct > 0
    }

    /// Octets were read that are not part of what goes to the sink (not yet, or never if the body is done).
    pub(super) fn has_surplus(&self) -> bool {
        self.incoming.len() > self.direct
    }

    /// Everything was taken from the source and given to the sink.
    pub(super) fn is_delivered(&self) -> bool {
        self.body == Body::Done && !self.owes_crlf && !self.has_memory() && self.piped == 0
    }

    /// The move that gives octets to the sink, if one is possible.
    pub(super) fn move_to_sink(&self) -> Option<Move> {
        if !self.sink.ready {
            return None;
        }
        // Memory is older than the pipe.
        if self.has_memory() { Some(Move::Write) } else { (self.piped > 0).then_some(Move::Drain) }
    }

    /// The move that takes octets from the source, if one is possible.
    pub(super) fn move_from_source(&self) -> Option<Move> {
        if !self.source.ready || self.source.ended || self.body == Body::Done || self.has_memory() {
            return None;
        }
        if self.splices {
            (self.piped < PIPE_HELD_MAX && !self.pipe_full).then_some(Move::Fill)
        } else {
            // No read into memory while the pipe holds older octets.
            (self.piped == 0).then_some(Move::Read)
        }
    }

    /// The most octets that a fill may move.
    pub(super) fn fill_max(&self) -> usize {
        let room = PIPE_HELD_MAX - self.piped;
        usize::try_from(self.opaque_run()).map_or(room, |run| run.min(room))
    }

    /// The octets of content until the next framing.
    fn opaque_run(&self) -> u64 {
        match self.body {
            Body::Length(left) => left,
            Body::Chunked(decoder) => decoder.data_left(),
            Body::UntilClose => u64::MAX,
            Body::Trailers | Body::Done => 0,
        }
    }

    /// The memory is followed by a run for the pipe, and the source may have octets of it.
    pub(super) fn more_follows(&self) -> bool {
        self.source.ready && !self.source.is_closed() && self.is_for_pipe()
    }

    /// What follows the memory goes through a pipe.
    fn is_for_pipe(&self) -> bool {
        self.body != Body::UntilClose
            && self.opaque_run() >= SPLICE_RUN_MIN
            && self.encoding != Encoding::Discard
            && !self.pipeless
    }

    /// The pieces of memory held for the sink, in order.
    pub(super) fn memory(&self) -> [&[u8]; 3] {
        [
            self.outgoing.unread(),
            &self.incoming.unread()[..self.direct],
            if self.has_tail() { b"\r\n" } else { b"" },
        ]
    }

    /// The CRLF of a chunk that was made from one read is written together with its content.
    fn has_tail(&self) -> bool {
        self.owes_crlf && self.direct > 0 && self.body == Body::UntilClose
    }

    /// `outgoing` holds a complete message that ends in `content_bytes` octets of content.
    pub(super) fn holds_message(&mut self, content_bytes: usize) {
        self.body = Body::Done;
        self.content_bytes += content_bytes as u64;
        self.copied += content_bytes;
    }

    /// The sink took `count` octets of [`Flow::memory`].
    pub(super) fn wrote(&mut self, count: usize, buffers: &mut Buffers) {
        let framed = count.min(self.outgoing.len());
        self.outgoing.take(framed);
        self.copied = self.copied.min(self.outgoing.len());
        let content = (count - framed).min(self.direct);
        let tail = count - framed - content;
        if content > 0 {
            self.rewindable = false;
        }
        if !self.rewindable {
            self.outgoing.forget();
        }
        if tail > 0 {
            self.owes_crlf = false;
            self.outgoing.open(buffers).extend_from_slice(&b"\r\n"[tail..]);
        }
        self.incoming.take(content);
        self.incoming.forget();
        self.direct -= content;
        self.direct_framing = self.direct_framing.saturating_sub(content);
    }

    /// The pipe took `count` octets from the source.
    pub(super) fn filled(&mut self, count: usize) {
        self.piped += count;
        self.spliced = true;
        self.rewindable = false;
        self.outgoing.forget();
        self.took_content(count);
    }

    /// A fill found nothing. That proves the source empty only if the pipe was empty, because a full pipe
    /// gives the same result.
    pub(super) fn fill_blocked(&mut self) {
        if self.piped > 0 {
            self.pipe_full = true;
            return;
        }
        self.burst.get_or_insert(0);
        self.source.ready = false;
        // After a pause, the stream may continue in small pieces, which memory moves with fewer calls.
        if self.body == Body::UntilClose {
            self.splices = false;
        }
    }

    /// The source was read since the last wait, or had nothing to read.
    pub(super) fn was_asked(&self) -> bool {
        self.burst.is_some()
    }

    /// A wait begins: the low-water mark, in octets, if it is a wait for the source. `before`: that of the
    /// last wait for it.
    ///
    /// A high mark needs twice as much content that is certain to come: a known length, and fast arrival
    /// before the wait.
    pub(super) fn waits_for(&mut self, before: usize) -> Option<usize> {
        if !self.splices {
            // This includes a body framed by the close: it may pause at any octet.
            self.burst = None;
            return Some(ANY_BYTES);
        }
        if self.source.ready {
            return None;
        }
        // An event of the sink does not end a wait for the source.
        let came_fast = self.burst.take().map_or(before > ANY_BYTES, |burst| burst >= FAST_BYTES);
        let much_comes = self.opaque_run() >= 2 * GATHER_BYTES as u64;
        Some(if came_fast && much_comes { GATHER_BYTES } else { ANY_BYTES })
    }

    /// The system refused a pipe: content for it goes through memory.
    pub(super) fn goes_without_pipe(&mut self) {
        self.pipeless = true;
        self.splices = false;
    }

    /// The sink took `count` octets out of the pipe.
    pub(super) fn drained(&mut self, count: usize) {
        assert!(count <= self.piped, "more was drained than the pipe held");
        self.piped -= count;
        self.pipe_full = false;
    }

    /// The memory to read into, with more room if content arrives faster than a usual buffer takes it.
    /// Chunked content does better without: the figures are in `benches/peers/README.md`.
    pub(super) fn open_for_read(&mut self, buffers: &mut Buffers, len_max: usize) -> &mut Vec<u8> {
        if self.large_reads && !matches!(self.body, Body::Chunked(_)) {
            self.incoming.widen(buffers);
        }
        self.incoming.open_for_read(buffers, len_max)
    }

    /// Octets were read into `incoming`; `full`: they filled its room.
    pub(super) fn read(&mut self, full: bool) {
        // A short read means that the source is empty for now. But after the peer has closed its sending side
        // no further edge will come, so read until the end.
        self.source.ready = full || self.source.closing;
        self.large_reads |= full;
        if full && self.body == Body::UntilClose && self.encoding == Encoding::AsIs {
            self.splices = !self.pipeless;
        }
    }

    /// Accounts for content that was taken out of the source's framing.
    fn took_content(&mut self, count: usize) {
        self.burst = Some(self.burst.unwrap_or(0).saturating_add(count));
        let count = count as u64;
        self.content_bytes += count;
        match &mut self.body {
            Body::Length(left) => {
                *left -= count;
                if *left == 0 {
                    self.body = Body::Done;
                    self.splices = false;
                }
            }
            Body::Chunked(decoder) => {
                decoder.take_data(count);
                if decoder.data_left() == 0 {
                    self.splices = false;
                    self.owes_crlf = self.encoding == Encoding::Chunked;
                }
            }
            Body::UntilClose => self.owes_crlf = self.encoding == Encoding::Chunked,
            Body::Trailers | Body::Done => {}
        }
    }

    /// The end of the source was read.
    ///
    /// # Errors
    /// The body is incomplete.
    pub(super) fn source_ended(&mut self, buffers: &mut Buffers) -> Result<(), Truncated> {
        self.source.ended = true;
        self.source.ready = false;
        match self.body {
            Body::Done => Ok(()),
            Body::UntilClose => {
                self.body = Body::Done;
                self.splices = false;
                if self.encoding == Encoding::Chunked {
                    // No octets are held: a source is read only once memory and pipe are empty.
                    self.pay_crlf(buffers);
                    self.outgoing.open(buffers).extend_from_slice(b"0\r\n\r\n");
                }
                Ok(())
            }
            Body::Length(_) | Body::Chunked(_) | Body::Trailers => Err(Truncated),
        }
    }

    /// Ends the current chunk.
    fn pay_crlf(&mut self, buffers: &mut Buffers) {
        if self.owes_crlf {
            self.outgoing.open(buffers).extend_from_slice(b"\r\n");
            self.owes_crlf = false;
        }
    }

    /// Consumes as much of `incoming` as possible: parses framing, rewrites it, passes content on.
    ///
    /// # Errors
    /// The framing is malformed.
    pub(super) fn advance(&mut self, limits: &HeadLimits, buffers: &mut Buffers) -> Result<(), LocalReply> {
        loop {
            // Octets appended to `outgoing` would overtake these.
            if self.direct > 0 || self.piped > 0 {
                return Ok(());
            }
            if !self.makes_room() {
                return Ok(());
            }
            // A chunk that was made from one read ends with it. A chunk that the source framed ends where the
            // source says.
            if self.body == Body::UntilClose {
                self.pay_crlf(buffers);
            }
            match self.body {
                Body::Done => return Ok(()),
                Body::Length(_) | Body::UntilClose => {
                    if !self.pass_content(buffers) {
                        return Ok(());
                    }
                }
                Body::Chunked(decoder) => {
                    let passed = self.pass_verbatim(decoder, buffers)
                        || if decoder.data_left() > 0 {
                            self.pass_content(buffers)
                        } else {
                            self.read_chunk_framing(decoder, buffers)?
                        };
                    if !passed {
                        return Ok(());
                    }
                }
                Body::Trailers => {
                    if !self.read_trailers(limits, buffers)? {
                        return Ok(());
                    }
                }
            }
        }
    }

    /// Whether `outgoing` has room for framing. Gives up the possibility to send again if that alone fills
    /// it.
    fn makes_room(&mut self) -> bool {
        if self.outgoing.room() >= FRAMING_ROOM {
            return true;
        }
        if !self.outgoing.is_empty() {
            return false;
        }
        self.rewindable = false;
        self.outgoing.forget();
        true
    }

    /// Passes on the content at the front of `incoming`; false if there is none.
    fn pass_content(&mut self, buffers: &mut Buffers) -> bool {
        let run = self.opaque_run();
        if self.incoming.is_empty() {
            self.splices |= self.is_for_pipe();
            return false;
        }
        let count = usize::try_from(run).unwrap_or(usize::MAX).min(self.incoming.len());
        if self.encoding == Encoding::Chunked && self.body == Body::UntilClose {
            chunked::write_size_line(self.outgoing.open(buffers), count as u64);
        }
        if self.encoding == Encoding::Discard {
            self.incoming.take(count);
        } else if count <= COPY_MAX && self.outgoing.room() >= count + FRAMING_ROOM {
            let outgoing = self.outgoing.open(buffers);
            outgoing.extend_from_slice(&self.incoming.unread()[..count]);
            self.copied += count;
            self.incoming.take(count);
        } else {
            self.direct = count;
        }
        if self.direct == 0 {
            self.incoming.forget();
        }
        self.took_content(count);
        true
    }

    /// Parses chunk framing at the front of `incoming`; false if it is incomplete.
    fn read_chunk_framing(
        &mut self,
        mut decoder: Decoder,
        buffers: &mut Buffers,
    ) -> Result<bool, LocalReply> {
        let (used, found) = decoder.read(self.incoming.unread())?;
        self.incoming.take(used);
        self.incoming.forget();
        self.body = Body::Chunked(decoder);
        if used > 0 {
            self.pay_crlf(buffers);
        }
        match found {
            Found::More => return Ok(false),
            Found::Data if self.encoding == Encoding::Chunked => {
                chunked::write_size_line(self.outgoing.open(buffers), decoder.data_left());
            }
            Found::Data => {}
            Found::Trailers => self.body = Body::Trailers,
        }
        Ok(true)
    }

    /// Parses the trailer section at the front of `incoming`; false if it is incomplete.
    fn read_trailers(&mut self, limits: &HeadLimits, buffers: &mut Buffers) -> Result<bool, LocalReply> {
        let used = if self.encoding == Encoding::Chunked {
            let outgoing = self.outgoing.open(buffers);
            let before = outgoing.len();
            outgoing.extend_from_slice(chunked::LAST_CHUNK);
            let used = trailers::forward(self.incoming.unread(), limits, Some(outgoing));
            match used {
                Ok(Some(_)) => outgoing.extend_from_slice(b"\r\n"),
                Ok(None) | Err(_) => outgoing.truncate(before),
            }
            used?
        } else {
            trailers::forward(self.incoming.unread(), limits, None)?
        };
        let Some(used) = used else { return Ok(false) };
        self.incoming.take(used);
        self.incoming.forget();
        self.body = Body::Done;
        Ok(true)
    }

    /// Ends the body here although it is incomplete: what was taken from the source still goes to the sink,
    /// without an end that would make it look complete.
    pub(super) fn end_short(&mut self) {
        self.body = Body::Done;
        self.owes_crlf = false;
        self.splices = false;
    }

    /// Drops what is held for the sink and takes no more from the source.
    pub(super) fn abandon(&mut self) {
        self.outgoing.clear();
        self.incoming.clear();
        self.direct = 0;
        self.direct_framing = 0;
        self.piped = 0;
        self.owes_crlf = false;
        self.splices = false;
        self.rewindable = false;
        self.body = Body::Done;
    }

    /// Reads and discards the rest of the body. Octets held for the sink are dropped.
    pub(super) fn discard(&mut self) {
        self.encoding = Encoding::Discard;
        self.outgoing.clear();
        self.incoming.take(self.direct);
        self.incoming.forget();
        // Octets in the pipe are dropped with the pipe.
        self.direct = 0;
        self.direct_framing = 0;
        self.piped = 0;
        self.pipe_full = false;
        self.owes_crlf = false;
        self.splices = false;
        self.rewindable = false;
    }

    /// Returns its memory to the pool, whatever it holds; the flow must not be used any more.
    pub(super) fn reclaim(&mut self, buffers: &mut Buffers) {
        self.incoming.reclaim(buffers);
        self.outgoing.reclaim(buffers);
    }

    /// Returns empty buffers to the pool.
    pub(super) fn settle(&mut self, buffers: &mut Buffers) {
        self.incoming.settle(buffers);
        self.incoming.narrow(buffers);
        if !self.rewindable {
            self.outgoing.settle(buffers);
        }
    }
}

#[cfg(test)]
mod tests;
