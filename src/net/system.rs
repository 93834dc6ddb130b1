//! All requests of a worker to the kernel, as a trait. [`super::Kernel`] is the real implementation; tests
//! simulate one. It decides nothing.

use crate::base::{Address, Key, Tick};
use std::fmt::Debug;
use std::io;
use std::net::IpAddr;
use std::time::{Duration, SystemTime};

/// Events that one poll reports at most. Further events stay in the kernel, in order.
pub const EVENTS_MAX: usize = 512;

/// Key of the system's own events (a wake by another thread, the alarm). They only end the poll.
pub const SYSTEM_KEY: Key = Key::new(0, 0, 0);

/// An event of a socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "the independent flags of one epoll event")]
pub struct Event {
    /// The key that the socket was registered with.
    pub key: Key,
    /// Data to read, or a connection to accept.
    pub readable: bool,
    /// Room to write.
    pub writable: bool,
    /// The peer closed its sending side.
    pub read_closed: bool,
    /// The connection was reset, or closed in both directions.
    pub gone: bool,
}

/// How complete the report of a poll is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Poll {
    /// All pending events.
    Complete,
    /// [`EVENTS_MAX`] events; more may be pending.
    Full,
    /// None: a signal interrupted the poll.
    Interrupted,
}

/// The peer of an accepted connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Peer {
    /// A TCP client.
    Ip(IpAddr),
    /// A client of a Unix socket, which has no address.
    Unix,
}

impl From<IpAddr> for Peer {
    fn from(address: IpAddr) -> Self {
        Self::Ip(address)
    }
}

/// The kernel as a worker sees it. Only [`System::poll`] blocks. Sockets are closed by dropping them.
pub trait System {
    /// A connected socket.
    type Stream: Debug;
    /// A listening socket.
    type Listener: Debug;
    /// A pipe that carries octets from socket to socket, with its content.
    type Pipe: Debug;

    /// Waits for events, at most for `timeout`, and replaces the content of `events`.
    fn poll(&mut self, events: &mut Vec<Event>, timeout: Option<Duration>) -> Poll;

    /// Ends a poll after `pause`. Replaces an earlier alarm.
    ///
    /// # Errors
    /// The system refused to set the timer, which is not expected.
    fn set_alarm(&mut self, pause: Duration) -> io::Result<()>;

    /// The time of the process clock, which never goes back. It starts after tick 0.
    fn now(&mut self) -> Tick;

    /// An unpredictable number, drawn once per worker: the random sequences of workers and processes differ.
    fn chance(&mut self) -> u64;

    /// The wall clock.
    fn wall(&mut self) -> SystemTime;

    /// Has polls report changes of a stream under `key`, edge-triggered, in both directions. Called once per
    /// stream.
    ///
    /// # Errors
    /// The kernel has no room for it.
    fn register(&mut self, stream: &mut Self::Stream, key: Key) -> io::Result<()>;

    /// Has polls report new connections of a listener. Connections in the accept queue may not be reported.
    ///
    /// # Errors
    /// The kernel has no room for it.
    fn listen(&mut self, listener: &mut Self::Listener, key: Key) -> io::Result<()>;

    /// Stops reports about a listener.
    fn forget_listener(&mut self, listener: &mut Self::Listener);

    /// Has the kernel start no new connections at a listener that only this process has, and complete
    /// handshakes in flight.
    ///
    /// # Errors
    /// The kernel refused: connections that start before the listener closes are reset then.
    fn begin_no_more(&mut self, listener: &mut Self::Listener) -> io::Result<()>;

    /// Takes a connection from the accept queue.
    ///
    /// # Errors
    /// `WouldBlock` if the queue is empty; `ConnectionAborted` if the queued connection failed; the process
    /// is out of descriptors.
    fn accept(&mut self, listener: &Self::Listener) -> io::Result<(Self::Stream, Peer)>;

    /// Starts to connect and returns at once; the first write reports the result.
    ///
    /// # Errors
    /// [`System::is_out_of_resources`], or the address is unreachable.
    fn connect(&mut self, address: &Address) -> io::Result<Self::Stream>;

    /// Whether this error is a limit of this machine (descriptors, memory, watches). All other failures to
    /// connect concern the address.
    fn is_out_of_resources(&self, error: &io::Error) -> bool;

    /// Reads into the spare capacity of `bytes`, of which there must be some. Returns 0 at the end of the
    /// stream.
    ///
    /// # Errors
    /// `WouldBlock` if there is no data; otherwise the connection failed.
    fn read(&mut self, stream: &Self::Stream, bytes: &mut Vec<u8>) -> io::Result<usize>;

    /// Writes the pieces in order, as far as there is room. If `more` follows at once, a partial segment is
    /// held back until then, until [`System::push`] at the latest.
    ///
    /// # Errors
    /// `WouldBlock` if there is no room; otherwise the connection failed.
    fn write(&mut self, stream: &Self::Stream, pieces: [&[u8]; 3], more: bool) -> io::Result<usize>;

    /// Makes an empty pipe.
    ///
    /// # Errors
    /// The process is out of descriptors.
    fn pipe(&mut self) -> io::Result<Self::Pipe>;

    /// Octets in a pipe.
    fn held(&self, pipe: &Self::Pipe) -> usize;

    /// Moves up to `count_max` octets from a stream to a pipe. Returns 0 at the end of the stream.
    ///
    /// # Errors
    /// `WouldBlock` if the stream has no data or the pipe no room; otherwise the connection failed.
    fn fill(&mut self, stream: &Self::Stream, pipe: &mut Self::Pipe, count_max: usize) -> io::Result<usize>;

    /// Moves up to `count_max` octets from a pipe to a stream.
    ///
    /// # Errors
    /// `WouldBlock` if the stream has no room; otherwise the connection failed.
    fn drain(&mut self, stream: &Self::Stream, pipe: &mut Self::Pipe, count_max: usize) -> io::Result<usize>;

    /// Sends a partial segment that was held back.
    fn push(&mut self, stream: &Self::Stream);

    /// Has polls report a stream as readable from `octets` octets on, at the end of the stream, or when its
    /// buffer is full. After the mark is lowered, data that is already there is reported at once.
    ///
    /// # Errors
    /// The stream cannot do this: reports stay as they were.
    fn set_low_water(&mut self, stream: &Self::Stream, octets: usize) -> io::Result<()>;

    /// Whether a connection is open and has no unread data.
    fn is_quiet(&mut self, stream: &Self::Stream) -> bool;

    /// Octets that the peer has acknowledged since the connection was opened; `None` if the kernel does not
    /// count them.
    fn acknowledged(&mut self, stream: &Self::Stream) -> Option<u64>;

    /// Shuts down the sending side. On a closed connection this has no effect.
    fn shut_down(&mut self, stream: &Self::Stream);

    /// Closes a connection with a reset, if its kind has one, so that the peer cannot take it for a regular
    /// end.
    fn close_by_reset(&mut self, stream: Self::Stream);
}
