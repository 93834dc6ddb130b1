//! The way of lines from the workers to the writer: in batches, through a bounded queue without a lock or a
//! system call.
//!
//! A worker appends to a batch of its own and hands it over at the end of its turn. Emptied batches return
//! through a second queue, so that a worker allocates nothing once warm. If the writer falls behind, the
//! queue takes a few short batches, then only full ones; after that, lines are dropped and counted. A worker
//! never waits.

use crossbeam_queue::ArrayQueue;
use std::mem;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};

/// A batch of at least this many octets is full and is handed over within the turn; it exceeds this by one
/// line at most.
pub const BATCH_BYTES_MAX: usize = 64 * 1024;

/// The capacity of a batch, so that only a line of unusual length makes it grow. Pages that were never
/// written take no memory.
const BATCH_BYTES_ROOM: usize = BATCH_BYTES_MAX + 4 * 1024;

/// The most batches in the queue: 32 MiB of full ones. That bounds the memory of a log whose output blocks,
/// and holds what a proxy at full speed (some 300 MB of lines a second) writes during the writer's longest
/// sleep.
pub const QUEUE_BATCHES_MAX: usize = 512;

/// The most batches in the queue with which another short one is handed over. Above this only full ones are,
/// so that turns with one line each do not fill the queue while the writer sleeps.
pub const SHORT_BATCHES_MAX: usize = 16;

/// Emptied batches kept for the workers, at most 8 MiB; further ones are freed.
pub const EMPTY_BATCHES_MAX: usize = 128;

/// The writer's current order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    /// Write all lines.
    Run,
    /// Write what is queued, then end.
    Drain,
    /// Drop what is queued, then end.
    Abandon,
}

/// The state that workers and writer share.
#[derive(Debug)]
pub(super) struct Shared {
    full: ArrayQueue<Vec<u8>>,
    empty: ArrayQueue<Vec<u8>>,
    dropped: AtomicU64,
    order: AtomicU8,
}

impl Shared {
    pub(super) fn new() -> Self {
        Self {
            full: ArrayQueue::new(QUEUE_BATCHES_MAX),
            empty: ArrayQueue::new(EMPTY_BATCHES_MAX),
            dropped: AtomicU64::new(0),
            order: AtomicU8::new(Order::Run as u8),
        }
    }

    /// The oldest batch in the queue.
    pub(super) fn take(&self) -> Option<Vec<u8>> {
        self.full.pop()
    }

    /// Returns a batch for further use; beyond [`EMPTY_BATCHES_MAX`] it is freed.
    pub(super) fn give_back(&self, mut batch: Vec<u8>) {
        batch.clear();
        let _ = self.empty.push(batch);
    }

    /// Lines dropped so far.
    pub(super) fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    pub(super) fn count_dropped(&self, lines: u64) {
        self.dropped.fetch_add(lines, Ordering::Relaxed);
    }

    pub(super) fn order(&self) -> Order {
        match self.order.load(Ordering::Acquire) {
            0 => Order::Run,
            1 => Order::Drain,
            _ => Order::Abandon,
        }
    }

    pub(super) fn set_order(&self, order: Order) {
        self.order.store(order as u8, Ordering::Release);
    }
}

/// A worker's end of the log. Dropping it hands over the lines that it holds.
#[derive(Debug)]
pub struct Lines {
    shared: Arc<Shared>,
    batch: Vec<u8>,
    line_count: u64,
}

impl Lines {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self { shared, batch: empty_batch(), line_count: 0 }
    }

    /// The buffer for the next line; call it once for each line, and append that line with its line end (see
    /// `log::line::write`).
    pub fn line(&mut self) -> &mut Vec<u8> {
        if self.batch.len() >= BATCH_BYTES_MAX {
            self.hand_over();
        }
        self.line_count += 1;
        &mut self.batch
    }

    /// Hands over the lines of the turn; called at the end of every turn.
    ///
    /// If the writer has fallen behind, lines stay here for the next turn: see [`Lines::holds_any`].
    pub fn flush(&mut self) {
        let full = self.batch.len() >= BATCH_BYTES_MAX;
        if full || (self.holds_any() && self.shared.full.len() < SHORT_BATCHES_MAX) {
            self.hand_over();
        }
    }

    /// The last flush left lines. Before a long wait, a worker then waits for a few milliseconds only and
    /// flushes again; otherwise the lines would be delayed until its next event.
    pub fn holds_any(&self) -> bool {
        self.line_count > 0
    }

    /// Frees the emptied batches of all workers, and moves its own if it is empty: after a peak, batches are
    /// above the other blocks of the heap and keep the allocator from returning memory to the system.
    pub fn trim(&mut self) {
        while self.shared.empty.pop().is_some() {}
        if !self.holds_any() {
            // Allocated before the other is freed, the new one could not take that place.
            self.batch = Vec::new();
            self.batch = empty_batch();
        }
    }

    /// Puts the batch into the queue, or, if that is full, drops and counts its lines. The batch is empty
    /// afterwards.
    fn hand_over(&mut self) {
        let lines = mem::take(&mut self.line_count);
        let batch = mem::take(&mut self.batch);
        self.batch = match self.shared.full.push(batch) {
            Ok(()) => self.shared.empty.pop().unwrap_or_else(empty_batch),
            Err(mut refused) => {
                self.shared.count_dropped(lines);
                refused.clear();
                refused
            }
        };
    }
}

/// The lines of one worker, taken by the caller: a log without a writer thread.
#[derive(Debug)]
pub struct Tail(Arc<Shared>);

impl Tail {
    /// A worker's end, and this one.
    pub fn pair() -> (Lines, Self) {
        let shared = Arc::new(Shared::new());
        (Lines::new(Arc::clone(&shared)), Self(shared))
    }

    /// The oldest batch in the queue.
    pub fn take(&self) -> Option<Vec<u8>> {
        self.0.take()
    }
}

fn empty_batch() -> Vec<u8> {
    Vec::with_capacity(BATCH_BYTES_ROOM)
}

impl Drop for Lines {
    fn drop(&mut self) {
        if self.holds_any() {
            self.hand_over();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ends() -> (Arc<Shared>, Lines) {
        let shared = Arc::new(Shared::new());
        (Arc::clone(&shared), Lines::new(shared))
    }

    #[test]
    fn a_turn_is_one_batch() {
        let (shared, mut lines) = ends();
        lines.flush();
        assert!(shared.take().is_none(), "an empty turn hands nothing over");
        lines.line().extend_from_slice(b"one\n");
        lines.line().extend_from_slice(b"two\n");
        assert!(shared.take().is_none());
        lines.flush();
        assert!(!lines.holds_any());
        assert_eq!(shared.take().unwrap(), b"one\ntwo\n");
        assert_eq!(shared.dropped(), 0);
    }

    #[test]
    fn a_warm_worker_uses_the_same_memory_again() {
        let (shared, mut lines) = ends();
        lines.line().extend_from_slice(&[b'a'; 1000]);
        lines.flush();
        let batch = shared.take().unwrap();
        let place = batch.as_ptr();
        shared.give_back(batch);
        lines.line().push(b'\n');
        lines.flush();
        assert_eq!(lines.line().as_ptr(), place);
        assert!(lines.line().is_empty());
    }

    #[test]
    fn after_a_peak_no_emptied_batch_is_kept() {
        let (shared, mut lines) = ends();
        for _ in 0..EMPTY_BATCHES_MAX {
            shared.give_back(empty_batch());
        }
        lines.line().extend_from_slice(b"held\n");
        lines.trim();
        assert!(shared.empty.is_empty() && lines.holds_any());
        lines.flush();
        assert_eq!(shared.take().unwrap(), b"held\n");
        lines.trim();
        assert_eq!(lines.line().capacity(), BATCH_BYTES_ROOM);
    }

    #[test]
    fn a_full_batch_goes_within_the_turn() {
        let (shared, mut lines) = ends();
        let line = [b'a'; 1024];
        for _ in 0..BATCH_BYTES_MAX / line.len() {
            lines.line().extend_from_slice(&line);
            assert!(shared.full.is_empty());
        }
        lines.line().extend_from_slice(b"next\n");
        assert_eq!(shared.take().unwrap().len(), BATCH_BYTES_MAX);
        lines.flush();
        assert_eq!(shared.take().unwrap(), b"next\n");
    }

    #[test]
    fn short_batches_wait_and_grow_while_the_writer_is_behind() {
        let (shared, mut lines) = ends();
        for _ in 0..SHORT_BATCHES_MAX + 10 {
            lines.line().extend_from_slice(b"a\n");
            lines.flush();
        }
        assert_eq!(shared.full.len(), SHORT_BATCHES_MAX);
        assert!(lines.holds_any());
        shared.take().unwrap();
        lines.flush();
        assert!(!lines.holds_any());
        let mut last = Vec::new();
        while let Some(batch) = shared.take() {
            last = batch;
        }
        assert_eq!(last, b"a\n".repeat(10));
        assert_eq!(shared.dropped(), 0);
    }

    #[test]
    fn a_full_queue_drops_and_counts_and_goes_on() {
        let (shared, mut lines) = ends();
        let line = vec![b'a'; BATCH_BYTES_MAX];
        let mut log = |count| {
            for _ in 0..count {
                lines.line().extend_from_slice(&line);
                lines.flush();
            }
        };
        log(QUEUE_BATCHES_MAX);
        assert_eq!((shared.full.len(), shared.dropped()), (QUEUE_BATCHES_MAX, 0));
        log(3);
        assert_eq!(shared.dropped(), 3);
        shared.take().unwrap();
        log(1);
        assert_eq!((shared.full.len(), shared.dropped()), (QUEUE_BATCHES_MAX, 3));
    }

    #[test]
    fn what_is_held_is_handed_over_at_the_end() {
        let (shared, mut lines) = ends();
        lines.line().extend_from_slice(b"last\n");
        drop(lines);
        assert_eq!(shared.take().unwrap(), b"last\n");
    }
}
