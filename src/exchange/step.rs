//! The types between the exchange and the worker that drives it: steps, outcomes, readiness.

use crate::http::head::Persistence;
use crate::route::endpoint::EndpointId;
use crate::route::health::{Admission, Failure};

/// An end of an exchange.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// The sender of the request.
    Client,
    /// The sender of the response.
    Backend,
}

impl Side {
    /// The other end.
    #[must_use]
    pub const fn other(self) -> Self {
        match self {
            Self::Client => Self::Backend,
            Self::Backend => Self::Client,
        }
    }
}

/// The worker's next action, each with at most one system call. This list is everything that an exchange can
/// do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Read from that side's socket into memory.
    Read(Side),
    /// Check whether that side sent octets that were not read, and leave them there. If there are none, the
    /// outcome is `Blocked`.
    Peek(Side),
    /// Write memory to that side's socket.
    Write(Side),
    /// Splice from that side's socket into the pipe of its direction.
    Fill(Side),
    /// Splice to that side's socket from the pipe of the other direction.
    Drain(Side),
    /// Find a backend connection: an idle one, unless `fresh`, or a new one.
    Dial {
        /// An idle connection must not be used: the last one failed.
        fresh: bool,
    },
    /// Shut down the sending side of that side's socket.
    Shutdown(Side),
    /// Let go of the backend connection.
    Release(Release),
    /// The exchange is over: account for it. With `KeepAlive` the client connection persists.
    Finish(Persistence),
    /// Nothing can be done before a socket becomes ready or the deadline passes.
    Wait,
}

/// What becomes of a backend connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Release {
    /// Park it for a later exchange.
    Reuse,
    /// Close it.
    Close,
}

/// The endpoint that an exchange was sent to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Asked {
    /// The index of its backend in the pool.
    pub member: usize,
    /// Its id.
    pub endpoint: EndpointId,
    /// Whether it was known to be out of service.
    pub admission: Admission,
}

/// The outcome of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Octets were moved.
    Moved {
        /// The number of octets, never 0.
        count: usize,
        /// They filled the room: there may be more.
        full: bool,
    },
    /// The socket (or, filling, the pipe) was not ready.
    Blocked,
    /// The peer had closed its sending side.
    Ended,
    /// The connection cannot be used any more.
    Failed,
    /// A backend connection was found.
    Dialed {
        /// Where it leads.
        asked: Asked,
        /// It served an earlier exchange; a new one is still connecting unless `connected`.
        reused: bool,
        /// The last response on it was long.
        bulk: bool,
    },
    /// A connection to that endpoint could not be started.
    DialFailed {
        /// Which endpoint.
        asked: Asked,
        /// Why.
        failure: Failure,
    },
    /// A connection attempt that was started failed.
    Unconnected(Failure),
    /// The pool has no endpoint that can be tried.
    NoBackend,
    /// The system refused a pipe.
    NoPipe,
    /// A step without a result was performed.
    Done,
}

/// The readiness of a socket, from an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[expect(clippy::struct_excessive_bools, reason = "the independent flags of one epoll event")]
pub struct Readiness {
    /// There is something to read.
    pub readable: bool,
    /// There is room to write.
    pub writable: bool,
    /// The peer closed its sending side: no further event will report octets to read.
    pub read_closed: bool,
    /// The connection is reset or closed both ways.
    pub gone: bool,
}
