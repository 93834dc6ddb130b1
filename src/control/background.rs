//! Heavy work in threads of low priority, beside the workers: reading and compiling a large file, and
//! freeing what was in force before. Either takes a tenth of a second and more for a hundred thousand routes.

use super::event::{Event, Job};
use super::publish::{Loaded, Prepared, first, prepare};
use crate::config::{Accept, Config, Mark, Problem, Problems, Text};
use crate::net::process;
use crate::worker::Snapshot;
use std::io;
use std::panic::resume_unwind;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread::{self, ScopedJoinHandle};
use std::time::Duration;

/// How soon it is looked whether the workers have let go of an old version: they take up the new one at their next turn.
const LOOK_FIRST: Duration = Duration::from_millis(10);

/// How seldom it is looked at last, where an exchange under way holds an old version for long.
const LOOK_LAST: Duration = Duration::from_secs(10);

/// The name of the threads that read, check and compile a file.
pub(super) const RELOAD: &str = "reload";

/// Reloads that are at work at a time. One is, unless a file system hangs: then earlier ones were given up.
const RELOADS_MAX: usize = 4;

/// Reloads that are at work.
static RELOADS: AtomicUsize = AtomicUsize::new(0);

/// What a reload is made from.
pub(super) struct Reload {
    pub(super) job: Job,
    pub(super) path: PathBuf,
    /// What is in force.
    pub(super) config: Arc<Config>,
    pub(super) snapshot: Arc<Snapshot>,
    /// The descriptor limit.
    pub(super) descriptors: u64,
}

impl Reload {
    /// Reads the file, parses and compiles it in a thread of its own: [`Event::FileRead`] and [`Event::Compiled`] follow, unless
    /// the file system hangs.
    ///
    /// # Errors
    /// In words: no thread is left, or too many wait for the file system.
    pub(super) fn start(self, events: Sender<Event>) -> Result<(), String> {
        let at_work = AtWork::begin().ok_or("earlier reads of the file have not ended yet")?;
        let thread = thread::Builder::new().name(RELOAD.to_owned()).spawn(move || {
            let _at_work = at_work;
            process::step_back();
            self.run(events);
        });
        thread.map(drop).map_err(|error| format!("no thread is left: {error}"))
    }

    fn run(self, events: Sender<Event>) {
        let text = Text::read(&self.path, Accept::Regular);
        let mark = text.mark();
        let _ = events.send(Event::FileRead(self.job));
        let mut outcome = Outcome { job: self.job, mark, events, prepared: None };
        let parsed = parse(&text);
        drop(text);
        let prepared =
            parsed.map(|config| Box::new(prepare(config, &self.config, &self.snapshot, self.descriptors)));
        // The last to let go of a version would free it: that is the work of the thread that is there for it.
        drop(self);
        outcome.prepared = Some(prepared);
    }
}

/// Counts in [`RELOADS`] for as long as it is there.
struct AtWork;

impl AtWork {
    fn begin() -> Option<Self> {
        let before = RELOADS.fetch_add(1, Ordering::Relaxed);
        let at_work = Self;
        (before < RELOADS_MAX).then_some(at_work)
    }
}

impl Drop for AtWork {
    fn drop(&mut self) {
        RELOADS.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What a reload came to, told when this goes: the control thread waits for it, whatever happens in the thread.
struct Outcome {
    job: Job,
    mark: Option<Mark>,
    events: Sender<Event>,
    prepared: Option<Result<Box<Prepared>, Problems>>,
}

impl Drop for Outcome {
    fn drop(&mut self) {
        let prepared = self.prepared.take().unwrap_or_else(|| {
            let what = String::from("it could not be checked: this is a bug of Apex");
            let told = vec![Problem { place: None, what, hint: String::new() }];
            Err(Problems { file: String::from("the file"), told, untold: 0 })
        });
        let _ = self.events.send(Event::Compiled(self.job, prepared, self.mark));
    }
}

/// Does some work in a thread of low priority, and waits for it. Without a thread it is done here.
fn aside<T: Send>(work: impl Fn() -> T + Sync) -> T {
    thread::scope(|scope| {
        // By its name a panic is told to be that of a reload, or of a start.
        let name = thread::current().name().unwrap_or(RELOAD).to_owned();
        let apart = thread::Builder::new().name(name).spawn_scoped(scope, || {
            process::step_back();
            work()
        });
        match apart.map(ScopedJoinHandle::join) {
            Ok(Ok(done)) => done,
            Ok(Err(panic)) => resume_unwind(panic),
            Err(_) => work(),
        }
    })
}

/// Reads, checks and compiles the file of a process that starts, in a thread of its own: [`Event::Loaded`] follows. A process may be
/// started with a pipe in place of a file.
///
/// # Errors
/// In words: no thread is left.
pub(super) fn load(path: PathBuf, descriptors: u64, events: Sender<Event>) -> Result<(), String> {
    let thread = thread::Builder::new().name("load".to_owned()).spawn(move || {
        let text = Text::read(&path, Accept::Any);
        let loaded = parse(&text).map(|config| {
            let version = first(&config, descriptors);
            Box::new(Loaded { config, version })
        });
        let _ = events.send(Event::Loaded(loaded, text.mark()));
    });
    thread.map(drop).map_err(|error| format!("no thread is left: {error}"))
}

/// Checks a text aside.
///
/// The allocator has a region of memory for each thread. That of the thread which parses is left to the system as a whole when
/// what is kept is copied out of it: what it holds beside that would else stay in pieces between what is kept.
fn parse(text: &Text) -> Result<Config, Problems> {
    aside(|| text.parse()).map(|config| Config::clone(&config))
}

/// What was in force before, until nobody holds it any more.
#[derive(Debug)]
pub(super) struct Reclaimer {
    old: Sender<Old>,
}

#[derive(Debug)]
struct Old {
    version: Arc<Snapshot>,
    /// Nobody else has it: it is here to be freed.
    config: Arc<Config>,
}

impl Reclaimer {
    /// Starts the thread that frees.
    ///
    /// # Errors
    /// No thread is left.
    pub(super) fn start() -> io::Result<Self> {
        let (old, received) = mpsc::channel();
        thread::Builder::new().name("retired".to_owned()).spawn(move || free(&received))?;
        Ok(Self { old })
    }

    /// Takes a version that is in force no more, and what it was made of.
    pub(super) fn take(&self, version: Arc<Snapshot>, config: Arc<Config>) {
        let _ = self.old.send(Old { version, config });
    }
}

/// Holds each version longer than anybody else does, so that no worker is the last: freeing a hundred thousand routes in its turn
/// would have all of its clients wait for it.
fn free(received: &Receiver<Old>) {
    process::step_back();
    let mut held: Vec<Arc<Snapshot>> = Vec::new();
    let mut pause = LOOK_FIRST;
    loop {
        let next = if held.is_empty() {
            received.recv().map_err(|_| RecvTimeoutError::Disconnected)
        } else {
            received.recv_timeout(pause)
        };
        match next {
            Ok(Old { version, config }) => {
                held.push(version);
                drop(config);
                pause = LOOK_FIRST;
            }
            Err(RecvTimeoutError::Timeout) => pause = (pause * 2).min(LOOK_LAST),
            Err(RecvTimeoutError::Disconnected) => return,
        }
        // Nobody can come to hold a version again that is no longer published.
        held.retain(|version| Arc::strong_count(version) > 1);
    }
}

#[cfg(test)]
mod tests {
    use super::super::publish::first;
    use super::*;
    use crate::config::parse;

    #[test]
    fn a_version_is_freed_here_and_not_before_others_let_go_of_it() {
        let text = "[[routes]]\nname = \"a\"\nbackends = [{ url = \"http://127.0.0.1:1\" }]\n";
        let config = parse(text, "apex.toml").unwrap();
        let version = Arc::new(first(&config, 1024));
        let (held, freed) = (Arc::clone(&version), Arc::downgrade(&version));
        let (old, received) = mpsc::channel();
        let retired = Reclaimer { old };
        retired.take(version, Arc::new(config));
        let thread = thread::spawn(move || free(&received));
        // Here, as in a worker, it is let go of by another holder than the last.
        while Arc::strong_count(&held) != 2 {
            thread::yield_now();
        }
        drop(held);
        while freed.strong_count() > 0 {
            thread::yield_now();
        }
        drop(retired);
        thread.join().unwrap();
    }

    #[test]
    fn work_is_done_apart_and_its_outcome_comes_back() {
        let here = thread::current().id();
        let (number, there) = aside(|| (7, thread::current().id()));
        assert!(number == 7 && there != here);
    }
}
