//! What a worker serves exchanges from: its clock, memory, pipes, backend connections, timers, counters and log lines. Everything
//! of a worker but its clients and listeners, so that one client and all of this can be used at the same time.

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

/// Exchanges kept for later use; more go back to the allocator at once.
pub(super) const SPARES_MAX: usize = 1024;

/// No more than these are not worth a look at what was needed.
pub(super) const SPARES_BASE: usize = 32;

/// A client that is at rest when the process leaves, that connects meanwhile, or beyond the allowed number, has so long to send its
/// request.
pub(super) const LAST_CALL: Duration = Duration::from_secs(1);

/// The system has no memory to give.
pub(super) const OUT_OF_MEMORY: &str = "out of memory";

/// Memory that is to be had where a new exchange is begun, or a long head read: more than anything takes that cannot be refused.
pub(super) const HEADROOM_BYTES: usize = 256 * 1024;

/// Microseconds between two troubles that a worker tells of.
const COMPLAINT_PAUSE_US: u64 = 1_000_000;

/// Tells the operator something. A worker never writes to the standard error itself, for that may block.
pub type Report = fn(OperatorLine);

/// What the operator is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OperatorLine {
    /// It needs attention.
    Warning(String),
    /// It is good to know.
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
    /// The version that new exchanges are given.
    pub(super) local: LocalSnapshot,
    /// For each pool of that version that has a choice, what balancing remembers.
    pub(super) cursors: Vec<Cursor>,
    pub(super) links: SlotMap<Link<S::Stream>>,
    pub(super) idle: Idle,
    pub(super) buffers: Buffers,
    pub(super) pipes: Pipes<S::Pipe>,
    /// Exchanges for later use.
    pub(super) spares: ObjectPool<Box<Active<S::Pipe>>>,
    pub(super) wheel: Wheel<Key>,
    /// Clients whose exchange waits for much, each once, and when they are to be looked at.
    pub(super) low_water_waits: VecDeque<(Tick, Key)>,
    pub(super) tcache_floor: TcacheFloor,
    pub(super) random: Random,
    pub(super) counters: Arc<Counters>,
    pub(super) lines: Lines,
    pub(super) report: Report,
    /// When the operator was last told of a trouble, if ever.
    pub(super) warned_at: Option<Tick>,
    /// What the operator was told of endpoints.
    pub(super) changes: EndpointChanges,
    /// [`crate::route::table::Table::endpoints_retired`], when connections at rest were last looked through.
    pub(super) retired_seen: u32,
}

impl<S: System> Resources<S> {
    /// What comes with a call of an exchange whose client's end is `end`.
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

    /// An exchange for a client that had none, told what the client's events have told.
    pub(super) fn begin(&mut self, client: &mut Client<S>, key: Key) -> Box<Active<S::Pipe>> {
        let mut active =
            self.spares.take().unwrap_or_else(|| Box::new(Active::new(key, Rc::clone(&self.local))));
        active.client = key;
        active.exchange.resume(std::mem::take(&mut client.readiness), client.empty_lines);
        active.rests_until = client.deadline;
        active
    }

    /// Takes back what an exchange held, and keeps it for later use.
    pub(super) fn store(&mut self, mut active: Box<Active<S::Pipe>>) {
        active.settle_pipes(&self.system, &mut self.pipes, true);
        active.reset();
        active.exchange.reset(&mut self.buffers);
        if Rc::ptr_eq(&active.local, &self.local) {
            self.spares.give(active);
        }
    }

    /// Has the wheel ask about a connection at `deadline`.
    pub(super) fn schedule(&mut self, end: &mut impl ClientEnd<S>, key: Key, deadline: Tick) {
        end.schedule(&mut self.wheel, key, deadline);
    }

    /// How long a client may be at rest. While the process leaves, its next request may be on the way: it has time for that.
    pub(super) fn patience_at_rest(&self, local: &Snapshot) -> Duration {
        if self.phase == Phase::Serving { local.idle_timeout } else { LAST_CALL.min(local.idle_timeout) }
    }

    /// Takes another version for new exchanges.
    pub(super) fn take_version(&mut self, local: LocalSnapshot) {
        self.local = local;
        // Exchanges in store would keep the old version alive.
        self.spares.clear();
        self.begin_cursors();
    }

    pub(super) fn begin_cursors(&mut self) {
        self.cursors.clear();
        self.cursors.resize(self.local.table.cursors(), Cursor::default());
    }

    /// Is there memory for another exchange and what comes with it? Asked where none is in store.
    pub(super) fn has_memory(&self) -> bool {
        !self.spares.is_empty() || has_room_for(HEADROOM_BYTES)
    }

    /// A client connection is closed because the system has nothing to serve it with.
    #[cold]
    pub(super) fn refused(&mut self, reason: std::fmt::Arguments<'_>) {
        self.counters.connections_refused.add(1);
        self.warn(format_args!("a client is closed: {reason}"));
    }

    /// Tells the operator of a trouble; what comes soon after another is not told.
    pub(super) fn warn(&mut self, words: std::fmt::Arguments<'_>) {
        let now = self.clock.now;
        if self.warned_at.is_none_or(|last| now.since_us(last) >= COMPLAINT_PAUSE_US) {
            self.warned_at = Some(now);
            (self.report)(OperatorLine::Warning(format!("worker {}: {words}", self.number)));
        }
    }
}
