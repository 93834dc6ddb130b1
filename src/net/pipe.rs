//! Kernel pipes that carry bytes from socket to socket without their passing through memory (splice(2)).

use super::Stream;
use rustix::fd::OwnedFd;
use rustix::io::retry_on_intr;
use rustix::pipe::{PipeFlags, SpliceFlags, fcntl_getpipe_size, fcntl_setpipe_size, splice};
use std::io;

/// The size asked for: with 64 pages (of a socket's buffers) one fill moves what a busy loopback or network delivers a turn. The
/// kernel refuses it to users without privilege beyond `fs.pipe-user-pages-soft` (pipe(7)).
const PIPE_BYTES: usize = 256 * 1024;

/// The smallest pipe that is used: the kernel's default. Beyond `fs.pipe-user-pages-soft` a pipe has two pages, and moving
/// content by those costs several times what moving it through memory does.
const PIPE_BYTES_MIN: usize = 64 * 1024;

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
    pub fn fill(&mut self, socket: &Stream, count_max: usize) -> io::Result<usize> {
        let flags = SpliceFlags::MOVE | SpliceFlags::NONBLOCK;
        let count = retry_on_intr(|| splice(socket, None, &self.writer, None, count_max, flags))?;
        self.held += count;
        Ok(count)
    }

    /// Moves up to `count_max` octets to a socket.
    ///
    /// # Errors
    /// `WouldBlock` where the socket has no room; else the connection failed.
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

    /// Held by each test that needs a pipe: one of them takes all that the user may have.
    #[expect(clippy::disallowed_types, reason = "tests wait for each other")]
    pub(crate) static ALL_PIPES: std::sync::Mutex<()> = std::sync::Mutex::new(());

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
}
