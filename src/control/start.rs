//! The start of the proxy: which threads, sockets and files, in which order. Then the event loop takes over.

use super::background::{self, Reclaimer};
use super::event::{self, Event, Job, Notice, Then};
use super::event_loop::Control;
use super::listeners::{Listeners, Start};
use super::panic_hook;
use super::pid_file::{PID_FILE_WAIT, PidFile};
use super::publish::{Loaded, first};
use super::report::{self, info, warn};
use super::resolve::{NAMES_WAIT, Resolver};
use super::service_manager::ServiceManager;
use super::upgrade::executable::Executable;
use super::upgrade::inherit::{Inherited, Predecessor};
use crate::base::{Address, Tick};
use crate::config::{Config, Mark, Problems};
use crate::log::writer::{Stopped, Writer};
use crate::metrics::Registry;
use crate::net::process;
use crate::worker::{self, Bound, Epoch, Handle, OperatorLine, Phase, Setup, Shared};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::time::Duration;

/// The job that the start counts as.
const START: Job = Job(0);

/// What a process serves with.
#[derive(Debug)]
pub enum Source<'a> {
    /// A file, which a reload reads again.
    File(&'a Path),
    /// A configuration that was checked.
    Checked(Box<Config>),
}

/// Why a process does not serve.
#[derive(Debug)]
pub enum Failure {
    /// The file is wrong.
    File(Problems),
    /// Something cannot be had; in words.
    Other(String),
}

impl From<String> for Failure {
    fn from(words: String) -> Self {
        Self::Other(words)
    }
}

/// Serves until the process is told to leave.
///
/// # Errors
/// The file is wrong; or an address, a file or a thread cannot be had.
pub fn serve(source: Source<'_>, inherited: Inherited) -> Result<ExitCode, Failure> {
    panic_hook::set();
    let (events, received) = mpsc::channel();
    // First of all: from here on no signal is lost, and none ends the process by default.
    event::listen_for_signals(events.clone())
        .map_err(|error| format!("signals cannot be handled: {error}"))?;
    let log = open_log()?;
    let path = match source {
        Source::File(path) => Some(path),
        Source::Checked(_) => None,
    };
    let pid_file = PidFile::new(path, events.clone());
    let mut starting = Starting { received, events, pid_file, epoch: Epoch::start(), seen: Seen::default() };
    let result = match starting.start(source, inherited, &log) {
        Ok(serving) => {
            let Starting { received, events, pid_file, epoch, .. } = starting;
            Ok(serving.control(path, pid_file, epoch, (events, received)).run())
        }
        Err(Stop::ToldToLeave) => {
            info(format_args!("left before anything was served"));
            starting.clean_up();
            Ok(ExitCode::SUCCESS)
        }
        Err(Stop::Failed(failure)) => {
            starting.clean_up();
            report::finish();
            return Err(failure);
        }
    };
    if log.stop() == Stopped::Abandoned {
        warn(format_args!("the access log is stuck: its last lines are lost"));
    }
    report::finish();
    result
}

/// A process that starts: it listens to events like one that serves, so that a signal is heard at once.
struct Starting {
    received: Receiver<Event>,
    events: Sender<Event>,
    pid_file: PidFile,
    epoch: Epoch,
    seen: Seen,
}

/// What has been heard so far.
#[derive(Default)]
#[expect(clippy::struct_excessive_bools, reason = "independent facts")]
struct Seen {
    loaded: Option<Result<Box<Loaded>, Problems>>,
    /// Of the text that was loaded.
    mark: Option<Mark>,
    workers_begun: usize,
    names_answered: bool,
    pid_file: Option<Result<(), String>>,
    go: Option<Then>,
    /// A reload was asked for meanwhile: it follows the start.
    reload: bool,
    /// An upgrade was asked for meanwhile: it follows the start, too.
    upgrade: bool,
    /// There is no other process, or not any more.
    alone: bool,
}

/// Why a start does not go on.
enum Stop {
    ToldToLeave,
    Failed(Failure),
}

impl<F: Into<Failure>> From<F> for Stop {
    fn from(failure: F) -> Self {
        Self::Failed(failure.into())
    }
}

/// What was started.
struct Serving {
    config: Config,
    known: Option<Mark>,
    shared: Arc<Shared>,
    resolver: Resolver,
    registry: Arc<Registry>,
    listeners: Listeners,
    reclaimer: Reclaimer,
    workers: Vec<Handle>,
    program: Option<Executable>,
    descriptors: u64,
}

impl Starting {
    fn start(
        &mut self,
        source: Source<'_>,
        inherited: Inherited,
        log: &Writer,
    ) -> Result<Box<Serving>, Stop> {
        let Inherited { passed, names, predecessor } = inherited;
        let program = Executable::of_this_process();
        let descriptors = process::raise_descriptor_limit();
        let (Loaded { config, version }, known) = self.load(source, descriptors)?;
        let count = match config.server.workers {
            0 => std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
            count => count,
        };
        let registry = Arc::new(Registry::new(count));
        let shared = Arc::new(Shared::new(version));
        let resolver = Resolver::start(names, Arc::clone(&registry))
            .map_err(|error| format!("names cannot be resolved: {error}"))?;
        let answered = Notice::of(&self.events, Event::NamesAnswered(START));
        resolver.follow(shared.snapshot.load().table.backends(), answered);
        let asked: Vec<Address> = passed.iter().map(|one| one.asked.clone()).collect();
        let Start { listeners, by_worker, unwanted } =
            Listeners::start(&config.server.listen, passed, count)?;
        let reclaimer = Reclaimer::start().map_err(|error| format!("no thread is left: {error}"))?;
        let workers = self.start_workers(by_worker, &shared, &registry, log)?;
        if !self.pid_file.stage(START, config.server.pid_file.as_deref()) {
            self.seen.pid_file = Some(Ok(()));
        }
        let serving = Serving {
            config,
            known,
            shared,
            resolver,
            registry,
            listeners,
            reclaimer,
            workers,
            program,
            descriptors,
        };
        self.go_on(&serving, predecessor, &asked, unwanted)?;
        Ok(Box::new(serving))
    }

    /// Reads, checks and compiles the file.
    fn load(&mut self, source: Source<'_>, descriptors: u64) -> Result<(Loaded, Option<Mark>), Stop> {
        let path = match source {
            Source::File(path) => path.to_path_buf(),
            Source::Checked(config) => {
                let version = first(&config, descriptors);
                return Ok((Loaded { config: *config, version }, None));
            }
        };
        background::load(path, descriptors, self.events.clone())?;
        self.await_that(Tick::NEVER, |seen| seen.loaded.is_some())?;
        match self.seen.loaded.take() {
            Some(Ok(loaded)) => Ok((*loaded, self.seen.mark)),
            Some(Err(problems)) => Err(Stop::Failed(Failure::File(problems))),
            None => Err(Stop::ToldToLeave),
        }
    }

    /// From where everything was begun to where it serves.
    fn go_on(
        &mut self,
        serving: &Serving,
        predecessor: Option<Predecessor>,
        asked: &[Address],
        unwanted: Vec<usize>,
    ) -> Result<(), Stop> {
        let count = serving.workers.len();
        self.await_that(Tick::NEVER, |seen| seen.workers_begun == count)?;
        if !self.await_that(self.in_time(PID_FILE_WAIT), |seen| seen.pid_file.is_some())? {
            return Err(String::from("the PID file cannot be written: its file system hangs").into());
        }
        if let Some(Err(words)) = self.seen.pid_file.take() {
            return Err(words.into());
        }
        let silent = self.in_time(NAMES_WAIT);
        if !self.await_that(silent, |seen| seen.names_answered)? {
            say_silent(serving);
        }
        let then = if let Some(predecessor) = &predecessor {
            self.take_over(predecessor, unwanted)?
        } else {
            say_unwanted(asked, &unwanted);
            self.seen.alone = true;
            Then::Serve
        };
        serving.listeners.take_over();
        serving.shared.set_phase(Phase::Serving);
        serving.workers.iter().for_each(Handle::wake);
        if self.pid_file.put(START) {
            self.await_that(self.in_time(PID_FILE_WAIT), |seen| seen.pid_file.is_some())?;
            if let Some(Err(words)) = self.seen.pid_file.take() {
                warn(format_args!("{words}"));
            }
        }
        // The service manager is told by the control thread, and only then reads what comes of a reload.
        if self.seen.alone {
            let _ = self.events.send(Event::Alone);
        }
        if then == Then::Reload || self.seen.reload {
            let _ = self.events.send(Event::Reload);
        }
        if self.seen.upgrade {
            let _ = self.events.send(Event::Upgrade);
        }
        if let Some(predecessor) = predecessor {
            predecessor.done();
        }
        say_serving(&serving.config, count);
        Ok(())
    }

    /// Waits until the process before lets this one accept.
    fn take_over(&mut self, predecessor: &Predecessor, unwanted: Vec<usize>) -> Result<Then, Stop> {
        predecessor.ready(unwanted, &self.events)?;
        // Told to leave, this one is of no use: the process before serves on.
        let told = |stop| match stop {
            Stop::ToldToLeave => Stop::from(String::from("told to leave before anything was served")),
            Stop::Failed(failure) => Stop::Failed(failure),
        };
        self.await_that(Tick::NEVER, |seen| seen.go.is_some()).map_err(told)?;
        Ok(self.seen.go.take().unwrap_or(Then::Serve))
    }

    /// Starts the workers. Each tells when it has registered its listeners; they accept nobody yet.
    fn start_workers(
        &self,
        by_worker: Vec<Vec<Bound>>,
        shared: &Arc<Shared>,
        registry: &Registry,
        log: &Writer,
    ) -> Result<Vec<Handle>, String> {
        let mut workers = Vec::new();
        for (number, (listeners, counters)) in by_worker.into_iter().zip(registry.workers()).enumerate() {
            let setup = Setup {
                number,
                listeners,
                shared: Arc::clone(shared),
                counters: Arc::clone(counters),
                lines: log.lines(),
                report: |line| match line {
                    OperatorLine::Warning(words) => warn(format_args!("{words}")),
                    OperatorLine::Info(words) => info(format_args!("{words}")),
                },
            };
            let (begun, left) = (self.events.clone(), self.events.clone());
            let begun = move || {
                let _ = begun.send(Event::WorkerBegun);
            };
            let left = move |cut| {
                let _ = left.send(Event::WorkerLeft { number, cut });
            };
            let worker = worker::spawn(setup, self.epoch, begun, left)
                .map_err(|error| format!("worker {number} cannot start: {error}"))?;
            workers.push(worker);
        }
        Ok(workers)
    }

    fn in_time(&self, wait: Duration) -> Tick {
        self.epoch.now().after(wait)
    }

    /// Listens until something is so; false where it is not so in time.
    fn await_that(&mut self, until: Tick, is_so: impl Fn(&Seen) -> bool) -> Result<bool, Stop> {
        while !is_so(&self.seen) {
            let left = Duration::from_micros(until.since_us(self.epoch.now()));
            match self.received.recv_timeout(left) {
                Ok(event) => self.hear(event)?,
                Err(RecvTimeoutError::Timeout) => return Ok(false),
                // Unheard of: this thread holds a sender itself.
                Err(RecvTimeoutError::Disconnected) => return Err(Stop::ToldToLeave),
            }
        }
        Ok(true)
    }

    fn hear(&mut self, event: Event) -> Result<(), Stop> {
        let seen = &mut self.seen;
        match event {
            Event::WorkerBegun => seen.workers_begun += 1,
            Event::NamesAnswered(_) => seen.names_answered = true,
            Event::PidFileWritten(job, result) => {
                if self.pid_file.settle(job, result.is_ok()) {
                    seen.pid_file = Some(result);
                }
            }
            Event::Go(Ok(then)) => seen.go = Some(then),
            Event::Go(Err(words)) => return Err(words.into()),
            Event::Loaded(loaded, mark) => (seen.loaded, seen.mark) = (Some(loaded), mark),
            Event::Reload => seen.reload = true,
            Event::Leave => return Err(Stop::ToldToLeave),
            Event::WorkerLeft { number, .. } => {
                return Err(format!("worker {number} stopped unexpectedly").into());
            }
            Event::Upgrade => seen.upgrade = true,
            Event::Alone => seen.alone = true,
            Event::Report
            | Event::FileChanged(_)
            | Event::FileRead(_)
            | Event::Compiled(..)
            | Event::VersionTaken(_)
            | Event::PidFileRemoved
            | Event::Successor(..) => {}
        }
        Ok(())
    }

    /// Removes what a start that comes to nothing has left.
    fn clean_up(&mut self) {
        let until = self.in_time(PID_FILE_WAIT);
        if !self.pid_file.remove() {
            return;
        }
        loop {
            let left = Duration::from_micros(until.since_us(self.epoch.now()));
            match self.received.recv_timeout(left) {
                Ok(Event::PidFileRemoved) | Err(_) => return,
                Ok(_) => {}
            }
        }
    }
}

impl Serving {
    fn control(
        self,
        path: Option<&Path>,
        pid_file: PidFile,
        epoch: Epoch,
        (events, received): (Sender<Event>, Receiver<Event>),
    ) -> Control<'_> {
        Control {
            path,
            known: self.known,
            config: Arc::new(self.config),
            shared: self.shared,
            resolver: self.resolver,
            registry: self.registry,
            listeners: self.listeners,
            reclaimer: self.reclaimer,
            workers: self.workers,
            program: self.program,
            manager: ServiceManager::from_env(),
            descriptors: self.descriptors,
            pid_file,
            epoch,
            events,
            received,
            stage: super::event_loop::Stage::Serving,
            work: super::event_loop::Work::None,
            jobs: START,
            is_watched: false,
        }
    }
}

/// Tells which sockets that were passed down are not used: the process that passed them keeps them.
fn say_unwanted(asked: &[Address], unwanted: &[usize]) {
    for address in unwanted.iter().filter_map(|&index| asked.get(index)) {
        info(format_args!("the inherited listener on {address} is not listed in `listen`: it is closed"));
    }
}

/// Tells which names nobody has answered for yet.
fn say_silent(serving: &Serving) {
    let snapshot = serving.shared.snapshot.load();
    let silent = snapshot.table.backends().filter(|backend| !backend.is_resolved());
    super::resolve::say_silent(silent.map(|backend| backend.authority.as_str()));
}

fn say_serving(config: &Config, workers: usize) {
    let listen: Vec<String> = config.server.listen.iter().map(ToString::to_string).collect();
    let (routes, listen) = (config.routes.len(), listen.join(", "));
    info(format_args!("serving {routes} route(s) on {listen} with {workers} worker(s)"));
}

/// The access log goes to the standard output, unbuffered: its writer gathers lines by itself.
fn open_log() -> Result<Writer, String> {
    let out =
        process::standard_output().map_err(|error| format!("the standard output is closed: {error}"))?;
    Writer::spawn(out, std::io::stderr())
        .map_err(|error| format!("the access log cannot be written: {error}"))
}
