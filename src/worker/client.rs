//! A client connection as a worker holds it: small at rest, with an exchange while there is one.

use super::pipes::Pipes;
use super::shared::Snapshot;
use super::wheel::Timer;
use crate::base::Key;
use crate::base::Tick;
use crate::base::UNIX_PREFIX;
use crate::exchange::{ANY_BYTES, Exchange, Readiness, Side};
use crate::net::System;
use crate::net::system::Peer;
use crate::route::health::Admission;
use std::fmt::Write;
use std::rc::Rc;
use std::sync::Arc;

/// The longest text of an address: a whole IPv6 one.
const ADDRESS_BYTES_MAX: usize = 39;

/// A client's address as text, made once a connection; of a client of a Unix socket, which has none, `unix:` as nginx writes it.
#[derive(Debug, Clone, Copy)]
pub(super) struct PeerText {
    bytes: [u8; ADDRESS_BYTES_MAX],
    len: u8,
}

impl PeerText {
    fn new(peer: Peer) -> Self {
        let mut text = Self { bytes: [0; ADDRESS_BYTES_MAX], len: 0 };
        // It always fits, for the address is canonical: an IPv4 one is never written inside an IPv6 one.
        let _ = match peer {
            Peer::Ip(address) => write!(text, "{}", address.to_canonical()),
            Peer::Unix => text.write_str(UNIX_PREFIX),
        };
        text
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }

    /// The address, if there is one.
    pub(super) fn address(&self) -> Option<&[u8]> {
        Some(self.as_bytes()).filter(|text| !text.ends_with(UNIX_PREFIX.as_bytes()))
    }
}

impl Write for PeerText {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        let start = usize::from(self.len);
        let room = self.bytes.get_mut(start..start + text.len()).ok_or(std::fmt::Error)?;
        room.copy_from_slice(text.as_bytes());
        self.len = u8::try_from(start + text.len()).map_err(|_| std::fmt::Error)?;
        Ok(())
    }
}

/// One version of the table as this worker holds it: counted without touching what other workers count.
pub(super) type LocalSnapshot = Rc<Arc<Snapshot>>;

/// From how many octets on a socket tells that there is something to read.
#[derive(Debug, Clone, Copy)]
pub(super) struct LowWater {
    pub(super) octets: usize,
    /// How long more than any are waited for.
    pub(super) until: Tick,
}

impl LowWater {
    pub(super) const ANY: Self = Self { octets: ANY_BYTES, until: Tick::NEVER };
}

/// An exchange with what the worker holds for it.
#[derive(Debug)]
pub(super) struct Active<P> {
    pub(super) exchange: Exchange,
    /// The table that routes it, for all its life.
    pub(super) local: LocalSnapshot,
    /// Its backend connection.
    pub(super) link: Option<Key>,
    /// Whether the endpoint at the other end of that was known to be out.
    pub(super) admission: Admission,
    /// How long its client may be at rest, as long as nothing of a request has come.
    pub(super) rests_until: Tick,
    /// To each side, a part of a segment waits for more.
    corked: [bool; 2],
    /// What each side's socket tells of.
    low_water: [LowWater; 2],
    /// The pipe from client to backend.
    request_pipe: Option<P>,
    /// The pipe from backend to client.
    response_pipe: Option<P>,
}

impl<P> Active<P> {
    pub(super) fn new(local: LocalSnapshot) -> Self {
        Self {
            exchange: Exchange::new(),
            local,
            link: None,
            admission: Admission::Regular,
            rests_until: Tick::NEVER,
            corked: [false; 2],
            low_water: [LowWater::ANY; 2],
            request_pipe: None,
            response_pipe: None,
        }
    }

    /// The pipe that is filled from that side.
    pub(super) fn pipe_from(&mut self, side: Side) -> &mut Option<P> {
        match side {
            Side::Client => &mut self.request_pipe,
            Side::Backend => &mut self.response_pipe,
        }
    }

    /// To that side, a part of a segment waits for more.
    pub(super) fn corked(&mut self, side: Side) -> &mut bool {
        &mut self.corked[side as usize]
    }

    /// What that side's socket tells of.
    pub(super) fn low_water(&mut self, side: Side) -> &mut LowWater {
        &mut self.low_water[side as usize]
    }

    /// Gives pipes back that hold nothing; all of them when the exchange is `over`.
    pub(super) fn settle_pipes<S: System<Pipe = P>>(&mut self, system: &S, pipes: &mut Pipes<P>, over: bool) {
        for pipe in [&mut self.request_pipe, &mut self.response_pipe] {
            if let Some(pipe) = pipe.take_if(|pipe| over || system.held(pipe) == 0) {
                pipes.give(system, pipe);
            }
        }
    }
}

/// A client connection.
#[expect(clippy::struct_excessive_bools, reason = "independent facts, in one word")]
pub(super) struct Client<S: System> {
    pub(super) socket: S::Stream,
    pub(super) peer: PeerText,
    pub(super) trusted: bool,
    /// It came when there were as many as allowed.
    pub(super) over_limit: bool,
    /// It waits in the worker's queue for its next turn.
    pub(super) queued: bool,
    /// It had much to do when it was served last.
    pub(super) is_busy: bool,
    /// It stands in the worker's list of those that wait for much.
    pub(super) low_water_waits: bool,
    /// Empty lines that came since its last request.
    pub(super) empty_lines: u8,
    /// What events have told, while there is no exchange to tell it to.
    pub(super) readiness: Readiness,
    pub(super) deadline: Tick,
    /// When the wheel will ask; never after the deadline.
    pub(super) timer: Timer,
    /// The exchange under way; none at rest.
    pub(super) active: Option<Box<Active<S::Pipe>>>,
}

impl<S: System> Client<S> {
    pub(super) fn new(socket: S::Stream, peer: Peer, trusted: bool) -> Self {
        Self {
            socket,
            peer: PeerText::new(peer),
            trusted,
            over_limit: false,
            queued: false,
            is_busy: false,
            low_water_waits: false,
            empty_lines: 0,
            readiness: Readiness::default(),
            deadline: Tick::NEVER,
            timer: Timer::UNSET,
            active: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::Kernel;

    #[test]
    fn addresses_as_text() {
        for (address, text) in [
            ("127.0.0.1", "127.0.0.1"),
            ("::ffff:10.1.2.3", "10.1.2.3"),
            ("::1", "::1"),
            ("1111:2222:3333:4444:5555:6666:7777:8888", "1111:2222:3333:4444:5555:6666:7777:8888"),
        ] {
            let peer = PeerText::new(Peer::Ip(address.parse().unwrap()));
            assert_eq!((peer.as_bytes(), peer.address()), (text.as_bytes(), Some(text.as_bytes())));
        }
        let peer = PeerText::new(Peer::Unix);
        assert_eq!((peer.as_bytes(), peer.address()), (&b"unix:"[..], None));
    }

    #[test]
    fn a_client_at_rest_is_small() {
        // Ten thousand of them are to cost little more than their sockets.
        assert!(size_of::<Client<Kernel>>() <= 96, "{}", size_of::<Client<Kernel>>());
    }
}
