//! The worker's state for a listener and for a backend connection. The state for a client is in `client`.

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
    /// Number of the key of its events; never reused.
    pub(super) number: u32,
    /// Declared before `group`, and so dropped first: once the group is dropped, the socket is closed.
    pub(super) socket: L,
    pub(super) group: Arc<ListenGroup>,
    /// The accept queue may hold connections.
    pub(super) ready: bool,
    /// Paused at a limit; retried after the pause.
    pub(super) paused: bool,
    pub(super) state: ListenerState,
}

/// Lifecycle state of a listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ListenerState {
    /// In service.
    Staying,
    /// The kernel starts no new connections; handshakes in flight may complete until `at`.
    Closing { at: Tick },
    /// Closes as soon as its accept queue is empty, at `by` at the latest.
    Ending { by: Tick },
}

impl<L> Listener<L> {
    /// The accept queue is empty, as far as events have reported.
    pub(super) fn is_empty(&self) -> bool {
        !self.ready && !self.paused
    }

    /// Removes the listener from epoll, which would report a socket that other processes share forever. It
    /// closes as soon as its accept queue is empty, at `by` at the latest.
    pub(super) fn end<S: System<Listener = L>>(&mut self, system: &mut S, by: Tick) {
        system.forget_listener(&mut self.socket);
        self.state = ListenerState::Ending { by };
    }

    /// Accepts no more clients: other processes serve the accept queue.
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
    /// The exchange that uses it; `None` while idle.
    pub(super) user: Option<Key>,
    /// Its endpoint counts it as in use.
    pub(super) is_counted: bool,
    /// It is the trial of its endpoint, without a result yet.
    pub(super) is_trial: bool,
    /// Its last response was long.
    pub(super) bulk: bool,
    pub(super) deadline: Tick,
    pub(super) timer: Timer,
}

impl<T> Link<T> {
    /// Stops counting it at its endpoint, because its exchange is over.
    pub(super) fn stop_counting(&mut self) {
        if std::mem::take(&mut self.is_counted) {
            self.endpoint.end();
        }
    }
}
