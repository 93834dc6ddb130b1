//! An active exchange with the worker's state for it: routing table, backend connection, pipes. It lives in
//! its own slot map. It names its client connection, and the client connection names it.

use super::pipes::Pipes;
use super::shared::Snapshot;
use crate::base::{Key, Tick};
use crate::exchange::{ANY_BYTES, Exchange, Side};
use crate::net::System;
use crate::route::health::Admission;
use std::rc::Rc;
use std::sync::Arc;

/// A snapshot as this worker holds it: a reference count of its own, so that clones do not touch memory of
/// other workers.
pub(super) type LocalSnapshot = Rc<Arc<Snapshot>>;

/// The low-water mark of a socket: from how many octets on epoll reports it as readable.
#[derive(Debug, Clone, Copy)]
pub(super) struct LowWater {
    pub(super) octets: usize,
    /// End of the low-water wait, if `octets` is more than [`ANY_BYTES`].
    pub(super) until: Tick,
}

impl LowWater {
    pub(super) const ANY: Self = Self { octets: ANY_BYTES, until: Tick::NEVER };
}

/// An active exchange with the worker's state for it.
#[derive(Debug)]
pub(super) struct Active<P> {
    pub(super) exchange: Exchange,
    /// The client connection of its request.
    pub(super) client: Key,
    /// The snapshot that routes it, for its whole life.
    pub(super) local: LocalSnapshot,
    /// Its backend connection.
    pub(super) link: Option<Key>,
    /// Whether the endpoint of that connection was known to be out.
    pub(super) admission: Admission,
    /// Deadline of the idle client, as long as no octet of a request has arrived.
    pub(super) rests_until: Tick,
    /// It is in the worker's queue of busy exchanges.
    pub(super) queued: bool,
    /// It moved much when it was last served.
    pub(super) is_busy: bool,
    /// It is in the worker's list of low-water waits.
    pub(super) low_water_waits: bool,
    /// Per side: a partial segment is held back until more data follows.
    corked: [bool; 2],
    /// Per side: the low-water mark of the socket.
    low_water: [LowWater; 2],
    /// The pipe from client to backend.
    request_pipe: Option<P>,
    /// The pipe from backend to client.
    response_pipe: Option<P>,
}

impl<P> Active<P> {
    /// A new exchange for the connection `client`.
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

    /// The pipe filled from that side.
    pub(super) fn pipe_from(&mut self, side: Side) -> &mut Option<P> {
        match side {
            Side::Client => &mut self.request_pipe,
            Side::Backend => &mut self.response_pipe,
        }
    }

    /// Whether a partial segment to that side is held back until more data follows.
    pub(super) fn corked(&mut self, side: Side) -> &mut bool {
        &mut self.corked[side as usize]
    }

    /// The low-water mark of that side's socket.
    pub(super) fn low_water(&mut self, side: Side) -> &mut LowWater {
        &mut self.low_water[side as usize]
    }

    /// Resets the worker's state to that of a new exchange.
    pub(super) fn reset(&mut self) {
        (self.queued, self.is_busy, self.low_water_waits) = (false, false, false);
        (self.corked, self.low_water) = ([false; 2], [LowWater::ANY; 2]);
    }

    /// Returns empty pipes to the pool; all pipes if the exchange is `over`.
    pub(super) fn settle_pipes<S: System<Pipe = P>>(&mut self, system: &S, pipes: &mut Pipes<P>, over: bool) {
        for pipe in [&mut self.request_pipe, &mut self.response_pipe] {
            if let Some(pipe) = pipe.take_if(|pipe| over || system.held(pipe) == 0) {
                pipes.give(system, pipe);
            }
        }
    }
}
