//! The real kernel behind [`System`]: one epoll and one timer per worker.

use super::listener::Listener;
use super::pipe::Pipe;
use super::process;
use super::stream::{self, Stream};
use super::system::{EVENTS_MAX, Event, Peer, Poll, SYSTEM_KEY, System};
use super::timer::Timer;
use crate::base::{Address, Key, Tick};
use mio::unix::SourceFd;
use mio::{Interest, Token};
use rustix::fd::{AsFd, AsRawFd};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io;
use std::time::{Duration, SystemTime};

/// Start of the process clock; the same for all threads.
#[derive(Debug, Clone, Copy)]
pub struct Epoch {
    /// The monotonic clock at the start, in microseconds.
    begun_us: u64,
}

impl Epoch {
    /// Starts the process clock.
    pub fn start() -> Self {
        Self { begun_us: process::monotonic_us() }
    }

    /// The current time of the process clock.
    pub fn now(&self) -> Tick {
        // Tick 0 means "never", so the clock starts at tick 1.
        Tick(1 + process::monotonic_us().saturating_sub(self.begun_us))
    }
}

/// Ends the poll of one worker from another thread.
#[derive(Debug)]
pub struct Waker(mio::Waker);

impl Waker {
    /// Ends the current poll, or else the next one.
    pub fn wake(&self) {
        // If the wake fails, the worker continues at its next event.
        let _ = self.0.wake();
    }
}

/// The kernel, for one worker.
#[derive(Debug)]
pub struct Kernel {
    poll: mio::Poll,
    events: mio::Events,
    timer: Timer,
    epoch: Epoch,
}

impl Kernel {
    /// A new epoll and its waker.
    ///
    /// # Errors
    /// The process is out of descriptors.
    pub fn new(epoch: Epoch) -> io::Result<(Self, Waker)> {
        let poll = mio::Poll::new()?;
        let waker = mio::Waker::new(poll.registry(), token(SYSTEM_KEY))?;
        let timer = Timer::new(poll.registry(), token(SYSTEM_KEY))?;
        Ok((Self { poll, events: mio::Events::with_capacity(EVENTS_MAX), timer, epoch }, Waker(waker)))
    }

    fn register(&mut self, socket: impl AsFd, key: Key, interest: Interest) -> io::Result<()> {
        let socket = socket.as_fd().as_raw_fd();
        self.poll.registry().register(&mut SourceFd(&socket), token(key), interest)
    }
}

#[expect(clippy::cast_possible_truncation, reason = "a word has 64 bits: `lib.rs` holds that")]
const fn token(key: Key) -> Token {
    Token(key.bits() as usize)
}

impl From<&mio::event::Event> for Event {
    fn from(event: &mio::event::Event) -> Self {
        Self {
            key: Key::from_bits(event.token().0 as u64),
            readable: event.is_readable(),
            writable: event.is_writable(),
            read_closed: event.is_read_closed(),
            gone: event.is_write_closed() || event.is_error(),
        }
    }
}

impl System for Kernel {
    type Stream = Stream;
    type Listener = Listener;
    type Pipe = Pipe;

    fn poll(&mut self, events: &mut Vec<Event>, timeout: Option<Duration>) -> Poll {
        events.clear();
        match self.poll.poll(&mut self.events, timeout) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Poll::Interrupted,
            Err(error) => panic!("epoll_wait failed: {error}"),
        }
        events.extend(self.events.iter().map(Event::from));
        if events.len() == EVENTS_MAX { Poll::Full } else { Poll::Complete }
    }

    fn set_alarm(&mut self, pause: Duration) -> io::Result<()> {
        self.timer.set(pause)
    }

    fn now(&mut self) -> Tick {
        self.epoch.now()
    }

    fn chance(&mut self) -> u64 {
        // The keys of the standard library's hasher come from the system's random source.
        RandomState::new().build_hasher().finish()
    }

    #[expect(clippy::disallowed_methods, reason = "this is the clock that others are given")]
    fn wall(&mut self) -> SystemTime {
        SystemTime::now()
    }

    fn register(&mut self, stream: &mut Stream, key: Key) -> io::Result<()> {
        self.register(stream, key, Interest::READABLE | Interest::WRITABLE)
    }

    fn listen(&mut self, listener: &mut Listener, key: Key) -> io::Result<()> {
        listener.spare_pacing();
        self.register(listener, key, Interest::READABLE)
    }

    fn forget_listener(&mut self, listener: &mut Listener) {
        let socket = listener.as_fd().as_raw_fd();
        // The call fails if the listener is not registered; then there is nothing to undo.
        let _ = self.poll.registry().deregister(&mut SourceFd(&socket));
    }

    fn begin_no_more(&mut self, listener: &mut Listener) -> io::Result<()> {
        listener.begin_no_more()
    }

    fn accept(&mut self, listener: &Listener) -> io::Result<(Stream, Peer)> {
        listener.accept()
    }

    fn connect(&mut self, address: &Address) -> io::Result<Stream> {
        Stream::connect(address)
    }

    fn is_out_of_resources(&self, error: &io::Error) -> bool {
        stream::is_out_of_resources(error)
    }

    fn read(&mut self, stream: &Stream, bytes: &mut Vec<u8>) -> io::Result<usize> {
        stream.read(bytes)
    }

    fn write(&mut self, stream: &Stream, pieces: [&[u8]; 3], more: bool) -> io::Result<usize> {
        stream.write(pieces, more)
    }

    fn pipe(&mut self) -> io::Result<Pipe> {
        Pipe::new()
    }

    fn held(&self, pipe: &Pipe) -> usize {
        pipe.held()
    }

    fn fill(&mut self, stream: &Stream, pipe: &mut Pipe, count_max: usize) -> io::Result<usize> {
        pipe.fill(stream, count_max)
    }

    fn drain(&mut self, stream: &Stream, pipe: &mut Pipe, count_max: usize) -> io::Result<usize> {
        pipe.drain(stream, count_max)
    }

    fn push(&mut self, stream: &Stream) {
        stream.push();
    }

    fn set_low_water(&mut self, stream: &Stream, octets: usize) -> io::Result<()> {
        stream.set_low_water(octets)
    }

    fn is_quiet(&mut self, stream: &Stream) -> bool {
        stream.is_quiet()
    }

    fn acknowledged(&mut self, stream: &Stream) -> Option<u64> {
        stream.acknowledged()
    }

    fn shut_down(&mut self, stream: &Stream) {
        stream.shut_down();
    }

    fn close_by_reset(&mut self, stream: Stream) {
        stream.close_by_reset();
    }
}
