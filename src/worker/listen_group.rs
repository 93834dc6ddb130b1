//! The addresses that a worker listens on, and how they change at run time: another thread binds sockets and
//! sends them in order.

use crate::base::Address;
use crate::net;
use crossbeam_queue::ArrayQueue;
use std::any::Any;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

/// Orders queued for one worker. Each is one reload, and a worker takes all of them in its next turn: a full
/// queue means that the worker is stuck.
const ORDERS_MAX: usize = 64;

/// An address that the process listens on. It lives until the last worker has closed its socket there.
#[derive(Debug)]
pub struct ListenGroup {
    /// Unique in this process.
    pub number: u32,
    /// The address, with its actual port.
    pub address: Address,
    owner: AtomicU8,
}

impl ListenGroup {
    /// A listen group for sockets bound to `address`.
    pub fn new(number: u32, address: Address, owner: Ownership) -> Self {
        Self { number, address, owner: AtomicU8::new(owner as u8) }
    }

    /// Current owner of its sockets.
    pub fn owner(&self) -> Ownership {
        match self.owner.load(Ordering::Acquire) {
            0 => Ownership::Exclusive,
            1 => Ownership::Shared,
            _ => Ownership::HandedOver,
        }
    }

    /// Marks its sockets as owned by another process.
    pub fn hand_over(&self) {
        self.owner.store(Ownership::HandedOver as u8, Ordering::Release);
    }
}

/// Owner of a listening socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ownership {
    /// This process alone.
    Exclusive,
    /// All workers, and perhaps the process that passed the socket: a later process may serve the accept
    /// queue.
    Shared,
    /// A process that replaced this one and now accepts from the queue.
    HandedOver,
}

/// A worker's socket of a listen group, bound and listening.
#[derive(Debug)]
pub struct Bound<L = net::Listener> {
    /// The socket.
    pub socket: L,
    /// Its listen group.
    pub group: Arc<ListenGroup>,
}

/// Changes of one reload to the listeners of a worker.
#[derive(Debug)]
pub struct ListenChange<L = net::Listener> {
    /// Sockets to accept from.
    pub listen: Vec<Bound<L>>,
    /// Numbers of the groups to close, each as soon as its accept queue is empty.
    pub close: Vec<u32>,
    /// Dropped when the worker uses the version of this change.
    pub taken: Option<Arc<dyn Any + Send + Sync>>,
}

impl<L> Default for ListenChange<L> {
    fn default() -> Self {
        Self { listen: Vec::new(), close: Vec::new(), taken: None }
    }
}

/// Queue of orders to one worker, with one sender. The worker reads it when a new version is published, so
/// that a request costs no check.
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
    /// Whether there is room for another order.
    pub fn has_room(&self) -> bool {
        !self.0.is_full()
    }

    /// Adds an order.
    ///
    /// # Errors
    /// The queue is full: the order is returned.
    pub fn put(&self, listen_change: ListenChange<L>) -> Result<(), ListenChange<L>> {
        self.0.push(listen_change)
    }

    pub(super) fn take(&self) -> Option<ListenChange<L>> {
        self.0.pop()
    }
}
