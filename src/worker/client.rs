//! A client connection: small while idle, and the client end of an exchange while there is one.

use super::client_end::{ClientEnd, Identity};
use super::wheel::{Timer, Wheel};
use crate::base::{Key, Tick, UNIX_PREFIX};
use crate::exchange::Readiness;
use crate::net::System;
use crate::net::system::Peer;
use std::fmt::Write;
use std::io;

/// Octets of the longest textual address: a full IPv6 address.
const ADDRESS_BYTES_MAX: usize = 39;

/// A client's address as text, made once per connection. For a client of a Unix socket, which has no address:
/// `unix:`, as in nginx.
#[derive(Debug, Clone, Copy)]
pub(super) struct PeerText {
    bytes: [u8; ADDRESS_BYTES_MAX],
    len: u8,
}

impl PeerText {
    fn new(peer: Peer) -> Self {
        let mut text = Self { bytes: [0; ADDRESS_BYTES_MAX], len: 0 };
        // The address always fits: a canonical address is never an IPv4 address in IPv6 notation.
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

/// A client connection.
pub(super) struct Client<S: System> {
    pub(super) stream: S::Stream,
    pub(super) peer: PeerText,
    pub(super) trusted: bool,
    /// Accepted while the number of connections was at the limit.
    pub(super) over_limit: bool,
    /// Empty lines received since the last request.
    pub(super) empty_lines: u8,
    /// Readiness from events that arrived while there was no exchange.
    pub(super) readiness: Readiness,
    pub(super) deadline: Tick,
    /// Fires at the deadline or earlier.
    pub(super) timer: Timer,
    /// The current exchange; `None` while idle.
    pub(super) exchange: Option<Key>,
}

impl<S: System> Client<S> {
    pub(super) fn new(stream: S::Stream, peer: Peer, trusted: bool) -> Self {
        Self {
            stream,
            peer: PeerText::new(peer),
            trusted,
            over_limit: false,
            empty_lines: 0,
            readiness: Readiness::default(),
            deadline: Tick::NEVER,
            timer: Timer::UNSET,
            exchange: None,
        }
    }
}

impl<S: System> ClientEnd<S> for Client<S> {
    fn identity(&self) -> Identity<'_> {
        let Self { peer, trusted, over_limit, .. } = self;
        Identity {
            address: peer.address(),
            name: peer.as_bytes(),
            trusted: *trusted,
            over_limit: *over_limit,
        }
    }

    fn schedule(&mut self, wheel: &mut Wheel<Key>, key: Key, deadline: Tick) {
        self.deadline = deadline;
        wheel.schedule(&mut self.timer, deadline, key);
    }

    fn read(&mut self, system: &mut S, bytes: &mut Vec<u8>) -> io::Result<usize> {
        system.read(&self.stream, bytes)
    }

    fn is_quiet(&mut self, system: &mut S) -> bool {
        system.is_quiet(&self.stream)
    }

    fn write(&mut self, system: &mut S, pieces: [&[u8]; 3], more: bool) -> io::Result<usize> {
        system.write(&self.stream, pieces, more)
    }

    fn fill(&mut self, system: &mut S, pipe: &mut S::Pipe, count_max: usize) -> io::Result<usize> {
        system.fill(&self.stream, pipe, count_max)
    }

    fn drain(&mut self, system: &mut S, pipe: &mut S::Pipe, count_max: usize) -> io::Result<usize> {
        system.drain(&self.stream, pipe, count_max)
    }

    fn push(&mut self, system: &mut S) {
        system.push(&self.stream);
    }

    fn shut_down(&mut self, system: &mut S) {
        system.shut_down(&self.stream);
    }

    fn set_low_water(&mut self, system: &mut S, octets: usize) -> io::Result<()> {
        system.set_low_water(&self.stream, octets)
    }

    fn acknowledged(&mut self, system: &mut S) -> Option<u64> {
        system.acknowledged(&self.stream)
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
        // Ten thousand idle clients must cost little more than their sockets.
        assert!(size_of::<Client<Kernel>>() <= 96, "{}", size_of::<Client<Kernel>>());
    }
}
