//! A timer of the kernel that a poll tells of.

use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};
use rustix::fd::{AsRawFd, OwnedFd};
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
};
use std::io;
use std::time::Duration;

/// A timer that rings once when it was set (`timerfd_create(2)`). It needs no reading: each ring is an edge of its own.
#[derive(Debug)]
pub struct Timer(OwnedFd);

impl Timer {
    /// One that is not set and of which `registry` will tell under `token`.
    ///
    /// # Errors
    /// No descriptor is left.
    pub fn new(registry: &Registry, token: Token) -> io::Result<Self> {
        let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
        let timer = timerfd_create(TimerfdClockId::Monotonic, flags)?;
        registry.register(&mut SourceFd(&timer.as_raw_fd()), token, Interest::READABLE)?;
        Ok(Self(timer))
    }

    /// It rings when `pause` is over and never before, whatever it was set to.
    ///
    /// # Errors
    /// The system refuses it, which it has no reason for.
    pub fn set(&self, pause: Duration) -> io::Result<()> {
        // A time of 0 would stop it.
        let it_value = Timespec::try_from(pause.max(Duration::from_nanos(1))).map_err(io::Error::other)?;
        let it_interval = Timespec { tv_sec: 0, tv_nsec: 0 };
        timerfd_settime(&self.0, TimerfdTimerFlags::empty(), &Itimerspec { it_interval, it_value })?;
        Ok(())
    }
}
