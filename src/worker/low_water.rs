//! Low-water waits: for fast long content, wake the worker once per 128 KiB, not for each segment.
//!
//! The kernel counts (`SO_RCVLOWAT`); the exchange chooses the number of octets. This file bounds the wait:
//! if the sender pauses with fewer octets in flight, the exchange continues after a moment, and its next
//! waits end at the first octet.

use super::active::Active;
use super::client_end::ClientEnd;
use super::reactor::Worker;
use super::resources::Resources;
use crate::base::Key;
use crate::base::Tick;
use crate::exchange::{ANY_BYTES, Readiness, Side};
use crate::net::System;
use std::time::Duration;

/// Minimum length of a low-water wait.
const GATHER_TIME: Duration = Duration::from_millis(2);

/// Waits end at multiples of this, in microseconds, so that one alarm ends many of them.
const GRID_US: u64 = 1000;

const SIDES: [Side; 2] = [Side::Client, Side::Backend];

impl<S: System> Worker<S> {
    /// Ends low-water waits that are over: their exchanges continue with the octets received so far.
    pub(super) fn end_low_water_waits(&mut self) {
        let now = self.resources.clock.now;
        while let Some(&(at, key)) = self.resources.low_water_waits.front()
            && at <= now
        {
            self.resources.low_water_waits.pop_front();
            let Some(active) = self.exchanges.get_mut(key) else { continue };
            active.low_water_waits = false;
            let mut is_over = false;
            for side in SIDES {
                if active.low_water(side).until <= now {
                    active.exchange.ready(side, Readiness { readable: true, ..Readiness::default() });
                    is_over = true;
                }
            }
            if is_over {
                self.serve(key);
            } else {
                // It continued meanwhile and may have begun another wait.
                self.resources.queue_low_water_end(key, active);
            }
        }
    }
}

impl<S: System> Resources<S> {
    /// Begins a wait: sets from how many octets on each socket reports data.
    pub(super) fn begin_low_water_waits(
        &mut self,
        end: &mut impl ClientEnd<S>,
        active: &mut Active<S::Pipe>,
    ) {
        for side in SIDES {
            let was_asked = active.exchange.was_asked(side);
            let before = active.low_water(side).octets;
            let wanted = active.exchange.waits_for(side, before);
            if let Some(octets) = wanted {
                self.tell_from(end, active, side, octets);
            }
            let low_water = active.low_water(side);
            if wanted.is_none() || low_water.octets == ANY_BYTES {
                low_water.until = Tick::NEVER;
                continue;
            }
            if was_asked {
                low_water.until = Tick(self.clock.now.after(GATHER_TIME).0.next_multiple_of(GRID_US));
            }
            // The next event means much data.
            active.is_busy = true;
        }
    }

    /// Queues the end of a low-water wait.
    pub(super) fn queue_low_water_end(&mut self, key: Key, active: &mut Active<S::Pipe>) {
        let [client_until, backend_until] = SIDES.map(|side| active.low_water(side).until);
        let until = client_until.min(backend_until);
        if until != Tick::NEVER && !std::mem::replace(&mut active.low_water_waits, true) {
            self.low_water_waits.push_back((until, key));
        }
    }

    /// Sets from how many octets on that side's socket reports data. If the system refuses, the old value
    /// stays.
    pub(super) fn tell_from(
        &mut self,
        end: &mut impl ClientEnd<S>,
        active: &mut Active<S::Pipe>,
        side: Side,
        octets: usize,
    ) {
        if active.low_water(side).octets == octets {
            return;
        }
        let set = match side {
            Side::Client => end.set_low_water(&mut self.system, octets),
            Side::Backend => match active.link.and_then(|link| self.links.get(link)) {
                Some(link) => self.system.set_low_water(&link.stream, octets),
                None => return,
            },
        };
        if set.is_ok() {
            active.low_water(side).octets = octets;
        }
    }
}
