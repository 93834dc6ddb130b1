//! The control thread: one loop that takes one event after the other. It never waits for another thread, a file or a name: work that
//! takes time is done by other threads, which send an event, so that a signal is handled at once. What is under way stands in
//! `state`, and nowhere else.

mod leave;
mod reload;
mod state;
mod upgrade;

pub(super) use state::{Stage, Work};

use super::background::Reclaimer;
use super::event::{Event, Job};
use super::listeners::Listeners;
use super::pid_file::PidFile;
use super::report::{info, warn};
use super::resolve::Resolver;
use super::service_manager::{ServiceManager, State};
use super::upgrade::executable::Executable;
use super::watch;
use crate::base::Tick;
use crate::config::{Config, Mark};
use crate::metrics::Registry;
use crate::worker::{Epoch, Handle, Shared};
use std::ops::ControlFlow;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender};
use std::time::Duration;

/// What the control thread holds.
pub(super) struct Control<'a> {
    /// The file; none in the demo.
    pub(super) path: Option<&'a Path>,
    /// What it read when it was read last.
    pub(super) known: Option<Mark>,
    /// What is in force.
    pub(super) config: Arc<Config>,
    pub(super) shared: Arc<Shared>,
    pub(super) resolver: Resolver,
    pub(super) registry: Arc<Registry>,
    pub(super) listeners: Listeners,
    pub(super) reclaimer: Reclaimer,
    pub(super) workers: Vec<Handle>,
    /// What is started at an upgrade, if it can be told.
    pub(super) program: Option<Executable>,
    pub(super) pid_file: PidFile,
    pub(super) manager: ServiceManager,
    /// The descriptor limit.
    pub(super) descriptors: u64,
    pub(super) epoch: Epoch,
    pub(super) events: Sender<Event>,
    pub(super) received: Receiver<Event>,
    pub(super) stage: Stage,
    pub(super) work: Work,
    /// The last job that was begun.
    pub(super) jobs: Job,
    /// The file is watched, or cannot be.
    pub(super) is_watched: bool,
}

/// Whether the loop goes on, or with what the process ends.
type Flow = ControlFlow<ExitCode>;

impl Control<'_> {
    /// Serves until it is told to leave, or replaced, and leaves.
    pub(super) fn run(mut self) -> ExitCode {
        loop {
            self.watch_if_asked();
            let flow = match self.next_event() {
                Some(event) => self.hear(event),
                None => self.time_is_up(),
            };
            if let ControlFlow::Break(code) = flow {
                return code;
            }
        }
    }

    /// The next event; none where a time is up before.
    fn next_event(&self) -> Option<Event> {
        let until = self.stage.until().min(self.work.until());
        let left = Duration::from_micros(until.since_us(self.epoch.now()));
        // The other ends are never all gone: this thread has one itself.
        self.received.recv_timeout(left).ok()
    }

    fn hear(&mut self, event: Event) -> Flow {
        match event {
            Event::Leave => return self.told_to_leave(),
            Event::WorkerLeft { number, cut } => return self.worker_left(number, cut),
            Event::PidFileRemoved => return self.pid_file_removed(),
            Event::Successor(job, progress) => return self.hear_of_successor(job, progress),
            Event::Reload => self.reload(),
            Event::FileChanged(mark) => self.file_changed(mark),
            Event::FileRead(job) => self.file_read(job),
            Event::Compiled(job, prepared, mark) => self.compiled(job, prepared, mark),
            Event::NamesAnswered(job) => self.names_answered(job),
            Event::VersionTaken(job) => self.version_taken(job),
            Event::PidFileWritten(job, result) => self.pid_file_written(job, result),
            Event::Upgrade => self.begin_upgrade(),
            Event::Report => self.say_totals(),
            Event::Alone => self.tell_ready(),
            // They belong to the start.
            Event::Go(_) | Event::Loaded(..) | Event::WorkerBegun => {}
        }
        ControlFlow::Continue(())
    }

    /// A time is up, of the stage or of the work under way; or neither, as a clock may have it.
    fn time_is_up(&mut self) -> Flow {
        let now = self.epoch.now();
        if self.work.until() <= now {
            self.work_takes_too_long();
        }
        if self.stage.until() <= now { self.stage_is_over() } else { ControlFlow::Continue(()) }
    }

    /// A number for something that is begun.
    fn next_job(&mut self) -> Job {
        self.jobs = Job(self.jobs.0 + 1);
        self.jobs
    }

    fn in_time(&self, wait: Duration) -> Tick {
        self.epoch.now().after(wait)
    }

    /// Watches the file from now on where that is asked for.
    fn watch_if_asked(&mut self) {
        let Some(path) = self.path.filter(|_| self.config.server.watch && !self.is_watched) else { return };
        self.is_watched = true;
        if let Err(error) = watch::start(path, self.events.clone()) {
            warn(format_args!("{} cannot be watched: {error}; SIGHUP still reloads it", path.display()));
        }
    }

    /// Tells the service manager what is served.
    fn tell_ready(&self) {
        if self.stage == Stage::Serving {
            let listen: Vec<String> = self.config.server.listen.iter().map(ToString::to_string).collect();
            let routes = self.config.routes.len();
            self.manager.tell(State::Ready(&format!("serving {routes} route(s) on {}", listen.join(", "))));
        }
    }

    /// Tells what was counted since the start.
    fn say_totals(&self) {
        info(format_args!("since the start: {}", self.registry));
    }
}
