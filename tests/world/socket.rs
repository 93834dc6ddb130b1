//! A connection between Apex and one of its peers, as the kernel keeps it: two send queues and two receive buffers of bounded
//! length, and readiness as epoll gives it with EPOLLET.
//!
//! An edge arises when octets, a FIN or a reset arrive, when a connection is made, and when room becomes free after the kernel had
//! said that there was too little; an event then carries all levels as they stand. `SO_RCVLOWAT` holds back the edge of octets,
//! `MSG_MORE` the last octets written, as Linux does.

use super::choices::Choices;
use super::octets::Octets;
use super::pipe::Pipe;
use rustix::io::Errno;
use std::cell::Cell;
use std::io;

/// The longest part of a segment that `MSG_MORE` holds back.
const SEGMENT_BYTES: usize = 1_460;

thread_local! {
    static RAISED: Cell<u64> = const { Cell::new(0) };
}

/// An event that waits to be told, and its place among all: epoll tells in the order in which they came up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Edge(Option<u64>);

impl Edge {
    pub(crate) const NONE: Self = Self(None);

    /// One that comes up now.
    pub(crate) fn now() -> Self {
        Self(Some(RAISED.replace(RAISED.get() + 1)))
    }

    /// It comes up, unless it waits already.
    pub(crate) fn raise(&mut self) {
        if self.0.is_none() {
            *self = Self::now();
        }
    }

    pub(crate) fn is_up(self) -> bool {
        self.0.is_some()
    }

    /// It is told.
    pub(crate) fn take(&mut self) -> bool {
        self.0.take().is_some()
    }
}

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

/// What an event of epoll says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Levels {
    pub(crate) readable: bool,
    pub(crate) writable: bool,
    pub(crate) read_closed: bool,
    pub(crate) gone: bool,
}

/// One connection: the socket that Apex has, and what its peer sees of it.
#[derive(Debug)]
pub(crate) struct Socket {
    pub(crate) connecting: Option<Connecting>,
    /// Octets that Apex has not read yet.
    rx: Octets,
    rx_max: usize,
    /// The peer has closed its sending side.
    rx_fin: bool,
    /// Octets from which on Apex is told that there is something to read.
    low_water: usize,
    /// Octets that the peer's kernel has not acknowledged.
    tx: Octets,
    tx_max: usize,
    /// Octets at the end of those that wait for more.
    corked: usize,
    /// Octets that the peer's kernel has, and the peer has not read.
    far: Octets,
    far_max: usize,
    /// Apex has shut down its sending side.
    tx_fin: bool,
    /// Apex has closed the socket.
    pub(crate) closed: bool,
    /// The peer has closed its socket: what it is sent is answered by a reset.
    pub(crate) peer_closed: bool,
    /// The connection was reset by the peer.
    reset: bool,
    /// The error of that reset was not told yet: the kernel tells it once.
    error: bool,
    /// The connection was reset by Apex: the peer will see it.
    reset_peer: bool,
    /// The kernel has said that there is too little room; an edge is owed.
    starved: bool,
    /// An event is waiting.
    pub(crate) edge: Edge,
    acknowledged: u64,
    /// Octets that Apex has moved, by read and fill, by write and drain, since the count was taken last.
    pub(crate) moved: [usize; 2],
}

/// How long the buffers of a socket are.
#[derive(Debug, Clone, Copy)]
#[expect(clippy::struct_field_names, reason = "each is the most of one buffer")]
pub(crate) struct Sizes {
    /// What Apex has not read.
    pub(crate) rx_max: usize,
    /// What Apex has written, and the peer has not acknowledged.
    pub(crate) tx_max: usize,
    /// What the peer has acknowledged, and not read.
    pub(crate) far_max: usize,
}

impl Sizes {
    pub(crate) fn draw(choices: &mut Choices) -> Self {
        let sizes = [90_000, 700, 2_500, 9_000, 30_000, 300_000];
        Self {
            rx_max: choices.pick(&sizes),
            tx_max: choices.pick(&sizes),
            far_max: choices.pick(&[200, 700, 2_500, 9_000, 30_000, 100_000]),
        }
    }
}

impl Socket {
    /// A connection that is made, or one that is being made.
    pub(crate) fn new(sizes: Sizes, connecting: Option<Connecting>) -> Self {
        Self {
            connecting,
            rx: Octets::default(),
            rx_max: sizes.rx_max,
            rx_fin: false,
            low_water: 1,
            tx: Octets::default(),
            tx_max: sizes.tx_max,
            corked: 0,
            far: Octets::default(),
            far_max: sizes.far_max,
            tx_fin: false,
            closed: false,
            peer_closed: false,
            reset: false,
            error: false,
            reset_peer: false,
            starved: false,
            // A socket that is registered while it is ready has an event at once.
            edge: if connecting.is_none() { Edge::now() } else { Edge::NONE },
            acknowledged: 0,
            moved: [0; 2],
        }
    }

    // What Apex does with it.

    /// recv(2) of at most `room` octets.
    pub(crate) fn read(&mut self, into: &mut Vec<u8>, room: usize) -> io::Result<usize> {
        if self.rx.is_empty() {
            return self.nothing_to_read();
        }
        let count = room.min(self.rx.len());
        self.rx.take(count, into);
        self.moved[0] += count;
        Ok(count)
    }

    fn nothing_to_read(&mut self) -> io::Result<usize> {
        if std::mem::take(&mut self.error) {
            Err(Errno::CONNRESET.into())
        } else if self.rx_fin || self.reset {
            Ok(0)
        } else {
            Err(Errno::AGAIN.into())
        }
    }

    /// sendmsg(2), which takes at most `count_max` octets now.
    pub(crate) fn write(&mut self, pieces: &[&[u8]], more: bool, count_max: usize) -> io::Result<usize> {
        let offered: usize = pieces.iter().map(|piece| piece.len()).sum();
        let room = self.room()?.min(count_max);
        let mut left = room;
        for piece in pieces {
            let taken = piece.len().min(left);
            self.tx.append(&piece[..taken]);
            left -= taken;
        }
        let count = offered.min(room);
        self.corked = if more && count == offered { self.corked + count } else { 0 };
        self.wrote(count, offered);
        Ok(count)
    }

    fn wrote(&mut self, count: usize, offered: usize) {
        self.corked = self.corked.min(self.tx.len()) % SEGMENT_BYTES;
        self.starved |= count < offered;
        self.moved[1] += count;
        // What a closed socket is sent is answered by a reset.
        if self.peer_closed {
            self.far.clear();
            self.be_reset();
        } else {
            self.deliver();
        }
    }

    /// Room for octets to the peer, never 0.
    fn room(&mut self) -> io::Result<usize> {
        if self.reset || self.tx_fin {
            self.error = false;
            return Err(Errno::PIPE.into());
        }
        let room = if self.connecting.is_some() { 0 } else { self.tx_max.saturating_sub(self.tx.len()) };
        if room == 0 {
            self.starved = true;
            return Err(Errno::AGAIN.into());
        }
        Ok(room)
    }

    /// The network takes what the peer's kernel has room for.
    fn deliver(&mut self) {
        let room = self.far_max.saturating_sub(self.far.len());
        let count = (self.tx.len() - self.corked).min(room);
        self.tx.pass(count, &mut self.far);
        self.acknowledged += u64::try_from(count).expect("a usize fits 64 bits");
    }

    /// splice(2) from the socket into a pipe.
    pub(crate) fn fill(&mut self, pipe: &mut Pipe, max: usize, choices: &mut Choices) -> io::Result<usize> {
        if !pipe.has_room() {
            return Err(Errno::AGAIN.into());
        }
        if self.rx.is_empty() {
            return self.nothing_to_read();
        }
        let count = pipe.fill(&mut self.rx, max, choices);
        self.moved[0] += count;
        Ok(count)
    }

    /// splice(2) from a pipe into the socket.
    pub(crate) fn drain(&mut self, pipe: &mut Pipe, max: usize) -> io::Result<usize> {
        let room = self.room()?;
        let offered = max.min(pipe.held());
        let count = offered.min(room);
        pipe.drain(count, &mut self.tx);
        self.corked = 0;
        self.wrote(count, offered);
        Ok(count)
    }

    /// Sends what waits for more.
    pub(crate) fn push(&mut self) {
        self.corked = 0;
        self.deliver();
    }

    /// Octets that wait for more, although nothing else keeps them here.
    pub(crate) fn is_corked(&self) -> bool {
        self.corked > 0 && !self.reset && !self.closed
    }

    pub(crate) fn shutdown(&mut self) {
        self.push();
        self.tx_fin = true;
    }

    /// `SO_RCVLOWAT`: lowered to what is there, it is told at once.
    pub(crate) fn set_low_water(&mut self, octets: usize) {
        self.low_water = octets.max(1);
        self.tell_of_octets();
    }

    fn raise(&mut self) {
        if !self.closed {
            self.edge.raise();
        }
    }

    fn tell_of_octets(&mut self) {
        if self.is_readable() {
            self.raise();
        }
    }

    /// Octets that the peer's kernel has taken.
    pub(crate) fn acknowledged(&self) -> u64 {
        self.acknowledged
    }

    /// Closes Apex's socket. Octets that were not read turn the close into a reset, to which the peer may lose octets that it
    /// has not read yet.
    pub(crate) fn close(&mut self) {
        self.closed = true;
        self.edge = Edge::NONE;
        self.push();
        self.tx_fin = true;
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
        self.far.clear();
        self.corked = 0;
    }

    /// The levels that an event carries. Asking them while there is too little room means that an edge is owed.
    pub(crate) fn levels(&mut self) -> Levels {
        let writable = self.reset || (self.connecting.is_none() && self.has_room());
        self.starved |= !writable;
        let ended = self.rx_fin || self.reset;
        Levels {
            readable: self.is_readable(),
            writable,
            read_closed: ended,
            gone: self.reset || (self.rx_fin && self.tx_fin),
        }
    }

    fn is_readable(&self) -> bool {
        let is_full = self.rx.len() >= self.rx_max;
        let enough = self.rx.len() >= self.low_water || (is_full && !self.rx.is_empty());
        enough || self.rx_fin || self.reset
    }

    /// Linux calls a socket writable when a third of its buffer is free.
    fn has_room(&self) -> bool {
        self.tx_max.saturating_sub(self.tx.len()) * 3 >= self.tx_max
    }

    /// Nothing came that Apex has not read, and nothing ended.
    pub(crate) fn is_quiet(&self) -> bool {
        self.rx.is_empty() && !self.rx_fin && !self.reset
    }

    /// Apex has sent something, or its end.
    pub(crate) fn was_written_to(&self) -> bool {
        self.tx_fin || self.acknowledged > 0 || !self.tx.is_empty()
    }

    pub(crate) fn is_reset(&self) -> bool {
        self.reset
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
        self.rx.append(bytes);
        self.tell_of_octets();
    }

    pub(crate) fn peer_finish(&mut self) {
        if !self.rx_fin && !self.reset {
            self.rx_fin = true;
            self.raise();
        }
    }

    /// Closes the peer's socket: octets that it has not read turn that into a reset.
    pub(crate) fn peer_close(&mut self) {
        if self.far.is_empty() {
            self.peer_finish();
            self.peer_closed = true;
            // What is still on its way arrives at a closed socket.
            if !self.tx.is_empty() && !self.reset {
                self.be_reset();
            }
        } else {
            self.be_reset();
        }
    }

    pub(crate) fn be_reset(&mut self) {
        self.tx.clear();
        self.far.clear();
        self.corked = 0;
        if !self.reset {
            self.reset = true;
            self.error = true;
            self.raise();
        }
    }

    /// Octets that wait for the peer.
    pub(crate) fn peer_pending(&self) -> usize {
        self.far.len()
    }

    /// What waits for the peer, here and on the way.
    pub(crate) fn unread_by_peer(&self) -> [&[u8]; 2] {
        [self.far.front(), self.tx.front()]
    }

    pub(crate) fn peer_receive(&mut self, into: &mut Vec<u8>, max: usize) {
        let count = max.min(self.far.len());
        self.far.take(count, into);
        self.deliver();
        if self.starved && !self.closed && self.has_room() {
            self.starved = false;
            self.raise();
        }
    }

    /// Whether the stream to the peer ends here.
    pub(crate) fn peer_end(&self) -> Option<End> {
        if self.reset_peer {
            Some(End::Reset)
        } else {
            (self.tx_fin && self.tx.is_empty() && self.far.is_empty()).then_some(End::Fin)
        }
    }

    /// A connection attempt comes to its end.
    pub(crate) fn connect(&mut self) {
        match self.connecting.take() {
            Some(Connecting::Accepted) => {
                self.starved = false;
                self.raise();
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

#[cfg(test)]
mod tests {
    use super::*;

    const SIZES: Sizes = Sizes { rx_max: 300, tx_max: 300, far_max: 100 };

    fn open() -> Socket {
        let mut socket = Socket::new(SIZES, None);
        assert!(socket.edge.is_up());
        socket.levels();
        socket.edge.take();
        socket
    }

    fn errno(result: io::Result<usize>) -> Option<Errno> {
        result.err().and_then(|error| Errno::from_io_error(&error))
    }

    #[test]
    fn an_edge_comes_with_octets_and_not_with_what_is_left_of_them() {
        let mut socket = open();
        socket.peer_send(b"abc");
        assert!(socket.edge.take());
        assert_eq!(socket.read(&mut Vec::new(), 2).unwrap(), 2);
        assert!(!socket.edge.is_up() && socket.levels().readable);
        assert_eq!(socket.read(&mut Vec::new(), 2).unwrap(), 1);
        assert_eq!(errno(socket.read(&mut Vec::new(), 2)), Some(Errno::AGAIN));
        socket.peer_finish();
        assert!(socket.edge.is_up() && socket.levels().read_closed);
        assert_eq!(socket.read(&mut Vec::new(), 2).unwrap(), 0);
    }

    #[test]
    fn room_is_told_of_only_where_it_was_asked_for_and_a_third_is_free() {
        let mut socket = open();
        assert_eq!(socket.write(&[&[1; 300]], false, usize::MAX).unwrap(), 300);
        // A third went to the peer's kernel at once; nobody was told that there is too little.
        assert_eq!(socket.acknowledged(), 100);
        assert_eq!(socket.write(&[&[1; 200]], false, usize::MAX).unwrap(), 100);
        assert_eq!(errno(socket.write(&[b"a"], false, usize::MAX)), Some(Errno::AGAIN));
        socket.peer_receive(&mut Vec::new(), 99);
        assert!(!socket.edge.is_up(), "less than a third is free");
        socket.peer_receive(&mut Vec::new(), 1);
        assert!(socket.edge.is_up() && socket.levels().writable);
    }

    #[test]
    fn much_is_told_of_when_it_is_there_or_no_more_can_come() {
        let mut socket = open();
        socket.set_low_water(200);
        socket.peer_send(&[1; 199]);
        assert!(!socket.edge.is_up() && !socket.levels().readable);
        socket.set_low_water(199);
        assert!(socket.edge.take());
        socket.set_low_water(400);
        socket.peer_send(&[1; 101]);
        assert!(socket.edge.is_up(), "the buffer is full");
    }

    #[test]
    fn what_waits_for_more_stays_until_it_is_pushed() {
        let mut socket = open();
        assert_eq!(socket.write(&[b"head"], true, usize::MAX).unwrap(), 4);
        assert!(socket.is_corked() && socket.peer_pending() == 0);
        socket.push();
        assert!(!socket.is_corked() && socket.peer_pending() == 4);
        socket.write(&[b"a"], true, usize::MAX).unwrap();
        socket.write(&[b"b"], false, usize::MAX).unwrap();
        assert_eq!(socket.peer_pending(), 6);
    }

    #[test]
    fn a_close_with_octets_unread_is_a_reset() {
        let mut socket = open();
        socket.write(&[b"answer"], false, usize::MAX).unwrap();
        socket.peer_send(b"rest");
        socket.close();
        assert_eq!((socket.peer_end(), socket.peer_pending()), (Some(End::Reset), 0));
        let mut socket = open();
        socket.write(&[b"answer"], false, usize::MAX).unwrap();
        socket.close();
        assert_eq!(socket.peer_end(), None);
        socket.peer_receive(&mut Vec::new(), 6);
        assert_eq!(socket.peer_end(), Some(End::Fin));
        // And what comes late finds nobody.
        socket.peer_send(b"late");
        assert_eq!(socket.peer_end(), Some(End::Reset));
    }

    #[test]
    fn a_write_to_who_has_closed_succeeds_once() {
        let mut socket = open();
        socket.peer_close();
        assert_eq!(socket.write(&[b"a"], false, usize::MAX).unwrap(), 1);
        assert_eq!(errno(socket.write(&[b"b"], false, usize::MAX)), Some(Errno::PIPE));
        assert!(socket.levels().gone);
    }

    #[test]
    fn a_refused_attempt_is_a_reset_and_a_lost_one_is_nothing() {
        for (connecting, is_told) in [(Connecting::Refused, true), (Connecting::Lost, false)] {
            let mut socket = Socket::new(SIZES, Some(connecting));
            assert_eq!(errno(socket.write(&[b"a"], false, usize::MAX)), Some(Errno::AGAIN));
            socket.connect();
            assert_eq!((socket.edge.is_up(), socket.levels().gone), (is_told, is_told));
        }
    }
}
