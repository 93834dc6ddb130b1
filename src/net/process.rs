//! What the kernel gives this process: its descriptors and how many, and the clock that all processes have.

use rustix::io::fcntl_dupfd_cloexec;
use rustix::process::{
    Pid, Resource, Rlimit, Signal, WaitId, WaitIdOptions, getrlimit, kill_process, nice, setrlimit, waitid,
};
use std::fs::File;
use std::io;
use std::ops::RangeInclusive;
use std::process::Child;

/// Raises the soft limit of open descriptors to the hard one and says what holds then (getrlimit(2)).
pub fn raise_descriptor_limit() -> u64 {
    let limit = getrlimit(Resource::Nofile);
    if limit.current != limit.maximum {
        // Refused, the limit is as it was: nothing is lost.
        let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
    }
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}

/// How much the nice value grows of a thread that steps back: it has a thirtieth of the processor's time that a worker has where
/// both want it, and all of it where nobody else does. With 5 the 99th percentile of requests grew to 1.8 times while 100,000
/// routes were reloaded, with 10 to 1.5, with 15 to 1.45 (medians of a dozen rounds), and the reload took 2.7 s instead of 2.2.
const STEP_BACK: i32 = 15;

/// Has the calling thread, and no other, wait behind those that serve for the processor (nice(2), which on Linux is of a
/// thread). Without privilege there is no way back, so it is called in threads that end soon or do nothing else.
pub fn step_back() {
    // Refused, it competes as others do: nothing is lost but a little time of theirs.
    let _ = nice(STEP_BACK);
}

/// The kernel's monotonic clock, microseconds (`CLOCK_MONOTONIC`): for other programs that read the same one.
///
/// By the C library: rustix looks for the kernel's page of code by itself, which ends the process under valgrind.
#[inline]
pub fn monotonic_us() -> u64 {
    // There is such a clock, so that no error comes back.
    let Ok(now) = nix::time::clock_gettime(nix::time::ClockId::CLOCK_MONOTONIC) else { return 0 };
    now.tv_sec().unsigned_abs() * 1_000_000 + now.tv_nsec().unsigned_abs() / 1000
}

/// The descriptors that this process may have open (getrlimit(2)).
pub fn descriptor_limit() -> u64 {
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}

/// The numbers of the real-time signals that the C library leaves to programs (signal(7)).
pub fn real_time_signals() -> RangeInclusive<i32> {
    libc::SIGRTMIN()..=libc::SIGRTMAX()
}

/// Asks a process that this one started, and has not collected, to end (SIGTERM).
pub fn ask_to_end(child: &Child) {
    // One that has ended needs no more.
    let _ = kill_process(Pid::from_child(child), Signal::TERM);
}

/// Waits until a process that this one started has ended. It is not collected: its number stays its own until it is.
pub fn await_end(number: u32) {
    let Some(pid) = i32::try_from(number).ok().and_then(Pid::from_raw) else { return };
    // Whatever else than an end this comes back with, there is nothing left to wait for.
    let _ =
        rustix::io::retry_on_intr(|| waitid(WaitId::Pid(pid), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT));
}

/// The standard output as a file of its own, without the buffer of `std::io::Stdout`.
///
/// # Errors
/// It is closed.
pub fn standard_output() -> io::Result<File> {
    Ok(File::from(fcntl_dupfd_cloexec(io::stdout(), 3)?))
}
