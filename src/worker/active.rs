//! An exchange under way as a worker holds it: in a slot map of its own, with its table, its backend connection and its pipes. It
//! names the connection that its request came by; that connection names it.

use super::pipes::Pipes;
use super::shared::Snapshot;
use crate::base::{Key, Tick};
use crate::exchange::{ANY_BYTES, Exchange, Side};
use crate::net::System;
use crate::route::health::Admission;
use std::rc::Rc;
use std::sync::Arc;

/// One version of the table as this worker holds it: counted without touching what other workers count.
pub(super) type LocalSnapshot = Rc<Arc<Snapshot>>;

/// From how many octets on a socket tells that there is something to read.
#[derive(Debug, Clone, Copy)]
pub(super) struct LowWater {
    pub(super) octets: usize,
    /// How long more than any are waited for.
    pub(super) until: Tick,
}

impl LowWater {
    pub(super) const ANY: Self = Self { octets: ANY_BYTES, until: Tick::NEVER };
}

/// An exchange under way, with what the worker holds for it.
#[derive(Debug)]
pub(super) struct Active<P> {
    pub(super) exchange: Exchange,
    /// The connection that its request came by.
    pub(super) client: Key,
    /// The table that routes it, for all its life.
    pub(super) local: LocalSnapshot,
    /// Its backend connection.
    pub(super) link: Option<Key>,
    /// Whether the endpoint at the other end of that was known to be out.
    pub(super) admission: Admission,
    /// How long its client may be at rest, as long as nothing of a request has come.
    pub(super) rests_until: Tick,
    /// It waits in the worker's queue for its next turn.
    pub(super) queued: bool,
    /// It had much to do when it was served last.
    pub(super) is_busy: bool,
    /// It stands in the worker's list of those that wait for much.
    pub(super) low_water_waits: bool,
    /// To each side, a part of a segment waits for more.
    corked: [bool; 2],
    /// What each side's socket tells of.
    low_water: [LowWater; 2],
    /// The pipe from client to backend.
    request_pipe: Option<P>,
    /// The pipe from backend to client.
    response_pipe: Option<P>,
}

impl<P> Active<P> {
    /// One that has not begun, for the connection that `client` names.
    pub(super) fn new(client: Key, local: LocalSnapshot) -> Self {
        Self {
            exchange: Exchange::new(),
            client,
            local,
            link: None,
            admission: Admission::Regular,
            rests_until: Tick::NEVER,
            queued: false,
            is_busy: false,
            low_water_waits: false,
            corked: [false; 2],
            low_water: [LowWater::ANY; 2],
            request_pipe: None,
            response_pipe: None,
        }
    }

    /// The pipe that is filled from that side.
    pub(super) fn pipe_from(&mut self, side: Side) -> &mut Option<P> {
        match side {
            Side::Client => &mut self.request_pipe,
            Side::Backend => &mut self.response_pipe,
        }
    }

    /// To that side, a part of a segment waits for more.
    pub(super) fn corked(&mut self, side: Side) -> &mut bool {
        &mut self.corked[side as usize]
    }

    /// What that side's socket tells of.
    pub(super) fn low_water(&mut self, side: Side) -> &mut LowWater {
        &mut self.low_water[side as usize]
    }

    /// What the worker holds for it is as for one that has not begun.
    pub(super) fn reset(&mut self) {
        (self.queued, self.is_busy, self.low_water_waits) = (false, false, false);
        (self.corked, self.low_water) = ([false; 2], [LowWater::ANY; 2]);
    }

    /// Gives pipes back that hold nothing; all of them when the exchange is `over`.
    pub(super) fn settle_pipes<S: System<Pipe = P>>(&mut self, system: &S, pipes: &mut Pipes<P>, over: bool) {
        for pipe in [&mut self.request_pipe, &mut self.response_pipe] {
            if let Some(pipe) = pipe.take_if(|pipe| over || system.held(pipe) == 0) {
                pipes.give(system, pipe);
            }
        }
    }
}
