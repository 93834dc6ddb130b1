//! The kernel between Apex and its peers: sockets with bounded buffers, pipes whose capacity is counted in pages, and readiness
//! as epoll gives it with EPOLLET.
//!
//! An edge arises when octets, a FIN or a reset arrive, when a connection is made, and when room becomes free after the kernel
//! had said that there was too little; an event then carries all levels as they stand.

use super::random::Random;
use apex::exchange::{Outcome, Readiness};
use std::collections::VecDeque;

/// What becomes of a connection attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Connecting {
    /// It is accepted a little later.
    Accepted,
    /// It is refused a little later.
    Refused,
    /// Nothing is ever heard of it.
    Lost,
}

/// How a stream ended for the peer of Apex.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// With a FIN.
    Fin,
    /// With a reset.
    Reset,
}

/// One connection: the socket that Apex has, and what its peer sees of it.
#[derive(Debug)]
pub(crate) struct Socket {
    pub(crate) connecting: Option<Connecting>,
    /// Octets that Apex has not read yet.
    rx: VecDeque<u8>,
    rx_max: usize,
    /// The peer has closed its sending side.
    rx_fin: bool,
    /// Octets that the peer has not read yet.
    tx: VecDeque<u8>,
    tx_max: usize,
    /// Apex has shut down its sending side.
    tx_fin: bool,
    /// Apex has closed the socket.
    pub(crate) closed: bool,
    /// The peer has closed its socket: what it is sent is answered by a reset.
    peer_closed: bool,
    /// The connection was reset by the peer.
    reset: bool,
    /// The error of that reset was not told yet: the kernel tells it once.
    error: bool,
    /// The connection was reset by Apex: the peer will see it.
    reset_peer: bool,
    /// The kernel has said that there is too little room; an edge is owed.
    starved: bool,
    /// An event is waiting.
    pub(crate) edge: bool,
    /// Octets that the peer has received.
    pub(crate) acknowledged: u64,
}

impl Socket {
    pub(crate) fn new(random: &mut Random, connecting: Option<Connecting>) -> Self {
        let sizes = [700, 2_500, 9_000, 30_000, 90_000, 300_000];
        Self {
            connecting,
            rx: VecDeque::new(),
            rx_max: random.pick(&sizes),
            rx_fin: false,
            tx: VecDeque::new(),
            tx_max: random.pick(&sizes),
            tx_fin: false,
            closed: false,
            peer_closed: false,
            reset: false,
            error: false,
            reset_peer: false,
            starved: false,
            // A socket that is registered while it is ready has an event at once.
            edge: connecting.is_none(),
            acknowledged: 0,
        }
    }

    // What Apex does with it.

    pub(crate) fn read(&mut self, into: &mut Vec<u8>) -> Outcome {
        let room = into.capacity() - into.len();
        assert!(room > 0, "a read without room");
        if self.rx.is_empty() {
            return self.nothing_to_read();
        }
        let count = room.min(self.rx.len());
        into.extend(self.rx.drain(..count));
        Outcome::Moved { count, full: count == room }
    }

    fn nothing_to_read(&mut self) -> Outcome {
        if std::mem::take(&mut self.error) {
            Outcome::Failed
        } else if self.rx_fin || self.reset {
            Outcome::Ended
        } else {
            Outcome::Blocked
        }
    }

    pub(crate) fn write(&mut self, pieces: &[&[u8]]) -> Outcome {
        let offered: usize = pieces.iter().map(|piece| piece.len()).sum();
        assert!(offered > 0, "a write of nothing");
        let room = match self.room() {
            Ok(room) => room,
            Err(outcome) => return outcome,
        };
        let mut left = room;
        for piece in pieces {
            let taken = piece.len().min(left);
            self.tx.extend(&piece[..taken]);
            left -= taken;
        }
        let count = offered.min(room);
        self.starved |= count < offered;
        self.answer_if_closed();
        Outcome::Moved { count, full: count == offered }
    }

    /// Room for octets to the peer, never 0.
    fn room(&mut self) -> Result<usize, Outcome> {
        if self.reset || self.tx_fin {
            self.error = false;
            return Err(Outcome::Failed);
        }
        let room = if self.connecting.is_some() { 0 } else { self.tx_max - self.tx.len() };
        if room == 0 {
            self.starved = true;
            return Err(Outcome::Blocked);
        }
        Ok(room)
    }

    /// What a closed socket is sent is answered by a reset.
    fn answer_if_closed(&mut self) {
        if self.peer_closed {
            self.tx.clear();
            self.be_reset();
        }
    }

    pub(crate) fn fill(&mut self, pipe: &mut Pipe, max: usize, random: &mut Random) -> Outcome {
        assert!(max > 0, "a fill of nothing");
        if pipe.pages.len() == pipe.pages_max {
            return Outcome::Blocked;
        }
        if self.rx.is_empty() {
            return self.nothing_to_read();
        }
        let mut count = 0;
        while count < max && !self.rx.is_empty() && pipe.pages.len() < pipe.pages_max {
            // A page of a pipe refers to a piece of a received segment, whatever its length.
            let piece = random.within(1, pipe.piece_max).min(max - count).min(self.rx.len());
            pipe.bytes.extend(self.rx.drain(..piece));
            pipe.pages.push_back(piece);
            count += piece;
        }
        Outcome::Moved { count, full: count == max }
    }

    pub(crate) fn drain(&mut self, pipe: &mut Pipe, max: usize) -> Outcome {
        assert!(max > 0, "a drain of nothing");
        assert_eq!(max, pipe.bytes.len(), "the exchange and the pipe differ in what is held");
        let room = match self.room() {
            Ok(room) => room,
            Err(outcome) => return outcome,
        };
        let count = max.min(room);
        self.tx.extend(pipe.bytes.drain(..count));
        let mut left = count;
        while left > 0 {
            let page = pipe.pages.front_mut().expect("a page for every octet");
            let taken = left.min(*page);
            *page -= taken;
            left -= taken;
            if *page == 0 {
                pipe.pages.pop_front();
            }
        }
        self.starved |= count < max;
        self.answer_if_closed();
        Outcome::Moved { count, full: count == max }
    }

    pub(crate) fn shutdown(&mut self) {
        self.tx_fin = true;
    }

    /// Closes Apex's socket. Octets that were not read turn the close into a reset, to which the peer may lose octets that it
    /// has not read yet.
    pub(crate) fn close(&mut self) {
        self.closed = true;
        self.tx_fin = true;
        self.edge = false;
        if !self.rx.is_empty() {
            self.break_off();
        }
    }

    /// Closes Apex's socket by a reset.
    pub(crate) fn abort(&mut self) {
        self.close();
        self.break_off();
    }

    fn break_off(&mut self) {
        self.reset_peer = true;
        self.tx.clear();
    }

    /// The levels that an event carries. Asking them while there is too little room means that an edge is owed.
    pub(crate) fn levels(&mut self) -> Readiness {
        let connected = self.connecting.is_none();
        let writable = self.reset || (connected && self.has_room());
        self.starved |= !writable;
        let ended = self.rx_fin || self.reset;
        Readiness {
            readable: !self.rx.is_empty() || ended,
            writable,
            read_closed: ended,
            gone: self.reset || (self.rx_fin && self.tx_fin),
        }
    }

    /// Linux calls a socket writable when a third of its buffer is free.
    fn has_room(&self) -> bool {
        (self.tx_max - self.tx.len()) * 3 >= self.tx_max
    }

    /// What Apex has not read, and whether it could know of it.
    pub(crate) fn is_quiet(&self) -> bool {
        self.rx.is_empty() && !self.rx_fin && !self.reset
    }

    pub(crate) fn has_unread(&self) -> bool {
        !self.rx.is_empty()
    }

    // What the peer does.

    /// Room for octets to Apex.
    pub(crate) fn peer_room(&self) -> usize {
        if self.reset_peer || self.reset { 0 } else { self.rx_max.saturating_sub(self.rx.len()) }
    }

    pub(crate) fn peer_send(&mut self, bytes: &[u8]) {
        assert!(bytes.len() <= self.peer_room() && !self.rx_fin && !self.peer_closed);
        if self.closed {
            self.break_off();
            return;
        }
        self.rx.extend(bytes);
        self.edge = true;
    }

    pub(crate) fn peer_finish(&mut self) {
        if !self.rx_fin && !self.reset {
            self.rx_fin = true;
            self.edge = !self.closed;
        }
    }

    /// Closes the peer's socket: octets that it has not read turn that into a reset.
    pub(crate) fn peer_close(&mut self) {
        if self.tx.is_empty() {
            self.peer_finish();
            self.peer_closed = true;
        } else {
            self.be_reset();
        }
    }

    pub(crate) fn be_reset(&mut self) {
        self.tx.clear();
        if !self.reset {
            self.reset = true;
            self.error = true;
            self.edge = !self.closed;
        }
    }

    /// Octets that wait for the peer.
    pub(crate) fn peer_pending(&self) -> usize {
        self.tx.len()
    }

    pub(crate) fn peer_receive(&mut self, into: &mut Vec<u8>, max: usize) {
        let count = max.min(self.tx.len());
        into.extend(self.tx.drain(..count));
        self.acknowledged += u64::try_from(count).expect("64 bits hold it");
        if self.starved && !self.closed && self.has_room() {
            self.starved = false;
            self.edge = true;
        }
    }

    /// Whether the stream to the peer ends here.
    pub(crate) fn peer_end(&self) -> Option<End> {
        if self.reset_peer {
            Some(End::Reset)
        } else {
            (self.tx_fin && self.tx.is_empty()).then_some(End::Fin)
        }
    }

    /// A connection attempt comes to its end.
    pub(crate) fn connect(&mut self) {
        match self.connecting.take() {
            Some(Connecting::Accepted) => {
                self.starved = false;
                self.edge = !self.closed;
            }
            Some(Connecting::Refused) => self.be_reset(),
            found => self.connecting = found,
        }
    }

    /// The attempt will come to an end.
    pub(crate) fn is_pending(&self) -> bool {
        matches!(self.connecting, Some(Connecting::Accepted | Connecting::Refused)) && !self.closed
    }
}

/// A kernel pipe.
#[derive(Debug)]
pub(crate) struct Pipe {
    bytes: VecDeque<u8>,
    /// Octets of each page in use.
    pages: VecDeque<usize>,
    pages_max: usize,
    /// The longest piece that a page refers to.
    piece_max: usize,
}

impl Pipe {
    pub(crate) fn new(random: &mut Random) -> Self {
        Self {
            bytes: VecDeque::new(),
            pages: VecDeque::new(),
            pages_max: random.pick(&[1, 3, 16, 64]),
            piece_max: random.pick(&[300, 1_460, 4_096, 17_000, 66_000]),
        }
    }

    pub(crate) fn held(&self) -> usize {
        self.bytes.len()
    }
}
