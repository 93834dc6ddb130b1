//! Behind a peak: what it took of memory and pipes, and nobody needs any more, is given back, piece by piece, and then the worker
//! sleeps again. Nothing of it is in the way of a request.

use super::reactor::Worker;
use crate::base::Tick;
use crate::base::{Key, mapped};
use std::time::Duration;

/// Between two looks at what was needed. What goes was not needed for so long, and at most for twice as long.
const PAUSE: Duration = Duration::from_secs(1);

/// Looks from the last one on that found much to give back. Who is served meanwhile takes memory anew, and the allocator gives the
/// smallest gap that does, wherever it is; what lies above is given back at the next look, so that some of them bring it down.
const LAST_LOOKS: u8 = 8;

/// The largest block that the C library caches for each thread.
const CACHED_BYTES_MAX: usize = 1032;

/// Octets from one size of such blocks to the next, and the first of them.
const CACHED_STEP: usize = 16;
const CACHED_BYTES_MIN: usize = 24;

/// How many of one size it caches.
const CACHED_COUNT: usize = 7;

/// Blocks that were taken when the worker began, and so lie lowest. glibc caches the last that a thread freed of each small size,
/// wherever they lie, and what lies below one of them stays with the process: at the end of a peak these take their place.
#[derive(Debug)]
pub(super) struct LowBlocks {
    blocks: Vec<Vec<u8>>,
}

impl LowBlocks {
    /// As many of each size as are cached.
    pub(super) fn new() -> Self {
        let sizes = (CACHED_BYTES_MIN..=CACHED_BYTES_MAX).step_by(CACHED_STEP);
        let each = sizes.flat_map(|size| std::iter::repeat_n(size, CACHED_COUNT));
        Self { blocks: each.map(Vec::with_capacity).collect() }
    }

    /// What was cached is free for good.
    fn exchange(&mut self) {
        let cached = Self::new();
        // Freed first, they are what is cached,
        self.blocks = Vec::new();
        drop(cached);
        // and taken again.
        *self = Self::new();
    }
}

impl Worker {
    /// Looks, if it is time, and says when to look again: not before there is something to give back.
    pub(super) fn ebb(&mut self) {
        let now = self.desk.clock.now;
        if self.ebb_at == Tick::NEVER {
            if self.has_surplus() {
                self.ebb_at = now.after(PAUSE);
            }
            return;
        }
        if self.ebb_at > now {
            return;
        }
        if self.is_over() {
            self.ebb_looks = LAST_LOOKS;
        }
        self.desk.pipes.shed();
        if self.ebb_looks > 0 {
            self.ebb_looks -= 1;
            self.shed();
        } else {
            self.desk.spares.look();
            self.desk.buffers.look();
        }
        let goes_on = self.ebb_looks > 0 || self.has_surplus();
        self.ebb_at = if goes_on { now.after(PAUSE) } else { Tick::NEVER };
    }

    /// Much is kept, needed or not.
    fn has_surplus(&self) -> bool {
        let desk = &self.desk;
        desk.spares.has_surplus()
            || desk.buffers.has_surplus()
            || desk.pipes.has_surplus()
            || self.have_tables_surplus()
    }

    fn have_tables_surplus(&self) -> bool {
        self.clients.has_surplus() || self.desk.links.has_surplus() || self.desk.wheel.has_surplus()
    }

    /// Much of what is kept was not needed since the last look.
    fn is_over(&self) -> bool {
        self.desk.spares.is_unneeded() || self.desk.buffers.are_unneeded() || self.have_tables_surplus()
    }

    fn shed(&mut self) {
        let desk = &mut self.desk;
        self.clients.trim();
        desk.links.trim();
        desk.wheel.shed();
        desk.gathering.shrink_to(mapped::<(Tick, Key)>());
        // Both are empty between turns, but for what goes on in the next.
        self.due.shrink_to(mapped::<(Tick, Key)>());
        self.queue.shrink_to(mapped::<Key>());
        if desk.spares.shed() | desk.buffers.shed() {
            desk.low_blocks.exchange();
            // Moved a second time, they lie below what the first time left.
            desk.idle.shed();
            desk.idle.shed();
        }
    }
}
