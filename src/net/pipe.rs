//! Kernel pipes that carry bytes from socket to socket without their passing through memory (splice(2)).

use crate::base::ObjectPool;
use mio::net::TcpStream;
use rustix::fd::OwnedFd;
use rustix::io::retry_on_intr;
use rustix::pipe::{PipeFlags, SpliceFlags, splice};
use std::io;

/// The size asked for: with 64 pages (of a socket's buffers) one fill moves what a busy loopback or network delivers a turn. The
/// kernel refuses it to users without privilege beyond `fs.pipe-user-pages-soft`; a pipe then keeps its 64 KiB.
const PIPE_BYTES: usize = 256 * 1024;

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
    /// No descriptor is left.
    pub fn new() -> io::Result<Self> {
        let (reader, writer) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
        let _ = rustix::pipe::fcntl_setpipe_size(&writer, PIPE_BYTES);
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
}

/// Empty pipes kept for later, two descriptors each.
const FREE_MAX: usize = 32;

/// No more than these are not worth a look at what was needed.
const FREE_BASE: usize = 4;

impl Default for Pipes {
    fn default() -> Self {
        Self { free: ObjectPool::new(FREE_BASE, FREE_MAX) }
    }
}

impl Pipes {
    /// An empty pipe.
    ///
    /// # Errors
    /// As [`Pipe::new`].
    pub fn take(&mut self) -> io::Result<Pipe> {
        self.free.take().map_or_else(Pipe::new, Ok)
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

    #[test]
    fn a_pipe_with_octets_left_is_not_used_again() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let mut peer = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        // It stays as it was made: a fill waits for the octets.
        let socket = TcpStream::from_std(listener.accept().unwrap().0);
        peer.write_all(b"one client's").unwrap();
        let mut pipes = Pipes::default();
        let mut pipe = pipes.take().unwrap();
        assert_eq!(pipe.fill(&socket, 3).unwrap(), 3);
        pipes.give(pipe);
        let pipe = pipes.take().unwrap();
        assert_eq!(pipe.held(), 0);
        // An empty one is.
        pipes.give(pipe);
        assert_eq!(pipes.free.len(), 1);
    }
}
