//! A kernel timer that a poll reports.

use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};
use rustix::fd::{AsRawFd, OwnedFd};
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
};
use std::io;
use std::time::Duration;

/// A one-shot timer (`timerfd_create(2)`). It is never read: each expiry is a new edge.
#[derive(Debug)]
pub struct Timer(OwnedFd);

impl Timer {
    /// A timer that is not set, registered with `registry` under `token`.
    ///
    /// # Errors
    /// The process is out of descriptors.
    pub fn new(registry: &Registry, token: Token) -> io::Result<Self> {
        let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
        let timer = timerfd_create(TimerfdClockId::Monotonic, flags)?;
        registry.register(&mut SourceFd(&timer.as_raw_fd()), token, Interest::READABLE)?;
        Ok(Self(timer))
    }

    /// Sets the timer to expire after `pause`, never earlier. Replaces an earlier setting.
    ///
    /// # Errors
    /// The system refused, which is not expected.
    pub fn set(&self, pause: Duration) -> io::Result<()> {
        // A time of 0 would stop the timer.
        let it_value = Timespec::try_from(pause.max(Duration::from_nanos(1))).map_err(io::Error::other)?;
        let it_interval = Timespec { tv_sec: 0, tv_nsec: 0 };
        timerfd_settime(&self.0, TimerfdTimerFlags::empty(), &Itimerspec { it_interval, it_value })?;
        Ok(())
    }
}
