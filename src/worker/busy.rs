//! Busy exchanges take turns, so that small exchanges do not wait for them.
//!
//! An exchange with an event is served at once, within a small budget. If it exceeds the budget, or moved
//! much data when it was last served, it goes to a queue. Each turn of the worker serves only a few exchanges
//! of the queue; then the next poll reports new events. So a small request waits for a few hundred
//! microseconds of other clients' content, however many of them there are. Figures: docs/performance.md.

use super::reactor::Worker;
use crate::base::Key;
use crate::net::System;

/// Cost of a step in octets, beside the octets that it writes or drains: a system call takes as long as
/// moving this many. Octets that are read, or filled into a pipe, count when they are written or discarded:
/// no pipe stays full because a turn is over.
pub(super) const STEP_COST: usize = 4 * 1024;

/// Budget of an exchange that is served because of an event: 24 steps, fewer if octets move. A small exchange
/// takes about ten.
pub(super) const EVENT_COST_MAX: usize = 24 * STEP_COST;

/// Budget of a queued exchange before the next poll.
const QUEUED_COST_MAX: usize = 256 * 1024;

/// Budget of a queued exchange, over several turns, before the next one is served: data of the exchange
/// served last is in the processor's cache.
const STINT_COST_MAX: usize = 4 * 1024 * 1024;

/// An exchange that cost this much is queued the next time.
pub(super) const BUSY_COST: usize = 64 * 1024;

/// Budget of all queued exchanges in one turn. If exchanges with events cost more in this turn, the queue
/// gets as much as they did, so that neither group starves, ...
const TURN_COST: usize = 1024 * 1024;

/// ... but at most this much, so that new events do not wait long.
const TURN_COST_MAX: usize = 4 * TURN_COST;

impl<S: System> Worker<S> {
    /// Serves an exchange that has an event or whose low-water wait is over.
    pub(super) fn serve(&mut self, key: Key) {
        let Some(active) = self.exchanges.get_mut(key) else { return };
        if active.is_busy {
            if !std::mem::replace(&mut active.queued, true) {
                self.queue.push_back(key);
            }
        } else if !active.queued {
            self.event_cost += self.drive(key, EVENT_COST_MAX);
        }
    }

    /// Serves queued exchanges, longest wait first.
    pub(super) fn serve_queue(&mut self) {
        let mut left = std::mem::take(&mut self.event_cost).clamp(TURN_COST, TURN_COST_MAX);
        while left > 0
            && let Some(key) = self.queue.pop_front()
        {
            let Some(active) = self.exchanges.get_mut(key) else { continue };
            active.queued = false;
            let cost = self.drive(key, QUEUED_COST_MAX);
            left = left.saturating_sub(cost);
            self.stint_cost += cost;
            let has_more = self.queue.back() == Some(&key);
            if has_more && self.stint_cost < STINT_COST_MAX {
                self.queue.pop_back();
                self.queue.push_front(key);
                continue;
            }
            let spent = std::mem::take(&mut self.stint_cost);
            if let Some(active) = self.exchanges.get_mut(key) {
                active.is_busy |= has_more || spent >= BUSY_COST;
            }
        }
    }
}
