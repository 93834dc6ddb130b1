//! After a peak: returns unneeded memory and pipes in small steps; then the worker sleeps again. None of it
//! delays a request.

use super::reactor::Worker;
use crate::base::Tick;
use crate::base::{Key, mapped};
use crate::net::System;
use std::time::Duration;

/// Time between two looks at demand. A surplus is returned after one to two of these pauses without demand.
const PAUSE: Duration = Duration::from_secs(1);

/// Trims after the last look that found a large surplus. Clients that are served meanwhile allocate anew, and
/// the allocator picks the smallest gap that fits, at any address. The next trims return the memory above, so
/// that several of them lower the top of the heap.
const LAST_LOOKS: u8 = 8;

/// The largest block that the C library caches per thread.
const CACHED_BYTES_MAX: usize = 1032;

/// Octets from one cached block size to the next, and the smallest size.
const CACHED_STEP: usize = 16;
const CACHED_BYTES_MIN: usize = 24;

/// Blocks of one size that it caches.
const CACHED_COUNT: usize = 7;

/// Blocks allocated when the worker starts, and so at the lowest addresses. For each small size glibc caches
/// the blocks that a thread freed last, at any address, and cannot return memory below a cached block. At the
/// end of a peak these blocks replace them in the cache.
#[derive(Debug)]
pub(super) struct TcacheFloor {
    blocks: Vec<Vec<u8>>,
}

impl TcacheFloor {
    /// As many blocks of each size as glibc caches.
    pub(super) fn new() -> Self {
        let sizes = (CACHED_BYTES_MIN..=CACHED_BYTES_MAX).step_by(CACHED_STEP);
        let each = sizes.flat_map(|size| std::iter::repeat_n(size, CACHED_COUNT));
        Self { blocks: each.map(Vec::with_capacity).collect() }
    }

    /// Replaces the cached blocks, so that they are really freed.
    fn exchange(&mut self) {
        let cached = Self::new();
        // Freed first, these blocks fill the cache,
        self.blocks = Vec::new();
        drop(cached);
        // and are allocated again.
        *self = Self::new();
    }
}

impl<S: System> Worker<S> {
    /// Trims if that is due, and sets the next time; none while there is no surplus.
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

    /// Whether pools and tables are large, needed or not.
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

    /// Whether much of it was not needed since the last look.
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
        // Both are empty between turns, except for work that continues in the next turn.
        self.due.shrink_to(mapped::<Key>());
        self.queue.shrink_to(mapped::<Key>());
        if resources.spares.trim() | resources.buffers.trim() {
            resources.lines.trim();
            resources.tcache_floor.exchange();
            // The second copy lies below what the first one freed.
            resources.idle.trim();
            resources.idle.trim();
        }
    }
}
