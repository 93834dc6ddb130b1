//! Resources of this process: descriptors and their limit, the monotonic clock, signals, child processes.

use rustix::io::fcntl_dupfd_cloexec;
use rustix::process::{
    Pid, Resource, Rlimit, Signal, WaitId, WaitIdOptions, getrlimit, kill_process, nice, setrlimit, waitid,
};
use std::fs::File;
use std::io;
use std::ops::RangeInclusive;
use std::process::Child;

/// Raises the soft limit of open descriptors to the hard limit and returns the limit in force (getrlimit(2)).
pub fn raise_descriptor_limit() -> u64 {
    let limit = getrlimit(Resource::Nofile);
    if limit.current != limit.maximum {
        // If this is refused, the old limit stays.
        let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
    }
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}

/// Increment of the nice value of a background thread: it gets a thirtieth of a worker's CPU time on a busy
/// core, and all idle time. Figures for reloads: docs/performance.md.
const STEP_BACK: i32 = 15;

/// Lowers the priority of the calling thread only (nice(2), which on Linux applies to a thread). Without
/// privileges this cannot be undone, so only threads that end soon or do nothing else call it.
pub fn step_back() {
    // If this is refused, the thread competes with workers at normal priority.
    let _ = nice(STEP_BACK);
}

/// The kernel's monotonic clock, in microseconds (`CLOCK_MONOTONIC`), which other programs can read as well.
///
/// Calls the C library: rustix locates the vDSO by itself, which ends the process under valgrind.
#[inline]
pub fn monotonic_us() -> u64 {
    // This clock always exists, so the call cannot fail.
    let Ok(now) = nix::time::clock_gettime(nix::time::ClockId::CLOCK_MONOTONIC) else { return 0 };
    now.tv_sec().unsigned_abs() * 1_000_000 + now.tv_nsec().unsigned_abs() / 1000
}

/// The number of descriptors that this process may open (getrlimit(2)).
pub fn descriptor_limit() -> u64 {
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}

/// The real-time signals that the C library leaves to programs (signal(7)).
pub fn real_time_signals() -> RangeInclusive<i32> {
    libc::SIGRTMIN()..=libc::SIGRTMAX()
}

/// Asks a child process that was not reaped to end (SIGTERM).
pub fn ask_to_end(child: &Child) {
    // A process that has ended needs no signal.
    let _ = kill_process(Pid::from_child(child), Signal::TERM);
}

/// Waits until a child process has ended. It is not reaped, so its process id is not reused.
pub fn await_end(number: u32) {
    let Some(pid) = i32::try_from(number).ok().and_then(Pid::from_raw) else { return };
    // Any other result also means that there is nothing to wait for.
    let _ =
        rustix::io::retry_on_intr(|| waitid(WaitId::Pid(pid), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT));
}

/// The standard output as a separate file, without the buffer of `std::io::Stdout`.
///
/// # Errors
/// It is closed.
pub fn standard_output() -> io::Result<File> {
    Ok(File::from(fcntl_dupfd_cloexec(io::stdout(), 3)?))
}
