//! Everything that wakes the control thread: signals, and what other threads have done for it.
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

/// What the control thread is told.
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
    /// Every name that was new with that version has been answered for.
    NamesAnswered(Job),
    /// Every worker goes by the version of that reload.
    VersionTaken(Job),
    /// The PID file is where it was asked to be, or why not, in words.
    PidFileWritten(Job, Result<(), String>),
    /// The PID file is gone, or another process's.
    PidFileRemoved,
    /// So far is the process that was started for that upgrade.
    Successor(Job, Progress),
    /// The process whose place this one takes lets it accept, or it is not to be, in words.
    Go(Result<Then, String>),
    /// No other process serves here, or not any more, and the service manager knows this one.
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

/// How far a successor is. `Ended` is the last that comes of an upgrade.
#[derive(Debug)]
pub(super) enum Progress {
    /// It was started.
    Started(Child),
    /// It has all it needs. These addresses it does not want, counted from 0.
    Ready(Vec<usize>),
    /// It accepts.
    Done,
    /// It is not to be; why, in words.
    Failed(String),
    /// It has ended, and is to be collected; or it was never started.
    Ended,
}

/// What follows on the start of a successor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Then {
    /// Nothing.
    Serve,
    /// A reload that was asked for meanwhile.
    Reload,
}

/// Held by others until they have done something: when the last of them lets go of it, the event is sent.
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

/// Signals that are asked for nothing, and would end the process by default.
const IGNORED: [i32; 8] = [SIGPIPE, SIGALRM, SIGVTALRM, SIGPROF, SIGIO, SIGSTKFLT, SIGXCPU, SIGXFSZ];

/// What a signal asks for; none: nothing.
fn event_of(signal: i32) -> Option<Event> {
    match signal {
        SIGHUP => Some(Event::Reload),
        SIGTERM | SIGINT | SIGQUIT | SIGPWR => Some(Event::Leave),
        SIGUSR1 => Some(Event::Report),
        SIGUSR2 => Some(Event::Upgrade),
        _ => None,
    }
}

/// Takes over the signals and passes them on from a thread of its own. From here on no signal is lost, and none ends the process
/// by default, so it runs before a port is open.
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
