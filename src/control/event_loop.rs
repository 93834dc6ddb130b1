//! The control thread: reloads, and the way out. It publishes what workers go by, and touches nothing of theirs.

use super::background::{Reclaimer, aside, load};
use super::event::Event;
use super::listeners::{Change, Listeners};
use super::pid_file::PidFile;
use super::publish::{prepare, put_in_force};
use super::report::{info, info_text};
use super::resolve::Resolver;
use super::service_manager::{ServiceManager, State};
use super::upgrade::escort::Upgrade;
use super::upgrade::executable::Executable;
use super::watch;
use crate::base::Address;
use crate::config::diff::ConfigDiff;
use crate::config::{Config, Mark};
use crate::worker::{Epoch, Handle, ListenChange, Phase, Shared};
use std::convert::Infallible;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::time::Duration;

/// How long workers may take to end at once before they are left behind.
const ENDING_WAIT: Duration = Duration::from_secs(2);

/// How long a reload waits for workers to go by it before it tells so. One takes a turn of its loop, unless it is stuck.
const TAKING_WAIT: Duration = Duration::from_secs(2);

/// What the control thread holds.
pub(super) struct Control<'a> {
    /// The file; none in the demo.
    pub(super) path: Option<&'a Path>,
    /// What it read when it was read last.
    pub(super) known: Option<Mark>,
    /// What is in force.
    pub(super) config: Config,
    pub(super) shared: Arc<Shared>,
    pub(super) resolver: Resolver,
    pub(super) listeners: Listeners,
    pub(super) retired: Reclaimer,
    pub(super) workers: Vec<Handle>,
    /// What is started at an upgrade, if it can be told.
    pub(super) program: Option<Executable>,
    /// The upgrade under way.
    pub(super) upgrade: Option<Upgrade>,
    pub(super) pid_file: PidFile,
    pub(super) manager: ServiceManager,
    /// The descriptor limit.
    pub(super) descriptors: u64,
    pub(super) events: Sender<Event>,
    pub(super) received: Receiver<Event>,
}

/// Why the process leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reason {
    /// It was told to. Told again, it leaves at once.
    Told,
    /// That process has taken its place.
    Replaced(u32),
}

impl Control<'_> {
    /// Serves until it is told to leave, or replaced, and leaves.
    pub(super) fn run(mut self) -> ExitCode {
        let mut watched = false;
        loop {
            if self.config.server.watch && !watched {
                watched = self.watch();
            }
            match self.received.recv() {
                Ok(Event::Reload) => self.reload(),
                Ok(Event::FileChanged) => self.reload_if_other(),
                Ok(Event::Alone) => self.tell_ready(),
                Ok(Event::Upgrade) => self.begin_upgrade(),
                Ok(Event::Successor(progress)) => {
                    if let Some(number) = self.hear_of_successor(progress) {
                        return self.leave(Reason::Replaced(number));
                    }
                }
                Ok(Event::Go(_)) => {}
                Ok(Event::Leave) => {
                    self.give_up_upgrade();
                    self.manager.info(State::Stopping);
                    return self.delay_and_leave();
                }
                Ok(Event::WorkerLeft) | Err(_) => return unasked(),
            }
        }
    }

    /// Has workers listen on other addresses. What cannot be had is taken out of the difference, and told. With it comes what
    /// ends once every worker that was told goes by the version that is put in force then.
    fn listen(
        &mut self,
        wanted: &[Address],
        difference: &mut ConfigDiff,
    ) -> (Vec<String>, Receiver<Infallible>) {
        let (taken, all_taken) = mpsc::channel();
        if !self.workers.iter().all(Handle::has_room) {
            difference.listen_added.clear();
            difference.listen_removed.clear();
            return (vec![String::from("a worker is stuck: `listen` is as it was")], all_taken);
        }
        let Change { changes, refused, keeps_old } = self.listeners.change(wanted);
        for (worker, change) in self.workers.iter().zip(changes) {
            // There is room: nobody else gives orders.
            let _ = worker.change_listeners(ListenChange { taken: Some(taken.clone()), ..change });
        }
        let mut troubles = Vec::new();
        for (address, error) in refused {
            difference.listen_added.retain(|added| *added != address);
            troubles.push(format!("cannot listen on {address}: {error}; all else is in force"));
        }
        if keeps_old && !difference.listen_removed.is_empty() {
            let kept: Vec<String> = difference.listen_removed.drain(..).map(|one| one.to_string()).collect();
            troubles.push(format!("no other address is left: it still listens on {}", kept.join(", ")));
        }
        (troubles, all_taken)
    }

    /// Serves on as before for the time that was asked for, reloads included; then leaves. A second signal ends it at once.
    fn delay_and_leave(mut self) -> ExitCode {
        let delay = self.config.server.shutdown_delay;
        if delay.is_zero() {
            return self.leave(Reason::Told);
        }
        info(format_args!("leaving in {} s: until then it serves on", delay.as_secs_f64()));
        let epoch = Epoch::start();
        loop {
            let spent = Duration::from_micros(epoch.now().0);
            match self.received.recv_timeout(delay.saturating_sub(spent)) {
                Ok(Event::Reload) => self.reload(),
                Ok(Event::FileChanged) => self.reload_if_other(),
                Ok(Event::Upgrade) => tell_no_upgrade(),
                Ok(Event::Alone | Event::Go(_) | Event::Successor(_)) => {}
                Ok(Event::Leave) => {
                    tell_again();
                    return self.end_at_once(0);
                }
                Err(RecvTimeoutError::Timeout) => return self.leave(Reason::Told),
                Ok(Event::WorkerLeft) | Err(RecvTimeoutError::Disconnected) => return unasked(),
            }
        }
    }

    /// True where the file is watched from now on, or cannot be.
    fn watch(&self) -> bool {
        let Some(path) = self.path else { return true };
        if let Err(error) = watch::start(path, self.events.clone()) {
            info(format_args!("{} cannot be watched: {error}; SIGHUP still reloads it", path.display()));
        }
        // It may have changed since it was read, which may be a while ago where the place of another process was taken.
        let _ = self.events.send(Event::FileChanged);
        true
    }

    /// Tells the service manager what is served.
    fn tell_ready(&self) {
        let listen: Vec<String> = self.config.server.listen.iter().map(ToString::to_string).collect();
        let routes = self.config.routes.len();
        self.manager.info(State::Ready(&format!("serving {routes} route(s) on {}", listen.join(", "))));
    }

    /// Reads the watched file again where it reads otherwise. A removed file is no events: it is about to be written anew.
    fn reload_if_other(&mut self) {
        let mark = self.path.and_then(Mark::read);
        if self.config.server.watch && mark.is_some() && mark != self.known {
            self.reload();
        }
    }

    /// Reads the file again. While an upgrade is under way that waits: either process may be the one to do it.
    pub(super) fn reload(&mut self) {
        if let Some(upgrade) = &mut self.upgrade {
            upgrade.reload_then();
            return info(format_args!("the file is read when the upgrade is over"));
        }
        self.manager.info(State::Reloading);
        match self.read_again() {
            Ok(()) => self.tell_ready(),
            Err(words) => self.manager.info(State::Ready(&words)),
        }
    }

    /// A broken file changes nothing; what came of that, in words for the service manager.
    fn read_again(&mut self) -> Result<(), String> {
        let Some(path) = self.path else {
            info(format_args!("the demo has no file to reload"));
            return Ok(());
        };
        let epoch = Epoch::start();
        let (before, shared, resolver) = (&self.config, &self.shared, &self.resolver);
        let descriptors = self.descriptors;
        let (prepared, known) = aside(|| {
            let (config, known) = load(path);
            let prepared = config.map(|config| {
                let difference = ConfigDiff::between(before, &config);
                let version = prepare(&config, shared, resolver, descriptors);
                (config, difference, version)
            });
            (prepared, known)
        });
        self.known = known;
        match prepared {
            Ok((mut config, mut difference, version)) => {
                // Sockets last, right before somebody accepts from them, but before the version: with it workers look for them.
                let (mut troubles, all_taken) = self.listen(&config.server.listen, &mut difference);
                let old = put_in_force(version, &self.shared, &self.workers);
                // Who reads that it is done may rely on it: from then on no request is routed as before.
                if all_taken.recv_timeout(TAKING_WAIT) == Err(RecvTimeoutError::Timeout) {
                    troubles.push(String::from("a worker is stuck: it serves as before until it moves on"));
                }
                let millis = epoch.now().0 / 1000;
                // What could not be changed is as it was, so that the next reload tells of it again.
                config.server.listen = self.listeners.asked();
                config.server.workers = self.config.server.workers;
                if let Err(words) = self.pid_file.follow(config.server.pid_file.as_deref()) {
                    config.server.pid_file = self.pid_file.path().map(Path::to_path_buf);
                    difference.server.retain(|&key| key != "pid_file");
                    troubles.push(words);
                }
                self.retired.take(old, std::mem::replace(&mut self.config, config));
                info(format_args!("reloaded {} in {millis} ms: {difference}", path.display()));
                for trouble in troubles {
                    info(format_args!("{trouble}"));
                }
                Ok(())
            }
            Err(problems) => {
                let words = format!("{} was not reloaded: the table in force stays", path.display());
                info_text(format!("{problems}\napex: {words}\n"));
                Err(words)
            }
        }
    }

    /// Lets open exchanges finish within their time; a second signal ends it at once.
    fn leave(mut self, reason: Reason) -> ExitCode {
        let patience = self.config.server.shutdown_timeout;
        let time = format!("open exchanges have {} s to finish", patience.as_secs_f64());
        match reason {
            Reason::Told => info(format_args!("leaving: {time}")),
            Reason::Replaced(number) => {
                info(format_args!("process {number} serves; process {} leaves: {time}", std::process::id()));
            }
        }
        self.listeners.forget();
        self.set_phase(Phase::Leaving);
        let mut left = 0;
        if self.await_workers(&mut left, patience, reason) {
            return self.report(left);
        }
        self.end_at_once(left)
    }

    /// Cuts what is open still; `left` workers have left by themselves.
    fn end_at_once(self, mut left: usize) -> ExitCode {
        self.set_phase(Phase::Ending);
        let _ = self.await_workers(&mut left, ENDING_WAIT, Reason::Told);
        self.report(left)
    }

    /// Says how many exchanges were cut; `left` workers have told that they left.
    fn report(self, left: usize) -> ExitCode {
        let all_left = left == self.workers.len();
        let mut cut = 0;
        for worker in self.workers {
            // One that has told so is at its very end; one that has not may be stuck, and is left behind.
            if all_left || worker.thread.is_finished() {
                cut += worker.thread.join().unwrap_or(0);
            }
        }
        info(format_args!("left, {cut} exchange(s) cut"));
        ExitCode::SUCCESS
    }

    fn set_phase(&self, phase: Phase) {
        self.shared.set_phase(phase);
        self.workers.iter().for_each(Handle::wake);
    }

    /// Waits until all workers have left; false where the time is up or another signal came.
    fn await_workers(&self, left: &mut usize, patience: Duration, mut reason: Reason) -> bool {
        let epoch = Epoch::start();
        while *left < self.workers.len() {
            let spent = Duration::from_micros(epoch.now().0);
            match self.received.recv_timeout(patience.saturating_sub(spent)) {
                Ok(Event::WorkerLeft) => *left += 1,
                // Who ends a service signals all its processes: to one that leaves for another reason it is the first signal.
                Ok(Event::Leave) if reason != Reason::Told => reason = Reason::Told,
                Ok(Event::Leave) => {
                    tell_again();
                    return false;
                }
                Ok(Event::Upgrade) => tell_no_upgrade(),
                Ok(
                    Event::Reload | Event::FileChanged | Event::Alone | Event::Go(_) | Event::Successor(_),
                ) => {}
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => return false,
            }
        }
        true
    }
}

fn tell_no_upgrade() {
    info(format_args!("no upgrade: this process leaves"));
}

fn tell_again() {
    info(format_args!("told again: leaving at once"));
}

fn unasked() -> ExitCode {
    info(format_args!("a worker ended unasked"));
    ExitCode::FAILURE
}
