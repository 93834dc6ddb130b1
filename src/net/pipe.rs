//! Kernel pipes that carry bytes from socket to socket without their passing through memory (splice(2)).

use crate::base::{ObjectPool, Tick};
use mio::net::TcpStream;
use rustix::fd::OwnedFd;
use rustix::io::retry_on_intr;
use rustix::pipe::{PipeFlags, SpliceFlags, fcntl_getpipe_size, fcntl_setpipe_size, splice};
use std::io;
use std::time::Duration;

/// The size asked for: with 64 pages (of a socket's buffers) one fill moves what a busy loopback or network delivers a turn. The
/// kernel refuses it to users without privilege beyond `fs.pipe-user-pages-soft` (pipe(7)).
const PIPE_BYTES: usize = 256 * 1024;

/// The smallest pipe that is used: the kernel's default. Beyond `fs.pipe-user-pages-soft` a pipe has two pages, and moving
/// content by those costs several times what moving it through memory does.
const PIPE_BYTES_MIN: usize = 64 * 1024;

/// After the kernel had no pipe to give, or a small one, it is not asked again for so long.
const REFUSED_PAUSE: Duration = Duration::from_secs(1);

/// A pipe and the octets that it holds.
#[derive(Debug)]
pub struct Pipe {
    reader: OwnedFd,
    writer: OwnedFd,
    held: usize,
}

impl Pipe {
    /// Makes an empty pipe, close-on-exec and nonblocking (pipe2(2)).
    ///
    /// # Errors
    /// No descriptor is left; `QuotaExceeded` where the kernel gave one of less than 64 KiB.
    pub fn new() -> io::Result<Self> {
        let (reader, writer) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
        let size = fcntl_setpipe_size(&writer, PIPE_BYTES).or_else(|_| fcntl_getpipe_size(&writer))?;
        if size < PIPE_BYTES_MIN {
            return Err(io::ErrorKind::QuotaExceeded.into());
        }
        Ok(Self { reader, writer, held: 0 })
    }

    /// Octets that it holds.
    pub fn held(&self) -> usize {
        self.held
    }

    /// Moves up to `count_max` octets from a socket; 0 at the end of what its peer sent.
    ///
    /// # Errors
    /// `WouldBlock` where the socket has nothing or the pipe no room; else the connection failed.
    pub fn fill(&mut self, socket: &TcpStream, count_max: usize) -> io::Result<usize> {
        let flags = SpliceFlags::MOVE | SpliceFlags::NONBLOCK;
        let count = retry_on_intr(|| splice(socket, None, &self.writer, None, count_max, flags))?;
        self.held += count;
        Ok(count)
    }

    /// Moves up to `count_max` octets to a socket.
    ///
    /// # Errors
    /// `WouldBlock` where the socket has no room; else the connection failed.
    pub fn drain(&mut self, socket: &TcpStream, count_max: usize) -> io::Result<usize> {
        let flags = SpliceFlags::MOVE | SpliceFlags::NONBLOCK;
        let count = retry_on_intr(|| splice(&self.reader, None, socket, None, count_max, flags))?;
        self.held = self.held.saturating_sub(count);
        Ok(count)
    }
}

/// The empty pipes of one worker.
#[derive(Debug)]
pub struct Pipes {
    free: ObjectPool<Pipe>,
    /// The kernel refused one: until then it is not asked for another.
    refused_until: Tick,
}

/// Empty pipes kept for later, two descriptors each.
const FREE_MAX: usize = 32;

/// No more than these are not worth a look at what was needed.
const FREE_BASE: usize = 4;

impl Default for Pipes {
    fn default() -> Self {
        Self { free: ObjectPool::new(FREE_BASE, FREE_MAX), refused_until: Tick::default() }
    }
}

impl Pipes {
    /// An empty pipe; none where the kernel has none of a useful size, or had none a moment before `now`.
    pub fn take(&mut self, now: Tick) -> Option<Pipe> {
        self.take_or(now, Pipe::new)
    }

    fn take_or(&mut self, now: Tick, make: impl FnOnce() -> io::Result<Pipe>) -> Option<Pipe> {
        if let Some(pipe) = self.free.take() {
            return Some(pipe);
        }
        if now < self.refused_until {
            return None;
        }
        let pipe = make();
        if pipe.is_err() {
            self.refused_until = now.after(REFUSED_PAUSE);
        }
        pipe.ok()
    }

    /// Takes a pipe back. One with bytes left is dropped: it would carry one client's bytes to another.
    pub fn give(&mut self, pipe: Pipe) {
        if pipe.held() == 0 {
            self.free.give(pipe);
        }
    }

    /// More are kept than is worth a look.
    pub fn has_surplus(&self) -> bool {
        self.free.has_surplus()
    }

    /// Closes them if too many were not needed since the last look.
    pub fn trim(&mut self) {
        if self.free.is_unneeded() {
            self.free.trim();
        } else {
            self.free.look();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::net::{Ipv4Addr, TcpListener};

    const NOW: Tick = Tick(1);

    /// Held by each test that needs a pipe: one of them takes all that the user may have.
    #[expect(clippy::disallowed_types, reason = "tests wait for each other")]
    static ALL_PIPES: std::sync::Mutex<()> = std::sync::Mutex::new(());

    /// A user without privilege gets 256 pipes of the size asked for, and then some of 8 KiB; the limit counts all processes of
    /// the user. Another user finds none.
    #[test]
    fn a_pipe_is_large_enough_to_be_worth_its_calls_or_is_not_made() {
        let _all = ALL_PIPES.lock();
        let mut pipes: Vec<Pipe> = Vec::new();
        let refused = loop {
            match Pipe::new() {
                Ok(pipe) if pipes.len() < 300 => pipes.push(pipe),
                Ok(_) => break None,
                Err(error) => break Some(error.kind()),
            }
        };
        assert!(matches!(refused, None | Some(io::ErrorKind::QuotaExceeded)), "{refused:?}");
        for pipe in &pipes {
            assert!(fcntl_getpipe_size(&pipe.writer).unwrap() >= PIPE_BYTES_MIN);
        }
    }

    #[test]
    fn after_a_refusal_no_pipe_is_asked_for_during_a_pause() {
        let _all = ALL_PIPES.lock();
        let mut pipes = Pipes::default();
        let refuse = || Err(io::ErrorKind::QuotaExceeded.into());
        assert!(pipes.take_or(NOW, refuse).is_none());
        let before = Tick(NOW.after(REFUSED_PAUSE).0 - 1);
        assert!(pipes.take_or(before, || panic!("asked within the pause")).is_none());
        // Those that come back serve meanwhile.
        pipes.give(Pipe::new().unwrap());
        assert!(pipes.take_or(before, || panic!("asked although one is free")).is_some());
        assert!(pipes.take_or(NOW.after(REFUSED_PAUSE), Pipe::new).is_some());
    }

    #[test]
    fn a_pipe_with_octets_left_is_not_used_again() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let mut peer = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        // It stays as it was made: a fill waits for the octets.
        let socket = TcpStream::from_std(listener.accept().unwrap().0);
        peer.write_all(b"one client's").unwrap();
        let _all = ALL_PIPES.lock();
        let mut pipes = Pipes::default();
        let mut pipe = pipes.take(NOW).unwrap();
        assert_eq!(pipe.fill(&socket, 3).unwrap(), 3);
        pipes.give(pipe);
        let pipe = pipes.take(NOW).unwrap();
        assert_eq!(pipe.held(), 0);
        // An empty one is.
        pipes.give(pipe);
        assert_eq!(pipes.free.len(), 1);
    }
}
