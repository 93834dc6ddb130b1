//! Where a worker listens, and how that changes while it runs: sockets are bound by another thread and handed over in order.

use crate::base::Address;
use crate::net;
use crossbeam_queue::ArrayQueue;
use std::any::Any;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

/// Orders that wait for one worker. Each is a reload, and a worker takes them at its next turn: one that has so many waiting is
/// stuck.
const ORDERS_MAX: usize = 64;

/// An address that the process listens on. It lives until the last worker has closed its socket there.
#[derive(Debug)]
pub struct ListenGroup {
    /// No other place of this process has it.
    pub number: u32,
    /// The address, with the port that it was given.
    pub address: Address,
    owner: AtomicU8,
}

impl ListenGroup {
    /// A place that sockets are bound at.
    pub fn new(number: u32, address: Address, owner: Ownership) -> Self {
        Self { number, address, owner: AtomicU8::new(owner as u8) }
    }

    /// Who has its sockets.
    pub fn owner(&self) -> Ownership {
        match self.owner.load(Ordering::Acquire) {
            0 => Ownership::Exclusive,
            1 => Ownership::Shared,
            _ => Ownership::HandedOver,
        }
    }

    /// Its sockets are another process's from now on.
    pub fn hand_over(&self) {
        self.owner.store(Ownership::HandedOver as u8, Ordering::Release);
    }
}

/// Who has a socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ownership {
    /// This process alone.
    Exclusive,
    /// All workers, and maybe the process that handed it down: who waits there may be served by a later one.
    Shared,
    /// A process that has taken this one's place, and accepts who waits there.
    HandedOver,
}

/// A worker's own socket at a place, bound and listening.
#[derive(Debug)]
pub struct Bound<L = net::Listener> {
    /// The socket.
    pub socket: L,
    /// Its place.
    pub group: Arc<ListenGroup>,
}

/// What one reload changes about where a worker listens.
#[derive(Debug)]
pub struct ListenChange<L = net::Listener> {
    /// Sockets to accept from.
    pub listen: Vec<Bound<L>>,
    /// Places to leave, by number, once nobody waits there any more.
    pub close: Vec<u32>,
    /// It is dropped when the worker goes by the version that the change came with.
    pub taken: Option<Arc<dyn Any + Send + Sync>>,
}

impl<L> Default for ListenChange<L> {
    fn default() -> Self {
        Self { listen: Vec::new(), close: Vec::new(), taken: None }
    }
}

/// The way of orders to one worker. One thread puts them in; the worker looks when a new version is published, so that nothing
/// is looked at on the way of a request.
#[derive(Debug)]
pub struct Mailbox<L = net::Listener>(Arc<ArrayQueue<ListenChange<L>>>);

impl<L> Clone for Mailbox<L> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<L> Default for Mailbox<L> {
    fn default() -> Self {
        Self(Arc::new(ArrayQueue::new(ORDERS_MAX)))
    }
}

impl<L> Mailbox<L> {
    /// Is there room for another order?
    pub fn has_room(&self) -> bool {
        !self.0.is_full()
    }

    /// Adds an order.
    ///
    /// # Errors
    /// The order comes back where there is no room.
    pub fn put(&self, listen_change: ListenChange<L>) -> Result<(), ListenChange<L>> {
        self.0.push(listen_change)
    }

    pub(super) fn take(&self) -> Option<ListenChange<L>> {
        self.0.pop()
    }
}
