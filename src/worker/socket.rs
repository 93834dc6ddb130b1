//! What a worker holds for a listener and for a backend connection. What it holds for a client is in `client`.

use super::listen_group::ListenGroup;
use super::wheel::Timer;
use crate::base::Key;
use crate::base::Tick;
use crate::net::System;
use crate::route::endpoint::HeldEndpoint;
use std::sync::Arc;

/// A listener of this worker.
#[derive(Debug)]
pub(super) struct Listener<L> {
    /// What its events are told by; never used again.
    pub(super) number: u32,
    /// It stands before the place: with the place gone, the socket is closed for certain.
    pub(super) socket: L,
    pub(super) group: Arc<ListenGroup>,
    /// Connections may be waiting.
    pub(super) ready: bool,
    /// At a limit: it is tried again after a pause.
    pub(super) paused: bool,
    pub(super) state: ListenerState,
}

/// What becomes of a listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ListenerState {
    /// It stays.
    Staying,
    /// No more connections begin. Those that have begun have until then.
    Closing { at: Tick },
    /// It is closed as soon as nobody waits, and then at the latest.
    Ending { by: Tick },
}

impl<L> Listener<L> {
    /// Nobody waits that was not told of.
    pub(super) fn is_empty(&self) -> bool {
        !self.ready && !self.paused
    }

    /// Needs no more events, and may get none: where others have the socket, epoll would tell of it for ever. It closes as soon
    /// as nobody waits, and then at the latest.
    pub(super) fn end<S: System<Listener = L>>(&mut self, system: &mut S, by: Tick) {
        system.forget_listener(&mut self.socket);
        self.state = ListenerState::Ending { by };
    }

    /// Accepts nobody more, whoever waits: others do.
    pub(super) fn leave_to_others<S: System<Listener = L>>(&mut self, system: &mut S, now: Tick) {
        self.end(system, now);
        (self.ready, self.paused) = (false, false);
    }
}

/// A backend connection.
#[derive(Debug)]
pub(super) struct Link<T> {
    pub(super) stream: T,
    pub(super) endpoint: HeldEndpoint,
    /// The exchange that uses it; none: it is at rest.
    pub(super) user: Option<Key>,
    /// Its endpoint counts the exchange that uses it.
    pub(super) is_counted: bool,
    /// The exchange that uses it is the endpoint's trial, and nothing is known of that yet.
    pub(super) is_trial: bool,
    /// The last response that came by it was long.
    pub(super) bulk: bool,
    pub(super) deadline: Tick,
    pub(super) timer: Timer,
}

impl<T> Link<T> {
    /// Its exchange is over.
    pub(super) fn stop_counting(&mut self) {
        if std::mem::take(&mut self.is_counted) {
            self.endpoint.end();
        }
    }
}
