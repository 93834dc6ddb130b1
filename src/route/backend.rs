//! A backend as all workers see it: its addresses, and the few counts that they share.
//!
//! Owns the marks that say whether it can be tried. Never resolves a name and never connects: it is told what came of it.

use super::spec::BackendAddress;
use arc_swap::ArcSwap;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// The mark of a backend whose name does not resolve (yet): a time that never comes.
const UNRESOLVED: u64 = u64::MAX;

/// Names one backend for as long as it lives, so that a worker can hold an idle pool for it: a small slot, used again after
/// the backend is gone, and a generation that is never used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct BackendId {
    /// Index into a worker's idle pools.
    pub slot: u32,
    /// Tells two backends that had the same slot apart.
    pub generation: u32,
}

/// One backend. Shared by the tables that name it and by the workers; kept over a reload that does not change its address.
#[derive(Debug)]
pub struct Backend {
    /// Its id.
    pub id: BackendId,
    /// Where the file says it is.
    pub address: BackendAddress,
    /// `host:port` as text (for the log and for Host), an IPv6 address in brackets.
    pub authority: String,
    is_named: bool,
    /// What its name resolves to now; empty: it does not resolve, the backend is down. Written by [`Backend::resolved`].
    pub addresses: ArcSwap<Vec<SocketAddr>>,
    /// Exchanges under way, counted only for `least_connections`.
    pub in_use: AtomicU32,
    /// Until when (microseconds of the process clock) it is passed over because a connection to it failed; 0: usable;
    /// `u64::MAX`: its name does not resolve. Written by [`Backend::resolved`] and [`Backend::failed`].
    pub failed_until_us: AtomicU64,
}

impl Backend {
    /// A backend that was never tried. An address is resolved at once; a name waits for [`Backend::resolved`].
    pub fn new(id: BackendId, address: BackendAddress) -> Self {
        let literal = address.host.parse::<IpAddr>().ok();
        let addresses: Vec<_> = literal.iter().map(|&ip| SocketAddr::new(ip, address.port)).collect();
        Self {
            id,
            authority: address.authority(),
            address,
            is_named: literal.is_none(),
            addresses: ArcSwap::from_pointee(addresses),
            in_use: AtomicU32::new(0),
            failed_until_us: AtomicU64::new(if literal.is_some() { 0 } else { UNRESOLVED }),
        }
    }

    /// Can it be tried at `now_us`? One relaxed load, for every request asks.
    ///
    /// A resolver may empty the addresses between this answer and their use: who dials looks again.
    pub fn is_usable(&self, now_us: u64) -> bool {
        self.failed_until_us.load(Ordering::Relaxed) <= now_us
    }

    /// Does its name resolve, whether or not connections to it failed lately?
    pub fn is_resolved(&self) -> bool {
        self.failed_until_us.load(Ordering::Relaxed) != UNRESOLVED
    }

    /// Was it named by a name, which a resolver keeps fresh? One named by an address is never resolved.
    pub fn needs_resolving(&self) -> bool {
        self.is_named
    }

    /// Stores what its name resolves to now; empty: it does not resolve, and the backend is not used until it does.
    ///
    /// The mark of failed connections is kept where the addresses are the same (in any order, as resolvers turn them), for
    /// then nothing was learnt about them.
    pub fn resolved(&self, addresses: Vec<SocketAddr>) {
        let before = self.addresses.load_full();
        let resolves = !addresses.is_empty();
        let same = before.len() == addresses.len() && addresses.iter().all(|one| before.contains(one));
        // The addresses are there before the mark says so.
        self.addresses.store(addresses.into());
        if !resolves {
            self.failed_until_us.store(UNRESOLVED, Ordering::Release);
        } else if !same {
            self.failed_until_us.store(0, Ordering::Release);
        }
    }

    /// Passes it over until `until_us` (microseconds of the process clock), for a connection to it failed. 0 takes that back.
    /// An unresolved backend stays unresolved.
    pub fn failed(&self, until_us: u64) {
        let until_us = until_us.min(UNRESOLVED - 1);
        // The result is the mark before, or that it was left alone: nothing is asked of either.
        let _ = self.failed_until_us.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |mark| {
            (mark != UNRESOLVED && mark != until_us).then_some(until_us)
        });
    }

    /// Counts an exchange that begins on it. Only `least_connections` asks for this count.
    pub fn begin(&self) {
        self.in_use.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts the end of an exchange that was counted by [`Backend::begin`].
    pub fn end(&self) {
        let before = self.in_use.fetch_sub(1, Ordering::Relaxed);
        debug_assert!(before > 0, "an exchange ended that never began");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn backend(url: &str) -> Backend {
        Backend::new(BackendId { slot: 0, generation: 0 }, BackendAddress::parse_url(url).unwrap())
    }

    #[test]
    fn literals_are_there_at_once() {
        for (url, authority, address) in [
            ("http://127.0.0.1", "127.0.0.1:80", "127.0.0.1:80"),
            ("http://[::1]:9001", "[::1]:9001", "[::1]:9001"),
        ] {
            let backend = backend(url);
            assert!(backend.is_usable(0) && !backend.needs_resolving());
            assert_eq!(backend.authority, authority);
            assert_eq!(**backend.addresses.load(), [address.parse().unwrap()]);
        }
    }

    #[test]
    fn names_wait_for_their_addresses() {
        let backend = backend("http://origin:9001");
        assert!(backend.needs_resolving() && !backend.is_resolved());
        assert!(!backend.is_usable(u64::MAX - 1));
        backend.failed(5);
        backend.failed(0);
        assert!(!backend.is_resolved(), "a failure does not resolve a name");
        backend.resolved(vec!["10.0.0.1:9001".parse().unwrap(), "10.0.0.2:9001".parse().unwrap()]);
        assert!(backend.is_usable(0));
        backend.failed(100);
        assert!(!backend.is_usable(99) && backend.is_usable(100) && backend.is_resolved());
        backend.resolved(vec!["10.0.0.2:9001".parse().unwrap(), "10.0.0.1:9001".parse().unwrap()]);
        assert!(!backend.is_usable(99), "the same addresses keep their mark");
        backend.resolved(vec!["10.0.0.3:9001".parse().unwrap()]);
        assert!(backend.is_usable(0), "other addresses begin afresh");
        backend.resolved(Vec::new());
        assert!(!backend.is_resolved());
        backend.resolved(vec!["10.0.0.3:9001".parse().unwrap()]);
        assert!(backend.is_usable(0));
        backend.failed(u64::MAX);
        assert!(backend.is_resolved());
    }

    #[test]
    fn exchanges_are_counted() {
        let backend = backend("http://127.0.0.1");
        backend.begin();
        backend.begin();
        backend.end();
        assert_eq!(backend.in_use.load(Ordering::Relaxed), 1);
    }
}
