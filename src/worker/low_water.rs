//! Waits for much: where long content comes fast, a worker is not woken for each piece of it, but for 128 KiB at a time.
//!
//! The kernel does the counting (`SO_RCVLOWAT`), and the exchange says for how much it waits. What is here bounds the wait: a sender
//! that pauses with less than that on the way is looked at after a moment, and from then on its octets are waited for one by one.

use super::active::Active;
use super::client_end::ClientEnd;
use super::reactor::Worker;
use super::resources::Resources;
use crate::base::Key;
use crate::base::Tick;
use crate::exchange::{ANY_BYTES, Readiness, Side};
use crate::net::System;
use std::time::Duration;

/// How long an exchange waits for much, at the least.
const GATHER_TIME: Duration = Duration::from_millis(2);

/// Waits end at whole multiples of this, so that the alarm rings once for many of them.
const GRID_US: u64 = 1000;

const SIDES: [Side; 2] = [Side::Client, Side::Backend];

impl<S: System> Worker<S> {
    /// Exchanges that have waited for much long enough go on with what there is.
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
                // It went on meanwhile, and may wait again.
                self.resources.queue_low_water_end(key, active);
            }
        }
    }
}

impl<S: System> Resources<S> {
    /// A wait begins: sockets tell of whatever comes, or only of much.
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
            // What it is told of then is much.
            active.is_busy = true;
        }
    }

    /// Has a wait for much looked at when it has lasted long enough.
    pub(super) fn queue_low_water_end(&mut self, key: Key, active: &mut Active<S::Pipe>) {
        let [client_until, backend_until] = SIDES.map(|side| active.low_water(side).until);
        let until = client_until.min(backend_until);
        if until != Tick::NEVER && !std::mem::replace(&mut active.low_water_waits, true) {
            self.low_water_waits.push_back((until, key));
        }
    }

    /// Has that side's socket tell of so many octets; where the system cannot, it is left as it was.
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
