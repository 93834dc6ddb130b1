//! What workers share with the threads that steer them: the published table and settings, the phase, the count of clients.

use crate::exchange::Settings;
use crate::net::network::Network;
use crate::route::table::Table;
use arc_swap::ArcSwap;
use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU32, Ordering};
use std::time::Duration;

/// One version of everything that a reload can change. Immutable; a worker looks for a new one once a turn.
#[derive(Debug)]
pub struct Snapshot {
    /// The routes.
    pub table: Table,
    /// What exchanges go by.
    pub settings: Settings,
    /// A client connection at rest between two requests.
    pub idle_timeout: Duration,
    /// A pooled backend connection at rest.
    pub backend_idle_timeout: Duration,
    /// Whose X-Forwarded-* are believed.
    pub trusted: Vec<Network>,
    /// Client connections, over all workers.
    pub connections_max: u32,
}

/// What the process is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Workers have their listeners, and accept nobody yet.
    Starting,
    /// It serves.
    Serving,
    /// It accepts no more, finishes what is open and leaves.
    Leaving,
    /// It leaves at once.
    Ending,
}

/// Shared by all workers; written rarely.
#[derive(Debug)]
pub struct Shared {
    /// The version in force.
    pub snapshot: Arc<ArcSwap<Snapshot>>,
    phase: AtomicU8,
    /// Client connections open, over all workers. Written twice a connection, never on the way of a request.
    pub(super) connections: CachePadded<AtomicU32>,
}

/// Something that many write, in a pair of cache lines of its own (processors fetch them in pairs): what is read once a turn would
/// else have to be fetched anew whenever another worker accepts or closes a connection.
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
    /// A starting process with its first table.
    pub fn new(snapshot: Snapshot) -> Self {
        Self {
            snapshot: Arc::new(ArcSwap::from_pointee(snapshot)),
            phase: AtomicU8::new(Phase::Starting as u8),
            connections: CachePadded::default(),
        }
    }

    /// What the process is about.
    pub fn phase(&self) -> Phase {
        match self.phase.load(Ordering::Acquire) {
            0 => Phase::Starting,
            1 => Phase::Serving,
            2 => Phase::Leaving,
            _ => Phase::Ending,
        }
    }

    /// Sets what the process is about; workers look once a turn, and are to be woken.
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
