//! Exchanges with much to do take turns, so that those with little wait for none of them.
//!
//! An exchange of which an event tells is served at once, within a small budget. One that exceeds it, or that moved much when it was last
//! served, goes to a queue instead, and each turn of the worker serves a few of that queue only: then the next poll tells who is
//! new. So a small request waits for a few hundred microseconds of other clients' content, however many of them there are.
//! Figures: docs/performance.md.

use super::reactor::Worker;
use crate::base::Key;
use crate::net::System;

/// What a step costs beside the octets that it writes or drains: a system call takes as long as moving so many. What is read, or filled
/// into a pipe, counts when it goes on, or is thrown away: no pipe is left full because a turn is over.
pub(super) const STEP_COST: usize = 4 * 1024;

/// What a client of which an event tells may spend at once: 24 steps, or fewer with octets. A small exchange takes about ten.
pub(super) const EVENT_COST_MAX: usize = 24 * STEP_COST;

/// What a client of the queue may spend before new events are looked for.
const QUEUED_COST_MAX: usize = 256 * 1024;

/// What a client of the queue may spend before the next one is served, over several turns: what belongs to one that was just served is
/// in the processor's cache.
const STINT_COST_MAX: usize = 4 * 1024 * 1024;

/// A client that spent so much goes to the queue the next time.
pub(super) const BUSY_COST: usize = 64 * 1024;

/// What all clients of the queue may spend in one turn, if those of events did not spend more: then as much as they did, so that
/// neither starve the others, ...
const TURN_COST: usize = 1024 * 1024;

/// ... but no more than this, so that those who come meanwhile are not kept waiting.
const TURN_COST_MAX: usize = 4 * TURN_COST;

impl<S: System> Worker<S> {
    /// An event told of an end of an exchange, or its time to gather is over.
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

    /// Serves exchanges of the queue, those first that wait longest.
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
