//! A worker's pool of empty pipes.

use crate::base::{ObjectPool, Tick};
use crate::net::System;
use std::io;
use std::time::Duration;

/// Pause after the kernel refused a pipe or gave a small one.
const REFUSED_PAUSE: Duration = Duration::from_secs(1);

/// The pool of empty pipes of one worker.
#[derive(Debug)]
pub(super) struct Pipes<P> {
    free: ObjectPool<P>,
    /// No new pipe is requested from the kernel before this time, because it refused one.
    refused_until: Tick,
}

/// Empty pipes in the pool, two descriptors each.
const FREE_MAX: usize = 32;

/// Pools of at most this size are never trimmed.
const FREE_BASE: usize = 4;

impl<P> Default for Pipes<P> {
    fn default() -> Self {
        Self { free: ObjectPool::new(FREE_BASE, FREE_MAX), refused_until: Tick::default() }
    }
}

impl<P> Pipes<P> {
    /// An empty pipe from the pool, or a new one from `make`. `None` if the kernel refuses a pipe of a useful
    /// size, or did so within [`REFUSED_PAUSE`] before `now`.
    pub(super) fn take(&mut self, now: Tick, make: impl FnOnce() -> io::Result<P>) -> Option<P> {
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

    /// Returns a pipe to the pool. A pipe with octets left is dropped: it would carry one client's octets to
    /// another.
    pub(super) fn give<S: System<Pipe = P>>(&mut self, system: &S, pipe: P) {
        if system.held(&pipe) == 0 {
            self.free.give(pipe);
        }
    }

    /// Whether the pool is large enough to be trimmed.
    pub(super) fn has_surplus(&self) -> bool {
        self.free.has_surplus()
    }

    /// Closes pooled pipes if too many were not needed since the last look.
    pub(super) fn trim(&mut self) {
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
    use crate::net::pipe::Pipe;
    use crate::net::pipe::tests::ALL_PIPES;
    use crate::net::{Epoch, Kernel, Listener, listener};
    use std::io::Write;
    use std::net::Ipv4Addr;

    const NOW: Tick = Tick(1);

    #[test]
    fn after_a_refusal_no_pipe_is_asked_for_during_a_pause() {
        let _all = ALL_PIPES.lock();
        let (kernel, _) = Kernel::new(Epoch::start()).unwrap();
        let mut pipes = Pipes::default();
        let refuse = || Err(io::ErrorKind::QuotaExceeded.into());
        assert!(pipes.take(NOW, refuse).is_none());
        let before = Tick(NOW.after(REFUSED_PAUSE).0 - 1);
        assert!(pipes.take(before, || panic!("asked within the pause")).is_none());
        // Pipes returned to the pool are still used.
        pipes.give(&kernel, Pipe::new().unwrap());
        assert!(pipes.take(before, || panic!("asked although one is free")).is_some());
        assert!(pipes.take(NOW.after(REFUSED_PAUSE), Pipe::new).is_some());
    }

    #[test]
    fn a_pipe_with_octets_left_is_not_used_again() {
        let (mut kernel, _) = Kernel::new(Epoch::start()).unwrap();
        let listener = listener::bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
        let mut peer = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (stream, _) = kernel.accept(&Listener::from(listener)).unwrap();
        peer.write_all(b"one client's").unwrap();
        let _all = ALL_PIPES.lock();
        let mut pipes = Pipes::default();
        let mut pipe = pipes.take(NOW, Pipe::new).unwrap();
        assert_eq!(kernel.fill(&stream, &mut pipe, 3).unwrap(), 3);
        pipes.give(&kernel, pipe);
        let pipe = pipes.take(NOW, Pipe::new).unwrap();
        assert_eq!(kernel.held(&pipe), 0);
        // An empty pipe is reused.
        pipes.give(&kernel, pipe);
        assert_eq!(pipes.free.len(), 1);
    }
}
