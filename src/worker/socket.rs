//! What a worker holds for a listener and for a backend connection. What it holds for a client is in `client`.

use super::listen_group::ListenGroup;
use super::wheel::Timer;
use crate::base::Key;
use crate::base::Tick;
use crate::route::backend::BackendId;
use mio::Poll;
use mio::net::{TcpListener, TcpStream};
use std::sync::Arc;

/// A listener of this worker.
#[derive(Debug)]
pub(super) struct Listener {
    /// What its events are told by; never used again.
    pub(super) number: u32,
    /// It stands before the place: with the place gone, the socket is closed for certain.
    pub(super) socket: TcpListener,
    pub(super) group: Arc<ListenGroup>,
    /// What it accepts is paced, which peers on this machine are to be spared.
    pub(super) paced: bool,
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

impl Listener {
    /// Nobody waits that was not told of.
    pub(super) fn is_empty(&self) -> bool {
        !self.ready && !self.paused
    }

    /// Needs no more events, and may get none: where others have the socket, epoll would tell of it for ever. It closes as soon
    /// as nobody waits, and then at the latest.
    pub(super) fn end(&mut self, poll: &Poll, by: Tick) {
        let _ = poll.registry().deregister(&mut self.socket);
        self.state = ListenerState::Ending { by };
    }

    /// Accepts nobody more, whoever waits: others do.
    pub(super) fn leave_to_others(&mut self, poll: &Poll, now: Tick) {
        self.end(poll, now);
        (self.ready, self.paused) = (false, false);
    }
}

/// A backend connection.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) socket: TcpStream,
    pub(super) backend: BackendId,
    /// The client whose exchange uses it; none: it is at rest.
    pub(super) user: Option<Key>,
    /// The last response that came by it was long.
    pub(super) bulk: bool,
    pub(super) deadline: Tick,
    pub(super) timer: Timer,
}
