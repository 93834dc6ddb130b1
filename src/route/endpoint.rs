//! An endpoint: one current address of a backend, with its own health, load, and idle connections in each
//! worker.
//!
//! Owns the ids by which workers tell endpoints apart. Never resolves a name and never connects.

use super::backend::Backend;
use super::health::{Failure, Health};
use crate::base::Address;
use arc_swap::Guard;
use crossbeam_queue::SegQueue;
use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

/// Identifies one endpoint, so that a worker can keep an idle pool for it: a small slot, which is reused
/// after the endpoint is gone, and a generation, which is not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct EndpointId {
    /// The index into a worker's idle pools.
    pub slot: u32,
    /// Tells endpoints of the same slot apart.
    pub generation: u32,
}

/// Assigns the ids of endpoints. One instance for all tables of a chain.
#[derive(Debug, Default)]
pub struct EndpointIds {
    /// Slots of endpoints that are gone.
    free: SegQueue<u32>,
    /// The lowest slot that was never used.
    next: AtomicU32,
    generation: AtomicU32,
    /// The number of endpoints retired so far.
    retired: AtomicU32,
}

impl EndpointIds {
    fn take(&self) -> EndpointId {
        let slot = self.free.pop().unwrap_or_else(|| self.next.fetch_add(1, Ordering::Relaxed));
        EndpointId { slot, generation: self.generation.fetch_add(1, Ordering::Relaxed) }
    }

    /// Changes whenever an endpoint is retired: workers then close its idle connections.
    pub fn retired(&self) -> u32 {
        self.retired.load(Ordering::Acquire)
    }
}

/// One address of a backend, shared by the workers. Its slot is reused once no backend has it and no
/// connection leads to it.
#[derive(Debug)]
pub struct Endpoint {
    /// Its id.
    pub id: EndpointId,
    /// Its failures, and whether it may be tried.
    pub health: Health,
    /// Exchanges under way, counted only for `least_connections`.
    in_use: AtomicU32,
    is_retired: AtomicBool,
    /// Its address.
    pub address: Address,
    ids: Arc<EndpointIds>,
}

impl Endpoint {
    pub(super) fn new(address: Address, ids: &Arc<EndpointIds>) -> Self {
        Self {
            id: ids.take(),
            health: Health::default(),
            in_use: AtomicU32::new(0),
            is_retired: AtomicBool::new(false),
            address,
            ids: Arc::clone(ids),
        }
    }

    /// Its backend no longer has this address, or is gone itself: its connections are not kept.
    pub fn is_retired(&self) -> bool {
        self.is_retired.load(Ordering::Relaxed)
    }

    pub(super) fn retire(&self) {
        if !self.is_retired.swap(true, Ordering::Relaxed) {
            self.ids.retired.fetch_add(1, Ordering::Release);
        }
    }

    /// Exchanges under way on it. Only `least_connections` needs it.
    pub fn load(&self) -> u32 {
        self.in_use.load(Ordering::Relaxed)
    }

    /// Counts an exchange that begins on it.
    pub fn begin(&self) {
        self.in_use.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts the end of an exchange that [`Endpoint::begin`] counted.
    pub fn end(&self) {
        let before = self.in_use.fetch_sub(1, Ordering::Relaxed);
        debug_assert!(before > 0, "an exchange ended that never began");
    }
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        self.ids.free.push(self.id.slot);
    }
}

/// A chosen endpoint, borrowed for the moment of the choice, without a reference count that workers share.
#[derive(Debug)]
pub enum Chosen<'a> {
    /// The endpoint of a backend named by an address.
    Own(&'a Arc<Backend>, &'a Endpoint),
    /// One endpoint of a backend named by a host name.
    Listed(Guard<Arc<Vec<Arc<Endpoint>>>>, usize),
}

impl Chosen<'_> {
    /// Holds it, as a connection does.
    pub fn hold(&self) -> HeldEndpoint {
        match self {
            Self::Own(backend, _) => HeldEndpoint(Held::Own(Arc::clone(backend))),
            Self::Listed(endpoints, at) => HeldEndpoint(Held::Listed(Arc::clone(&endpoints[*at]))),
        }
    }
}

impl Deref for Chosen<'_> {
    type Target = Endpoint;

    #[inline]
    fn deref(&self) -> &Endpoint {
        match self {
            Self::Own(_, endpoint) => endpoint,
            Self::Listed(endpoints, at) => &endpoints[*at],
        }
    }
}

/// An endpoint held by a connection: while one exists, its slot is not reused.
#[derive(Debug, Clone)]
pub struct HeldEndpoint(Held);

#[derive(Debug, Clone)]
enum Held {
    Own(Arc<Backend>),
    Listed(Arc<Endpoint>),
}

impl Deref for HeldEndpoint {
    type Target = Endpoint;

    #[inline]
    fn deref(&self) -> &Endpoint {
        match &self.0 {
            Held::Own(backend) => match backend.own() {
                Some(endpoint) => endpoint,
                None => unreachable!("it is held by its backend only where the backend is it"),
            },
            Held::Listed(endpoint) => endpoint,
        }
    }
}

/// A failed try of an exchange.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Try {
    /// The endpoint that was tried.
    pub endpoint: EndpointId,
    /// The reason of the failure.
    pub failure: Failure,
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;
    use std::path::Path;

    fn endpoint(ids: &Arc<EndpointIds>) -> Endpoint {
        Endpoint::new(Address::Unix(Path::new("/run/app.sock").into()), ids)
    }

    #[test]
    fn a_slot_is_given_again_and_an_id_never() {
        let ids = Arc::default();
        let mut seen = HashSet::new();
        let mut live = Vec::new();
        for round in 0..1_000 {
            let new = endpoint(&ids);
            assert!(seen.insert(new.id), "{:?} was given before", new.id);
            assert!(new.id.slot < 8, "slots stay low: {:?}", new.id);
            live.push(new);
            let slots: HashSet<_> = live.iter().map(|one| one.id.slot).collect();
            assert_eq!(slots.len(), live.len(), "a slot has one endpoint");
            if live.len() > 7 {
                live.swap_remove(round % 8);
            }
        }
    }

    #[test]
    fn exchanges_are_counted() {
        let endpoint = endpoint(&Arc::default());
        endpoint.begin();
        endpoint.begin();
        endpoint.end();
        assert_eq!(endpoint.load(), 1);
    }

    #[test]
    fn an_endpoint_goes_once() {
        let ids = Arc::default();
        let endpoint = endpoint(&ids);
        endpoint.retire();
        endpoint.retire();
        assert!(endpoint.is_retired());
        assert_eq!(ids.retired(), 1);
    }
}
