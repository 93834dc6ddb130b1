//! A listening socket: connections that the kernel has made wait in its queue to be accepted.

use super::pace::SECOND;
use super::socket::Edge;
use apex::base::Key;
use std::collections::VecDeque;

/// Clients in the queue of a listener that closes are served; those that come for longer than this are reset.
const CLOSES_WITHIN: u64 = 5 * SECOND;

/// A listening socket, as the kernel keeps it.
#[derive(Debug)]
pub(crate) struct Listener {
    queue: VecDeque<usize>,
    pub(crate) key: Option<Key>,
    pub(crate) edge: Edge,
    closed: bool,
    /// Segments that would open a connection are dropped.
    pub(crate) begins_no_more: bool,
    /// When that began, or it was forgotten.
    pub(crate) closes_since: Option<u64>,
    /// Another process has it, too: those that wait may be left to that.
    is_shared: bool,
}

impl Listener {
    pub(crate) fn new(is_shared: bool) -> Self {
        Self {
            queue: VecDeque::new(),
            key: None,
            edge: Edge::NONE,
            closed: false,
            begins_no_more: false,
            closes_since: None,
            is_shared,
        }
    }

    pub(crate) fn is_open(&self) -> bool {
        !self.closed
    }

    /// A connection is made.
    pub(crate) fn knock(&mut self, socket: usize) {
        self.queue.push_back(socket);
        self.edge.raise();
    }

    /// Takes the one that has waited longest.
    pub(crate) fn accept(&mut self) -> Option<usize> {
        self.queue.pop_front()
    }

    pub(crate) fn has_waiting(&self) -> bool {
        !self.queue.is_empty()
    }

    /// The worker closes it.
    ///
    /// # Errors
    /// Clients wait who could have been served.
    pub(crate) fn close(&mut self, now: u64) -> Result<(), String> {
        self.closed = true;
        let since = self.closes_since.unwrap_or(now);
        if self.has_waiting() && !self.is_shared && now < since + CLOSES_WITHIN {
            return Err("a listener closes on clients that wait to be accepted".into());
        }
        Ok(())
    }

    /// Those that wait are given up.
    pub(crate) fn drain(&mut self) -> Vec<usize> {
        self.queue.drain(..).collect()
    }
}
