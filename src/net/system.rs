//! Everything that a worker asks of the kernel, as a trait: [`super::Kernel`] is the real one, tests simulate one. Nothing here
//! decides anything.

use crate::base::{Address, Key, Tick};
use std::fmt::Debug;
use std::io;
use std::net::IpAddr;
use std::time::{Duration, SystemTime};

/// Events that one poll tells of at most. More wait in the kernel, in order.
pub const EVENTS_MAX: usize = 512;

/// The key of the system's own events (a wake by another thread, the alarm): they say no more than that the poll is over.
pub const SYSTEM_KEY: Key = Key::new(0, 0, 0);

/// What an event tells of a socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "the independent flags of one epoll event")]
pub struct Event {
    /// The key that the socket was registered with.
    pub key: Key,
    /// There is something to read, or a connection to accept.
    pub readable: bool,
    /// There is room to write.
    pub writable: bool,
    /// The peer closed its sending side.
    pub read_closed: bool,
    /// The connection is reset or closed both ways.
    pub gone: bool,
}

/// How much a poll has told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Poll {
    /// Everything that there was.
    Complete,
    /// [`EVENTS_MAX`] events: there may be more.
    Full,
    /// Nothing: a signal came first.
    Interrupted,
}

/// The peer of an accepted connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Peer {
    /// A TCP client.
    Ip(IpAddr),
    /// A client of a Unix socket: it has no address.
    Unix,
}

impl From<IpAddr> for Peer {
    fn from(address: IpAddr) -> Self {
        Self::Ip(address)
    }
}

/// The kernel as a worker sees it. No call blocks but [`System::poll`]; sockets are closed by dropping them.
pub trait System {
    /// A connected socket.
    type Stream: Debug;
    /// A listening socket.
    type Listener: Debug;
    /// A pipe that carries octets from socket to socket, with what it holds.
    type Pipe: Debug;

    /// Waits for events, at most for `timeout`, and replaces what `events` holds.
    fn poll(&mut self, events: &mut Vec<Event>, timeout: Option<Duration>) -> Poll;

    /// Has a poll end once `pause` is over, whatever was set before.
    ///
    /// # Errors
    /// The system refuses it, which it has no reason for.
    fn set_alarm(&mut self, pause: Duration) -> io::Result<()>;

    /// The time on the process clock, which never goes back. It begins after tick 0.
    fn now(&mut self) -> Tick;

    /// A number that nobody foretells; asked once a worker. Two workers, and two processes, begin apart.
    fn chance(&mut self) -> u64;

    /// The time of day.
    fn wall(&mut self) -> SystemTime;

    /// Has polls tell of a stream under `key`, once for each change, in both directions. Asked once a stream.
    ///
    /// # Errors
    /// The kernel has no room for it.
    fn register(&mut self, stream: &mut Self::Stream, key: Key) -> io::Result<()>;

    /// Has polls tell of connections that come to a listener. Those that wait already may not be told of.
    ///
    /// # Errors
    /// The kernel has no room for it.
    fn listen(&mut self, listener: &mut Self::Listener, key: Key) -> io::Result<()>;

    /// Polls tell no more of that listener.
    fn forget_listener(&mut self, listener: &mut Self::Listener);

    /// Has the kernel begin no more connections at a listener of this process alone, and finish those that have begun.
    ///
    /// # Errors
    /// The kernel refuses: connections that begin before the listener is closed are reset then.
    fn begin_no_more(&mut self, listener: &mut Self::Listener) -> io::Result<()>;

    /// Takes a connection that waits at a listener.
    ///
    /// # Errors
    /// `WouldBlock` where none waits; `ConnectionAborted` where the one that waited failed; no descriptor is left.
    fn accept(&mut self, listener: &Self::Listener) -> io::Result<(Self::Stream, Peer)>;

    /// Begins to connect and does not wait: whether it worked, the first write tells.
    ///
    /// # Errors
    /// [`System::is_out_of_resources`], or the address cannot be reached at all.
    fn connect(&mut self, address: &Address) -> io::Result<Self::Stream>;

    /// Does this name a limit of this machine (no descriptor, memory or watch is left)? Every other failure to connect is that
    /// address's.
    fn is_out_of_resources(&self, error: &io::Error) -> bool;

    /// Reads into the spare capacity of `bytes`, which is not empty; 0 at the end of what the peer sent.
    ///
    /// # Errors
    /// `WouldBlock` where nothing is there; else the connection failed.
    fn read(&mut self, stream: &Self::Stream, bytes: &mut Vec<u8>) -> io::Result<usize>;

    /// Writes the pieces in their order, as far as there is room. Where `more` follows at once, the last part of a segment waits
    /// for it, until [`System::push`] at the latest.
    ///
    /// # Errors
    /// `WouldBlock` where there is no room at all; else the connection failed.
    fn write(&mut self, stream: &Self::Stream, pieces: [&[u8]; 3], more: bool) -> io::Result<usize>;

    /// An empty pipe.
    ///
    /// # Errors
    /// No descriptor is left.
    fn pipe(&mut self) -> io::Result<Self::Pipe>;

    /// Octets that a pipe holds.
    fn held(&self, pipe: &Self::Pipe) -> usize;

    /// Moves up to `count_max` octets from a stream into a pipe; 0 at the end of what the peer sent.
    ///
    /// # Errors
    /// `WouldBlock` where the stream has nothing or the pipe no room; else the connection failed.
    fn fill(&mut self, stream: &Self::Stream, pipe: &mut Self::Pipe, count_max: usize) -> io::Result<usize>;

    /// Moves up to `count_max` octets from a pipe to a stream.
    ///
    /// # Errors
    /// `WouldBlock` where the stream has no room; else the connection failed.
    fn drain(&mut self, stream: &Self::Stream, pipe: &mut Self::Pipe, count_max: usize) -> io::Result<usize>;

    /// Sends what waits for more.
    fn push(&mut self, stream: &Self::Stream);

    /// Has polls tell that there is something to read once there are so many octets, or the end, or no room for more. Lowered,
    /// what is there is told of at once.
    ///
    /// # Errors
    /// The stream cannot: polls tell of it as before.
    fn set_low_water(&mut self, stream: &Self::Stream, octets: usize) -> io::Result<()>;

    /// Is a connection open, and has its peer sent nothing that was not read?
    fn is_quiet(&mut self, stream: &Self::Stream) -> bool;

    /// Octets that the peer has acknowledged since the connection began; none where the kernel does not count them.
    fn acknowledged(&mut self, stream: &Self::Stream) -> Option<u64>;

    /// Shuts down the sending side. A connection that is gone already needs none, so that is no error.
    fn shut_down(&mut self, stream: &Self::Stream);

    /// Closes a connection by a reset, where its kind has one, so that the peer cannot take its end for a plain one.
    fn close_by_reset(&mut self, stream: Self::Stream);
}
