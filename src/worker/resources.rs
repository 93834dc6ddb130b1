//! Per-worker resources that exchanges borrow: clock, memory, pipes, backend connections, timers, counters,
//! log lines. Clients and listeners are separate, so that one client and the resources can be borrowed at the
//! same time.

use super::active::{Active, LocalSnapshot};
use super::client::Client;
use super::client_end::ClientEnd;
use super::clock::Clock;
use super::failures::EndpointChanges;
use super::idle::Idle;
use super::pipes::Pipes;
use super::shared::{Phase, Snapshot};
use super::socket::Link;
use super::trim::TcacheFloor;
use super::wheel::Wheel;
use crate::base::{Key, SlotMap, has_room_for};
use crate::base::{ObjectPool, Random, Tick};
use crate::exchange::{Buffers, Env, Serving};
use crate::log::queue::Lines;
use crate::metrics::Counters;
use crate::net::System;
use crate::route::balance::Cursor;
use std::collections::VecDeque;
use std::fmt;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

/// Exchanges kept for reuse. Further ones are freed at once.
pub(super) const SPARES_MAX: usize = 1024;

/// Pools of at most this size are never trimmed.
pub(super) const SPARES_BASE: usize = 32;

/// Time to send a request for a client that is idle when the process leaves, connects after that, or is above
/// `connections_max`.
pub(super) const LAST_CALL: Duration = Duration::from_secs(1);

/// Reason in messages: the system has no memory left.
pub(super) const OUT_OF_MEMORY: &str = "out of memory";

/// Free memory required to begin an exchange or to read a long head: more than all allocations that cannot
/// fail gracefully.
pub(super) const HEADROOM_BYTES: usize = 256 * 1024;

/// Minimum time between two warnings of one worker, in microseconds.
const COMPLAINT_PAUSE_US: u64 = 1_000_000;

/// Reports a line to the operator. A worker never writes to standard error itself, because that may block.
pub type Report = fn(OperatorLine);

/// A line for the operator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OperatorLine {
    /// Needs attention.
    Warning(String),
    /// Informational.
    Info(String),
}

impl fmt::Display for OperatorLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Self::Warning(words) | Self::Info(words)) = self;
        f.write_str(words)
    }
}

pub(super) struct Resources<S: System> {
    pub(super) number: usize,
    pub(super) system: S,
    pub(super) clock: Clock,
    pub(super) phase: Phase,
    /// The snapshot for new exchanges.
    pub(super) local: LocalSnapshot,
    /// Balancing state of each pool of that snapshot that has more than one member.
    pub(super) cursors: Vec<Cursor>,
    pub(super) links: SlotMap<Link<S::Stream>>,
    pub(super) idle: Idle,
    pub(super) buffers: Buffers,
    pub(super) pipes: Pipes<S::Pipe>,
    /// Exchanges kept for reuse.
    pub(super) spares: ObjectPool<Box<Active<S::Pipe>>>,
    pub(super) wheel: Wheel<Key>,
    /// Exchanges in a low-water wait, each once, with the time at which the wait ends.
    pub(super) low_water_waits: VecDeque<(Tick, Key)>,
    pub(super) tcache_floor: TcacheFloor,
    pub(super) random: Random,
    pub(super) counters: Arc<Counters>,
    pub(super) lines: Lines,
    pub(super) report: Report,
    /// Time of the last warning to the operator.
    pub(super) warned_at: Option<Tick>,
    /// Rate limit of lines about endpoints.
    pub(super) changes: EndpointChanges,
    /// Value of [`crate::route::table::Table::endpoints_retired`] at the last search for retired idle
    /// connections.
    pub(super) retired_seen: u32,
}

impl<S: System> Resources<S> {
    /// The environment for a call of an exchange whose client end is `end`.
    #[inline]
    pub(super) fn env<'a>(&'a mut self, end: &'a impl ClientEnd<S>, local: &'a Snapshot) -> Env<'a> {
        let client = end.identity();
        let serving = if self.phase == Phase::Serving { Serving::On } else { Serving::Leaving };
        Env {
            now: self.clock.now,
            date: &self.clock.imf_date,
            table: &local.table,
            settings: &local.settings,
            buffers: &mut self.buffers,
            random: &mut self.random,
            client: client.address,
            client_trusted: client.trusted,
            serving: if client.over_limit { Serving::Full } else { serving },
        }
    }

    /// An exchange for an idle client, with the readiness that the client's events have reported.
    pub(super) fn begin(&mut self, client: &mut Client<S>, key: Key) -> Box<Active<S::Pipe>> {
        let mut active =
            self.spares.take().unwrap_or_else(|| Box::new(Active::new(key, Rc::clone(&self.local))));
        active.client = key;
        active.exchange.resume(std::mem::take(&mut client.readiness), client.empty_lines);
        active.rests_until = client.deadline;
        active
    }

    /// Returns the resources of an exchange and keeps the exchange for reuse.
    pub(super) fn store(&mut self, mut active: Box<Active<S::Pipe>>) {
        active.settle_pipes(&self.system, &mut self.pipes, true);
        active.reset();
        active.exchange.reset(&mut self.buffers);
        if Rc::ptr_eq(&active.local, &self.local) {
            self.spares.give(active);
        }
    }

    /// Schedules the timer of a connection for `deadline`.
    pub(super) fn schedule(&mut self, end: &mut impl ClientEnd<S>, key: Key, deadline: Tick) {
        end.schedule(&mut self.wheel, key, deadline);
    }

    /// The idle timeout of a client. While the process leaves, it is short, but covers a request in flight.
    pub(super) fn patience_at_rest(&self, local: &Snapshot) -> Duration {
        if self.phase == Phase::Serving { local.idle_timeout } else { LAST_CALL.min(local.idle_timeout) }
    }

    /// Uses another snapshot for new exchanges.
    pub(super) fn take_version(&mut self, local: LocalSnapshot) {
        self.local = local;
        // Spare exchanges would keep the old snapshot alive.
        self.spares.clear();
        self.begin_cursors();
    }

    pub(super) fn begin_cursors(&mut self) {
        self.cursors.clear();
        self.cursors.resize(self.local.table.cursors(), Cursor::default());
    }

    /// Whether there is memory for another exchange. Checks only when no spare exchange exists.
    pub(super) fn has_memory(&self) -> bool {
        !self.spares.is_empty() || has_room_for(HEADROOM_BYTES)
    }

    /// Counts and reports a client connection that is closed for lack of resources.
    #[cold]
    pub(super) fn refused(&mut self, reason: std::fmt::Arguments<'_>) {
        self.counters.connections_refused.add(1);
        self.warn(format_args!("a client is closed: {reason}"));
    }

    /// Warns the operator. Drops warnings that follow another one within [`COMPLAINT_PAUSE_US`].
    pub(super) fn warn(&mut self, words: std::fmt::Arguments<'_>) {
        let now = self.clock.now;
        if self.warned_at.is_none_or(|last| now.since_us(last) >= COMPLAINT_PAUSE_US) {
            self.warned_at = Some(now);
            (self.report)(OperatorLine::Warning(format!("worker {}: {words}", self.number)));
        }
    }
}
