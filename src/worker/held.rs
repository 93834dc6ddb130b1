//! What a worker holds at a moment, counted: for who checks that it stays within bounds.

use super::Worker;
use crate::net::System;

/// Counts of what a worker holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Held {
    /// Listeners, those that are about to close among them.
    pub listeners: usize,
    /// Client connections.
    pub clients: usize,
    /// Exchanges under way.
    pub exchanges: usize,
    /// Backend connections, those at rest among them.
    pub links: usize,
    /// Entries of the timer wheel that have an owner.
    pub timers: usize,
    /// Exchanges that wait for their next turn.
    pub queued: usize,
    /// Exchanges that wait for much.
    pub low_water_waits: usize,
    /// Large buffers in use.
    pub large_buffers: usize,
}

impl<S: System> Worker<S> {
    /// What it holds now. It walks through everything: nothing for the way of a request.
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

    /// The system that it was given.
    pub fn system(&mut self) -> &mut S {
        &mut self.resources.system
    }
}
