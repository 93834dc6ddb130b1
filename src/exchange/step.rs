//! The words between the exchange and the worker that drives it: steps, their outcomes, readiness.

use crate::http::head::Persistence;
use crate::route::endpoint::EndpointId;
use crate::route::health::{Admission, Failure};

/// An end of an exchange.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// Who sent the request.
    Client,
    /// Who answers it.
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

/// What the worker is to do next, each with at most one system call. This list is everything that an exchange can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Read from that side's socket into memory.
    Read(Side),
    /// Look whether that side has sent anything that was not read, and leave it there. Nothing there is `Blocked`.
    Peek(Side),
    /// Write memory to that side's socket.
    Write(Side),
    /// Splice from that side's socket into the pipe of its direction.
    Fill(Side),
    /// Splice to that side's socket from the pipe of the other direction.
    Drain(Side),
    /// Find a backend connection: an idle one, unless `fresh`, or a new one.
    Dial {
        /// No idle connection: the last one failed.
        fresh: bool,
    },
    /// Shut down the sending side of that side's socket.
    Shutdown(Side),
    /// Let go of the backend connection.
    Release(Release),
    /// The exchange is over: account for it. With `KeepAlive` the client connection goes on.
    Finish(Persistence),
    /// Nothing can be done before a socket becomes ready or the deadline passes.
    Wait,
}

/// What becomes of a backend connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Release {
    /// It waits for its next exchange.
    Reuse,
    /// It is closed.
    Close,
}

/// The endpoint that an exchange was sent to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Asked {
    /// The index of its backend in the pool.
    pub member: usize,
    /// Its id.
    pub endpoint: EndpointId,
    /// Whether it was known to be out.
    pub admission: Admission,
}

/// What came of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// So many octets were moved, never 0.
    Moved {
        /// How many.
        count: usize,
        /// As many as there was room for: there may be more.
        full: bool,
    },
    /// The socket (or, filling, the pipe) was not ready.
    Blocked,
    /// The peer had closed its sending side.
    Ended,
    /// The connection is of no more use.
    Failed,
    /// A backend connection was found.
    Dialed {
        /// Where it leads.
        asked: Asked,
        /// It had served before; a new one is still connecting unless `connected`.
        reused: bool,
        /// The last response that came by it was long.
        bulk: bool,
    },
    /// A connection to that endpoint could not even be begun.
    DialFailed {
        /// Which endpoint.
        asked: Asked,
        /// Why.
        failure: Failure,
    },
    /// A connection that was begun did not come about.
    Unconnected(Failure),
    /// The pool has no endpoint that can be tried.
    NoBackend,
    /// The system has no pipe to give.
    NoPipe,
    /// A step that has no outcome was done.
    Done,
}

/// What an event says of a socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[expect(clippy::struct_excessive_bools, reason = "the independent flags of one epoll event")]
pub struct Readiness {
    /// There is something to read.
    pub readable: bool,
    /// There is room to write.
    pub writable: bool,
    /// The peer closed its sending side: no further event will tell of data.
    pub read_closed: bool,
    /// The connection is reset or closed both ways.
    pub gone: bool,
}
