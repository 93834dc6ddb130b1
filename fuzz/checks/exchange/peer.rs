//! Peers in memory: a socket as the kernel shows it to Apex, edge-triggered, and a pipe.

use apex::exchange::{Outcome, Readiness};
use std::collections::VecDeque;

/// Octets that a pipe may hold, by the exchange's own word.
const PIPE_HELD_MAX: usize = 256 * 1024;

/// A socket, with what its peer has sent and taken.
#[allow(clippy::struct_excessive_bools, reason = "independent facts of one socket")]
pub(super) struct Peer {
    /// What the peer sends, in order.
    pub(super) sends: Vec<u8>,
    /// Octets of it in the socket's buffer, or read out of it.
    arrived: usize,
    /// Octets of it that Apex has read.
    pub(super) taken: usize,
    /// The peer closed its sending side.
    pub(super) ended: bool,
    reset: bool,
    /// The connection is not there yet.
    connecting: bool,
    /// Apex closed its sending side.
    shut: bool,
    /// Octets that can be written now.
    window: usize,
    /// A write found less room than it needed: an event tells when there is more.
    starved: bool,
    /// An event is due.
    edge: bool,
    /// What Apex has written.
    pub(super) got: Vec<u8>,
}

impl Peer {
    pub(super) fn new(sends: Vec<u8>, window: usize, connecting: bool) -> Self {
        Self {
            sends,
            arrived: 0,
            taken: 0,
            ended: false,
            reset: false,
            connecting,
            shut: false,
            window,
            starved: connecting,
            edge: !connecting,
            got: Vec::new(),
        }
    }

    pub(super) fn send(&mut self, count: usize) {
        if self.ended || self.reset || self.connecting {
            return;
        }
        let arrived = self.sends.len().min(self.arrived.saturating_add(count));
        self.edge |= arrived > self.arrived;
        self.arrived = arrived;
    }

    /// The peer sends no more than what has arrived.
    pub(super) fn end(&mut self) {
        if !self.ended && !self.reset && !self.connecting {
            self.ended = true;
            self.edge = true;
        }
    }

    pub(super) fn reset(&mut self) {
        self.sends.truncate(self.taken);
        self.arrived = self.taken;
        self.reset = true;
        self.connecting = false;
        self.edge = true;
    }

    pub(super) fn open(&mut self, count: usize) {
        self.window = self.window.saturating_add(count);
        if self.window > 0 && self.starved && !self.connecting {
            self.starved = false;
            self.edge = true;
        }
    }

    pub(super) fn connected(&mut self) {
        self.edge |= self.connecting;
        self.connecting = false;
    }

    /// What an event says now; `None`: none is due.
    pub(super) fn event(&mut self) -> Option<Readiness> {
        if !std::mem::take(&mut self.edge) {
            return None;
        }
        let readiness = self.readiness();
        // The kernel takes note of what it has told: room that comes later makes an event.
        self.starved |= !readiness.writable;
        Some(readiness)
    }

    /// The peer sends nothing more.
    pub(super) fn has_closed(&self) -> bool {
        self.ended || self.reset
    }

    pub(super) fn has_event(&self) -> bool {
        self.edge
    }

    pub(super) fn readiness(&self) -> Readiness {
        let closed = self.ended || self.reset;
        Readiness {
            readable: self.taken < self.arrived || closed,
            writable: !self.connecting && (self.window > 0 || self.reset),
            read_closed: closed,
            gone: self.reset || (self.ended && self.shut),
        }
    }

    /// Nothing can be read, not even an end.
    pub(super) fn is_quiet(&self) -> bool {
        !self.readiness().readable
    }

    pub(super) fn shut_down(&mut self) {
        assert!(!self.shut, "a socket is shut down once");
        self.shut = true;
        self.edge |= self.ended;
    }

    /// Takes up to `count_max` octets out of the socket; `room` is told apart for a pipe.
    fn take(&mut self, count_max: usize, room: usize) -> Result<&[u8], Outcome> {
        let from = self.taken;
        let count = (self.arrived - from).min(room);
        match () {
            () if count > 0 => {}
            () if self.reset => return Err(Outcome::Failed),
            () if self.ended && self.arrived == from => return Err(Outcome::Ended),
            () => return Err(Outcome::Blocked),
        }
        debug_assert!(room <= count_max);
        self.taken += count;
        Ok(&self.sends[from..from + count])
    }

    pub(super) fn read(&mut self, into: &mut Vec<u8>) -> Outcome {
        let room = into.capacity() - into.len();
        assert!(room > 0, "a read without room would be taken for the end");
        match self.take(room, room) {
            Ok(bytes) => {
                into.extend_from_slice(bytes);
                Outcome::Moved { count: bytes.len(), full: bytes.len() == room }
            }
            Err(outcome) => outcome,
        }
    }

    /// Takes what the pieces hold, as far as there is room.
    pub(super) fn write(&mut self, pieces: &[&[u8]]) -> Outcome {
        let length = pieces.iter().map(|piece| piece.len()).sum();
        assert!(length > 0, "a write of nothing would be taken for a failure");
        assert!(!self.shut, "nothing is written behind the end");
        if self.reset {
            return Outcome::Failed;
        }
        let room = if self.connecting { 0 } else { self.window };
        let count = room.min(length);
        self.starved |= count < length;
        if count == 0 {
            return Outcome::Blocked;
        }
        self.window -= count;
        let mut left = count;
        for piece in pieces {
            let part = &piece[..piece.len().min(left)];
            self.got.extend_from_slice(part);
            left -= part.len();
        }
        Outcome::Moved { count, full: count == length }
    }
}

/// A pipe between two sockets.
#[derive(Default)]
pub(super) struct Pipe {
    held: VecDeque<u8>,
    /// What it holds is for nobody any more: it is not used again in this exchange.
    dropped: bool,
}

impl Pipe {
    /// The exchange wants only so many of its octets: where it wants none, what the pipe holds is for nobody.
    pub(super) fn wanted(&mut self, count: usize) {
        self.dropped |= count == 0 && !self.held.is_empty();
    }

    pub(super) fn is_empty(&self) -> bool {
        self.held.is_empty() || self.dropped
    }

    pub(super) fn fill(&mut self, from: &mut Peer, count_max: usize, pipe_bytes: usize) -> Outcome {
        assert!(!self.dropped && count_max > 0);
        assert!(self.held.len() + count_max <= PIPE_HELD_MAX, "the pipe would hold more than it may");
        let room = pipe_bytes.saturating_sub(self.held.len()).min(count_max);
        if room == 0 {
            return Outcome::Blocked;
        }
        match from.take(count_max, room) {
            Ok(bytes) => {
                self.held.extend(bytes);
                Outcome::Moved { count: bytes.len(), full: bytes.len() == count_max }
            }
            Err(outcome) => outcome,
        }
    }

    pub(super) fn drain(&mut self, to: &mut Peer, count_max: usize) -> Outcome {
        assert!(!self.dropped);
        assert_eq!(count_max, self.held.len(), "what is drained is what was filled");
        let (front, back) = self.held.as_slices();
        let outcome = to.write(&[front, back]);
        if let Outcome::Moved { count, .. } = outcome {
            self.held.drain(..count);
        }
        outcome
    }
}
