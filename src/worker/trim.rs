//! Behind a peak: what it took of memory and pipes, and nobody needs any more, is given back, piece by piece, and then the worker
//! sleeps again. Nothing of it is in the way of a request.

use super::reactor::Worker;
use crate::base::Tick;
use crate::base::{Key, mapped};
use crate::net::System;
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
pub(super) struct TcacheFloor {
    blocks: Vec<Vec<u8>>,
}

impl TcacheFloor {
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

impl<S: System> Worker<S> {
    /// Looks, if it is time, and says when to look again: not before there is something to give back.
    pub(super) fn trim_if_due(&mut self) {
        let now = self.resources.clock.now;
        if self.trim_at == Tick::NEVER {
            if self.has_surplus() {
                self.trim_at = now.after(PAUSE);
            }
            return;
        }
        if self.trim_at > now {
            return;
        }
        if self.is_over() {
            self.trim_looks = LAST_LOOKS;
        }
        self.resources.pipes.trim();
        if self.trim_looks > 0 {
            self.trim_looks -= 1;
            self.trim();
        } else {
            self.resources.spares.look();
            self.resources.buffers.look();
        }
        let goes_on = self.trim_looks > 0 || self.has_surplus();
        self.trim_at = if goes_on { now.after(PAUSE) } else { Tick::NEVER };
    }

    /// Much is kept, needed or not.
    fn has_surplus(&self) -> bool {
        let resources = &self.resources;
        resources.spares.has_surplus()
            || resources.buffers.has_surplus()
            || resources.pipes.has_surplus()
            || self.have_tables_surplus()
    }

    fn have_tables_surplus(&self) -> bool {
        self.clients.has_surplus()
            || self.exchanges.has_surplus()
            || self.resources.links.has_surplus()
            || self.resources.wheel.has_surplus()
    }

    /// Much of what is kept was not needed since the last look.
    fn is_over(&self) -> bool {
        self.resources.spares.is_unneeded()
            || self.resources.buffers.are_unneeded()
            || self.have_tables_surplus()
    }

    fn trim(&mut self) {
        let resources = &mut self.resources;
        self.clients.trim();
        self.exchanges.trim();
        resources.links.trim();
        resources.wheel.trim();
        resources.low_water_waits.shrink_to(mapped::<(Tick, Key)>());
        // Both are empty between turns, but for what goes on in the next.
        self.due.shrink_to(mapped::<Key>());
        self.queue.shrink_to(mapped::<Key>());
        if resources.spares.trim() | resources.buffers.trim() {
            resources.lines.trim();
            resources.tcache_floor.exchange();
            // Moved a second time, they lie below what the first time left.
            resources.idle.trim();
            resources.idle.trim();
        }
    }
}
