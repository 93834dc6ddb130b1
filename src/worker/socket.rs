//! What a worker holds for a listener and for a backend connection. What it holds for a client is in `client`.

use super::arena::Key;
use crate::exchange::Tick;
use crate::route::backend::BackendId;
use mio::net::{TcpListener, TcpStream};

/// A listener of this worker.
#[derive(Debug)]
pub(super) struct Listener {
    pub(super) socket: TcpListener,
    /// Connections may be waiting.
    pub(super) ready: bool,
    /// At a limit: it is tried again after a pause.
    pub(super) paused: bool,
}

/// A backend connection.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) socket: TcpStream,
    pub(super) backend: BackendId,
    /// The client whose exchange uses it; none: it is at rest.
    pub(super) user: Option<Key>,
    pub(super) deadline: Tick,
    pub(super) asked_at: Tick,
}
