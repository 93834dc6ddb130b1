//! Kernel pipes that carry octets from socket to socket without copying them to user space (splice(2)).

use super::Stream;
use rustix::fd::OwnedFd;
use rustix::io::retry_on_intr;
use rustix::pipe::{PipeFlags, SpliceFlags, fcntl_getpipe_size, fcntl_setpipe_size, splice};
use std::io;

/// Requested size: with 64 pages (of socket buffers) one fill moves all data that a busy loopback or network
/// delivers per turn. Above `fs.pipe-user-pages-soft` the kernel refuses it to unprivileged users (pipe(7)).
const PIPE_BYTES: usize = 256 * 1024;

/// Minimum usable size: the kernel's default. Above `fs.pipe-user-pages-soft` a pipe has two pages, and costs
/// several times as much as a copy through memory.
const PIPE_BYTES_MIN: usize = 64 * 1024;

/// A pipe and the number of octets in it.
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
    /// The process is out of descriptors; `QuotaExceeded` if the kernel's pipe has less than 64 KiB.
    pub fn new() -> io::Result<Self> {
        let (reader, writer) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
        let size = fcntl_setpipe_size(&writer, PIPE_BYTES).or_else(|_| fcntl_getpipe_size(&writer))?;
        if size < PIPE_BYTES_MIN {
            return Err(io::ErrorKind::QuotaExceeded.into());
        }
        Ok(Self { reader, writer, held: 0 })
    }

    /// Octets in the pipe.
    pub fn held(&self) -> usize {
        self.held
    }

    /// Moves up to `count_max` octets from a socket. Returns 0 at the end of the stream.
    ///
    /// # Errors
    /// `WouldBlock` if the socket has no data or the pipe no room; otherwise the connection failed.
    pub fn fill(&mut self, socket: &Stream, count_max: usize) -> io::Result<usize> {
        let flags = SpliceFlags::MOVE | SpliceFlags::NONBLOCK;
        let count = retry_on_intr(|| splice(socket, None, &self.writer, None, count_max, flags))?;
        self.held += count;
        Ok(count)
    }

    /// Moves up to `count_max` octets to a socket.
    ///
    /// # Errors
    /// `WouldBlock` if the socket has no room; otherwise the connection failed.
    pub fn drain(&mut self, socket: &Stream, count_max: usize) -> io::Result<usize> {
        let flags = SpliceFlags::MOVE | SpliceFlags::NONBLOCK;
        let count = retry_on_intr(|| splice(&self.reader, None, socket, None, count_max, flags))?;
        self.held = self.held.saturating_sub(count);
        Ok(count)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Locked by each test that needs a pipe, because one test uses up the user's quota.
    #[expect(clippy::disallowed_types, reason = "tests wait for each other")]
    pub(crate) static ALL_PIPES: std::sync::Mutex<()> = std::sync::Mutex::new(());

    /// An unprivileged user gets 256 pipes of the requested size, then pipes of 8 KiB. The limit counts all
    /// processes of a user. A privileged user has no limit.
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
}
