//! What the kernel gives this process: its descriptors and how many, and the clock that all processes have.

use rustix::io::fcntl_dupfd_cloexec;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::time::{ClockId, clock_gettime};
use std::fs::File;
use std::io;

/// Raises the soft limit of open descriptors to the hard one and says what holds then (getrlimit(2)).
pub fn raise_descriptor_limit() -> u64 {
    let limit = getrlimit(Resource::Nofile);
    if limit.current != limit.maximum {
        // Refused, the limit is as it was: nothing is lost.
        let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
    }
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}

/// The kernel's monotonic clock, microseconds (`CLOCK_MONOTONIC`): for other programs that read the same one.
pub fn monotonic_us() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    let (seconds, nanoseconds) = (u64::try_from(now.tv_sec), u64::try_from(now.tv_nsec));
    seconds.unwrap_or(0) * 1_000_000 + nanoseconds.unwrap_or(0) / 1000
}

/// The standard output as a file of its own, without the buffer of `std::io::Stdout`.
///
/// # Errors
/// It is closed.
pub fn standard_output() -> io::Result<File> {
    Ok(File::from(fcntl_dupfd_cloexec(io::stdout(), 3)?))
}
