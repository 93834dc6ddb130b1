//! Counts of the objects that a worker holds, for checks of its bounds.

use super::Worker;
use crate::net::System;

/// Counts of the objects that a worker holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Held {
    /// Listeners, including those that are closing.
    pub listeners: usize,
    /// Client connections.
    pub clients: usize,
    /// Active exchanges.
    pub exchanges: usize,
    /// Backend connections, including idle ones.
    pub links: usize,
    /// Entries of the timer wheel that have an owner.
    pub timers: usize,
    /// Exchanges in the queue of busy exchanges.
    pub queued: usize,
    /// Exchanges in a low-water wait.
    pub low_water_waits: usize,
    /// Large buffers in use.
    pub large_buffers: usize,
}

impl<S: System> Worker<S> {
    /// Counts the objects. Walks the whole worker, so it is not for the path of a request.
    pub fn held(&self) -> Held {
        Held {
            listeners: self.listeners.len(),
            clients: self.clients.len(),
            exchanges: self.exchanges.len(),
            links: self.resources.links.len(),
            timers: self.resources.wheel.owned(),
            queued: self.queue.len(),
            low_water_waits: self.resources.low_water_waits.len(),
            large_buffers: self.resources.buffers.large_used(),
        }
    }

    /// The system that the worker was given.
    pub fn system(&mut self) -> &mut S {
        &mut self.resources.system
    }
}
