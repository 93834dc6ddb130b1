//! State shared by workers and control threads: the snapshot in force, the phase, the number of client
//! connections.

use crate::exchange::Settings;
use crate::net::network::Network;
use crate::route::table::Table;
use arc_swap::ArcSwap;
use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU32, Ordering};
use std::time::Duration;

/// One version of everything that a reload can change. Immutable. Workers check for a new one once per turn.
#[derive(Debug)]
pub struct Snapshot {
    /// The routes.
    pub table: Table,
    /// Settings of exchanges.
    pub settings: Settings,
    /// Timeout of an idle client connection.
    pub idle_timeout: Duration,
    /// Timeout of an idle backend connection.
    pub backend_idle_timeout: Duration,
    /// Peers whose X-Forwarded-* fields are trusted.
    pub trusted: Vec<Network>,
    /// Limit of client connections, over all workers.
    pub connections_max: u32,
}

/// Lifecycle phase of the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Workers have their listeners, but do not accept clients yet.
    Starting,
    /// Serving.
    Serving,
    /// Accepts no new clients, finishes open exchanges, then exits.
    Leaving,
    /// Exits at once.
    Ending,
}

/// Shared by all workers; written rarely.
#[derive(Debug)]
pub struct Shared {
    /// The snapshot in force.
    pub snapshot: Arc<ArcSwap<Snapshot>>,
    phase: AtomicU8,
    /// Open client connections, over all workers. Written twice per connection, never per request.
    pub(super) connections: CachePadded<AtomicU32>,
}

/// A value with many writers, alone in a pair of cache lines (processors fetch lines in pairs). Otherwise
/// each accept or close by another worker would evict data that this worker reads once per turn.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(super) struct CachePadded<T>(T);

impl<T> Deref for CachePadded<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl Shared {
    /// State of a starting process with its first snapshot.
    pub fn new(snapshot: Snapshot) -> Self {
        Self {
            snapshot: Arc::new(ArcSwap::from_pointee(snapshot)),
            phase: AtomicU8::new(Phase::Starting as u8),
            connections: CachePadded::default(),
        }
    }

    /// The current phase.
    pub fn phase(&self) -> Phase {
        match self.phase.load(Ordering::Acquire) {
            0 => Phase::Starting,
            1 => Phase::Serving,
            2 => Phase::Leaving,
            _ => Phase::Ending,
        }
    }

    /// Sets the phase. Workers read it once per turn; the caller must wake them.
    pub fn set_phase(&self, phase: Phase) {
        self.phase.store(phase as u8, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::mem::offset_of;

    #[test]
    fn what_is_read_each_turn_stands_apart_from_what_each_connection_writes() {
        let connections = offset_of!(Shared, connections);
        for read in [offset_of!(Shared, snapshot), offset_of!(Shared, phase)] {
            assert_ne!(read / 128, connections / 128);
        }
        assert_eq!(align_of::<Shared>(), 128);
    }
}
