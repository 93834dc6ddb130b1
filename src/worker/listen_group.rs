//! Where a worker listens, and how that changes while it runs: sockets are bound by another thread and handed over in order.

use crossbeam_queue::ArrayQueue;
use std::convert::Infallible;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::mpsc::Sender;

/// Orders that wait for one worker. Each is a reload, and a worker takes them at its next turn: one that has so many waiting is
/// stuck.
const ORDERS_MAX: usize = 64;

/// An address that the process listens on. It lives until the last worker has closed its socket there.
#[derive(Debug)]
pub struct ListenGroup {
    /// No other place of this process has it.
    pub number: u32,
    /// The address, with the port that it was given.
    pub address: SocketAddr,
    owner: AtomicU8,
}

impl ListenGroup {
    /// A place that sockets are bound at.
    pub fn new(number: u32, address: SocketAddr, owner: Ownership) -> Self {
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
pub struct Bound {
    /// The socket.
    pub socket: TcpListener,
    /// Its place.
    pub group: Arc<ListenGroup>,
}

/// What one reload changes about where a worker listens.
#[derive(Debug, Default)]
pub struct ListenChange {
    /// Sockets to accept from.
    pub listen: Vec<Bound>,
    /// Places to leave, by number, once nobody waits there any more.
    pub close: Vec<u32>,
    /// Nothing is ever sent: it is dropped when the worker goes by the version that the order came with.
    pub taken: Option<Sender<Infallible>>,
}

/// The way of orders to one worker. One thread puts them in; the worker looks when a new version is published, so that nothing
/// is looked at on the way of a request.
#[derive(Debug, Clone)]
pub(super) struct Mailbox(Arc<ArrayQueue<ListenChange>>);

impl Mailbox {
    pub(super) fn new() -> Self {
        Self(Arc::new(ArrayQueue::new(ORDERS_MAX)))
    }

    pub(super) fn has_room(&self) -> bool {
        !self.0.is_full()
    }

    /// Gives the order back where there is no room.
    pub(super) fn put(&self, listen_change: ListenChange) -> Result<(), ListenChange> {
        self.0.push(listen_change)
    }

    pub(super) fn take(&self) -> Option<ListenChange> {
        self.0.pop()
    }
}
