//! The events of the control thread: signals, and results of work that other threads do for it.
//!
//! | signal | what Apex does |
//! | --- | --- |
//! | SIGHUP | reads the file again |
//! | SIGTERM, SIGINT, SIGQUIT, SIGPWR | leaves in order; the second one closes all connections at once |
//! | SIGUSR1 | writes its counters to the standard error; the access log goes to the standard output and needs no rotation |
//! | SIGUSR2 | starts the binary again, which takes its place |
//! | SIGPIPE, SIGALRM, SIGVTALRM, SIGPROF, SIGIO, SIGSTKFLT, SIGXCPU, SIGXFSZ, real-time signals | nothing |
//! | SIGCHLD, SIGURG, SIGWINCH, SIGCONT | nothing, as the kernel has it |
//! | SIGSTOP, SIGTSTP, SIGTTIN, SIGTTOU | stops until SIGCONT, as the kernel has it |
//! | SIGKILL, and SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGTRAP, SIGABRT, SIGSYS | ends at once, as the kernel has it |

use super::publish::{Loaded, Prepared};
use crate::config::{Mark, Problems};
use crate::net::process::real_time_signals;
use libc::{SIGPWR, SIGSTKFLT, SIGXFSZ};
use signal_hook::consts::{
    SIGALRM, SIGHUP, SIGINT, SIGIO, SIGPIPE, SIGPROF, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2, SIGVTALRM, SIGXCPU,
};
use signal_hook::iterator::Signals;
use std::any::Any;
use std::io;
use std::process::Child;
use std::sync::Arc;
use std::sync::mpsc::Sender;

/// Numbers one reload or upgrade, so that a result that comes after its job was given up is told from the next one's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(super) struct Job(pub(super) u64);

/// An event of the control thread.
#[derive(Debug)]
pub(super) enum Event {
    /// SIGHUP: read the file again.
    Reload,
    /// The watched file changed, and has this mark now.
    FileChanged(Mark),
    /// SIGTERM, SIGINT, SIGQUIT or SIGPWR: leave.
    Leave,
    /// SIGUSR1: write the counters.
    Report,
    /// SIGUSR2: start the binary again, and leave to it.
    Upgrade,
    /// The file was read, and is being parsed and compiled.
    FileRead(Job),
    /// The file was parsed and compiled; with the mark of its text.
    Compiled(Job, Result<Box<Prepared>, Problems>, Option<Mark>),
    /// Every name that is new with that version has been looked up, with or without an address.
    NamesAnswered(Job),
    /// Every worker uses the version of that reload.
    VersionTaken(Job),
    /// The PID file is at the path that was asked for; or why not, in words.
    PidFileWritten(Job, Result<(), String>),
    /// The PID file is gone, or another process's.
    PidFileRemoved,
    /// Progress of the process that was started for that upgrade.
    Successor(Job, Progress),
    /// The predecessor lets this process accept; or why it does not, in words.
    Go(Result<Then, String>),
    /// There is no predecessor, or it has told the service manager about this process: this one may report from now on.
    Alone,
    /// The file of a process that starts was read and compiled; with the mark of its text.
    Loaded(Result<Box<Loaded>, Problems>, Option<Mark>),
    /// A worker has registered its listeners.
    WorkerBegun,
    /// A worker has left.
    WorkerLeft {
        /// Its number.
        number: usize,
        /// Exchanges that it cut.
        cut: u64,
    },
}

/// Progress of a successor. `Ended` is the last event of an upgrade.
#[derive(Debug)]
pub(super) enum Progress {
    /// It was started.
    Started(Child),
    /// It is ready to accept. It does not use these addresses, counted from 0.
    Ready(Vec<usize>),
    /// It accepts.
    Done,
    /// It cannot take over; why, in words.
    Failed(String),
    /// It has ended, and its status can be read; or it was never started.
    Ended,
}

/// What a successor does once it serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Then {
    /// Nothing.
    Serve,
    /// It reads the file again: a reload was asked for meanwhile.
    Reload,
}

/// Sends an event when its last holder drops it, which is when each of them has done its part.
#[derive(Debug)]
pub(super) struct Notice {
    events: Sender<Event>,
    event: Option<Event>,
}

impl Notice {
    /// A notice that sends `event`.
    pub(super) fn of(events: &Sender<Event>, event: Event) -> Arc<dyn Any + Send + Sync> {
        Arc::new(Self { events: events.clone(), event: Some(event) })
    }
}

impl Drop for Notice {
    fn drop(&mut self) {
        if let Some(event) = self.event.take() {
            let _ = self.events.send(event);
        }
    }
}

/// Signals that do nothing here, and would end the process by default.
const IGNORED: [i32; 8] = [SIGPIPE, SIGALRM, SIGVTALRM, SIGPROF, SIGIO, SIGSTKFLT, SIGXCPU, SIGXFSZ];

/// The event of a signal; `None` for those that are ignored.
fn event_of(signal: i32) -> Option<Event> {
    match signal {
        SIGHUP => Some(Event::Reload),
        SIGTERM | SIGINT | SIGQUIT | SIGPWR => Some(Event::Leave),
        SIGUSR1 => Some(Event::Report),
        SIGUSR2 => Some(Event::Upgrade),
        _ => None,
    }
}

/// Handles the signals of the table above from now on, in a thread that sends their events. Runs before a port is open, so that no
/// signal to a process that serves is lost or ends it by default.
///
/// # Errors
/// No descriptor or thread is left.
pub(super) fn listen_for_signals(events: Sender<Event>) -> io::Result<()> {
    let asking = [SIGHUP, SIGTERM, SIGINT, SIGQUIT, SIGPWR, SIGUSR1, SIGUSR2];
    let mut signals = Signals::new(asking)?;
    for ignored in IGNORED.into_iter().chain(real_time_signals()) {
        // Tools that run a program keep some of these for themselves, as valgrind does the last one: left alone, none is needed.
        let _ = signals.add_signal(ignored);
    }
    std::thread::Builder::new().name("signals".to_owned()).spawn(move || {
        for event in signals.forever().filter_map(event_of) {
            if events.send(event).is_err() {
                return;
            }
        }
    })?;
    Ok(())
}
