//! A reload, step by step: the file is read and compiled, new names are asked for, listeners are bound, the version is put in force,
//! workers take it, the PID file follows. A broken file changes nothing.

use super::Control;
use super::state::{Outcome, Reload, Stage, Step, Work};
use crate::base::Address;
use crate::config::diff::ConfigDiff;
use crate::config::{Mark, Problems};
use crate::control::background;
use crate::control::event::{Event, Job, Notice};
use crate::control::listeners::Change;
use crate::control::pid_file::PID_FILE_WAIT;
use crate::control::publish::{Prepared, put_in_force};
use crate::control::report::{info, info_text, warn};
use crate::control::resolve::{NAMES_WAIT, say_silent};
use crate::control::service_manager::State;
use crate::worker::{Handle, ListenChange};
use std::any::Any;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// How long the file may take to be read. On a file system that hangs the reload is given up then.
const READ_WAIT: Duration = Duration::from_secs(10);

/// How long a reload waits for workers to go by it before it tells so. One takes a turn of its loop, unless it is stuck.
const TAKING_WAIT: Duration = Duration::from_secs(2);

impl Control<'_> {
    /// The watched file changed. One that reads as before is no news.
    pub(super) fn file_changed(&mut self, mark: Mark) {
        match &mut self.work {
            Work::Reload(reload) => reload.changed_to = Some(mark),
            Work::None | Work::Upgrade(_) => {
                if self.config.server.watch && Some(mark) != self.known {
                    self.reload();
                }
            }
        }
    }

    /// Reads the file again. While an upgrade is under way that waits: either process may be the one to do it.
    pub(super) fn reload(&mut self) {
        if !self.stage.serves() {
            return;
        }
        match &mut self.work {
            Work::None => self.begin_reload(),
            Work::Reload(reload) => reload.again = true,
            Work::Upgrade(upgrade) => {
                upgrade.reload_then();
                info(format_args!("the file is read when the upgrade is over"));
            }
        }
    }

    fn begin_reload(&mut self) {
        let Some(path) = self.path else {
            return info(format_args!("the demo has no file to reload"));
        };
        if self.stage == Stage::Serving {
            self.manager.tell(State::Reloading);
        }
        let job = self.next_job();
        let started = background::Reload {
            job,
            path: path.to_path_buf(),
            config: Arc::clone(&self.config),
            snapshot: self.shared.snapshot.load_full(),
            descriptors: self.descriptors,
        }
        .start(self.events.clone());
        let step = Step::Reading { until: self.in_time(READ_WAIT) };
        let began = self.epoch.now();
        let reload = Reload { job, began, step, again: false, changed_to: None, upgrade_then: false };
        self.work = Work::Reload(reload);
        if let Err(words) = started {
            self.refuse(&words);
        }
    }

    /// The reload under way, if it is that one: a late result of one that was given up changes nothing.
    fn reload_of(&mut self, job: Job) -> Option<&mut Reload> {
        match &mut self.work {
            Work::Reload(reload) if reload.job == job => Some(reload),
            _ => None,
        }
    }

    pub(super) fn file_read(&mut self, job: Job) {
        if let Some(reload) = self.reload_of(job) {
            reload.step = Step::Compiling;
        }
    }

    /// The file was parsed and compiled, or is broken.
    pub(super) fn compiled(
        &mut self,
        job: Job,
        prepared: Result<Box<Prepared>, Problems>,
        mark: Option<Mark>,
    ) {
        if self.reload_of(job).is_none() {
            return;
        }
        self.known = mark;
        match prepared {
            Ok(prepared) => {
                let answered = Notice::of(&self.events, Event::NamesAnswered(job));
                self.resolver.follow(prepared.version.table.backends(), answered);
                let until = self.in_time(NAMES_WAIT);
                if let Some(reload) = self.reload_of(job) {
                    reload.step = Step::Naming { prepared, until };
                }
            }
            Err(problems) => {
                info_text(format!("{problems}\n"));
                self.refuse("the table in force stays");
            }
        }
    }

    /// Every new name was answered for: the version can be put in force.
    pub(super) fn names_answered(&mut self, job: Job) {
        if self.reload_of(job).is_some_and(|reload| matches!(reload.step, Step::Naming { .. })) {
            self.put_in_force(job);
        }
    }

    /// Binds what is new, and puts the version in force.
    fn put_in_force(&mut self, job: Job) {
        let Some(reload) = self.reload_of(job) else { return };
        let Step::Naming { prepared, .. } = std::mem::replace(&mut reload.step, Step::Compiling) else {
            return;
        };
        let Prepared { mut config, mut difference, version } = *prepared;
        // Sockets last, right before somebody accepts from them, but before the version: with it workers look for them.
        let taken = Notice::of(&self.events, Event::VersionTaken(job));
        let troubles = self.listen(&config.server.listen, &mut difference, &taken);
        let old = put_in_force(version, &self.shared, &self.workers);
        // What could not be changed is as it was, so that the next reload tells of it again.
        config.server.listen = self.listeners.asked();
        config.server.workers = self.config.server.workers;
        self.reclaimer.take(old, std::mem::replace(&mut self.config, Arc::new(config)));
        let step =
            Step::Taking { outcome: Outcome { difference, troubles }, until: self.in_time(TAKING_WAIT) };
        if let Some(reload) = self.reload_of(job) {
            reload.step = step;
        }
    }

    /// Has workers listen on other addresses. What cannot be had is taken out of the difference, and told. Each worker lets go of
    /// `taken` once it goes by the version that is put in force then.
    fn listen(
        &mut self,
        wanted: &[Address],
        difference: &mut ConfigDiff,
        taken: &Arc<dyn Any + Send + Sync>,
    ) -> Vec<String> {
        if !self.workers.iter().all(Handle::has_room) {
            difference.listen_added.clear();
            difference.listen_removed.clear();
            return vec![String::from("a worker is stuck: `listen` is as it was")];
        }
        let Change { changes, refused, keeps_old } = self.listeners.change(wanted);
        for (worker, change) in self.workers.iter().zip(changes) {
            // There is room: nobody else gives orders.
            let taken = Some(Arc::clone(taken));
            let _ = worker.change_listeners(ListenChange { taken, ..change });
        }
        let mut troubles = Vec::new();
        for (address, error) in refused {
            difference.listen_added.retain(|added| *added != address);
            let hint = crate::control::listeners::hint(&address, &error);
            troubles
                .push(format!("cannot listen on {address}: {error}{hint}; the rest of the file is in force"));
        }
        if keeps_old && !difference.listen_removed.is_empty() {
            let kept: Vec<String> = difference.listen_removed.drain(..).map(|one| one.to_string()).collect();
            troubles.push(format!("no other address is left: it still listens on {}", kept.join(", ")));
        }
        troubles
    }

    /// Every worker uses the version. `reloaded` is logged only now, so that no request is routed by the old table after that line.
    pub(super) fn version_taken(&mut self, job: Job) {
        let until = self.in_time(PID_FILE_WAIT);
        let wanted = self.config.server.pid_file.clone();
        let Some(reload) = self.reload_of(job) else { return };
        // It may come late, when it was told that a worker is stuck.
        if !matches!(reload.step, Step::Taking { .. }) {
            return;
        }
        let Step::Taking { outcome, .. } = std::mem::replace(&mut reload.step, Step::Compiling) else {
            return;
        };
        if self.pid_file.follow(job, wanted.as_deref()) {
            if let Some(reload) = self.reload_of(job) {
                reload.step = Step::Filing { outcome, until };
            }
        } else {
            self.applied(outcome);
        }
    }

    /// The PID file is where it was asked to be, or not.
    pub(super) fn pid_file_written(&mut self, job: Job, result: Result<(), String>) {
        if !self.pid_file.settle(job, result.is_ok()) {
            return;
        }
        let Some(reload) = self.reload_of(job) else { return };
        let Step::Filing { mut outcome, .. } = std::mem::replace(&mut reload.step, Step::Compiling) else {
            return;
        };
        if let Err(words) = result {
            self.keep_pid_file(&mut outcome, words);
        }
        self.applied(outcome);
    }

    fn keep_pid_file(&mut self, outcome: &mut Outcome, words: String) {
        let path = self.pid_file.path().map(Path::to_path_buf);
        Arc::make_mut(&mut self.config).server.pid_file = path;
        outcome.difference.server.retain(|&key| key != "pid_file");
        outcome.troubles.push(words);
    }

    /// The reload is done.
    fn applied(&mut self, Outcome { difference, troubles }: Outcome) {
        let Work::Reload(reload) = std::mem::replace(&mut self.work, Work::None) else { return };
        let millis = self.epoch.now().since_us(reload.began) / 1000;
        let path = self.path.unwrap_or(Path::new("")).display();
        self.registry.process.reloads_applied.add(1);
        info(format_args!("reloaded {path} in {millis} ms: {difference}"));
        for trouble in troubles {
            warn(format_args!("{trouble}"));
        }
        self.tell_ready();
        self.go_on_from(&reload);
    }

    /// The reload comes to nothing; why, in words.
    fn refuse(&mut self, words: &str) {
        let Work::Reload(reload) = std::mem::replace(&mut self.work, Work::None) else { return };
        self.registry.process.reloads_refused.add(1);
        let path = self.path.unwrap_or(Path::new("")).display();
        let words = format!("{path} was not reloaded: {words}");
        warn(format_args!("{words}"));
        if self.stage == Stage::Serving {
            self.manager.tell(State::Ready(&words));
        }
        self.go_on_from(&reload);
    }

    /// Begins an upgrade that was asked for, or reads the file once more where that was asked for after it was read.
    fn go_on_from(&mut self, reload: &Reload) {
        if reload.upgrade_then {
            self.begin_upgrade();
        }
        if reload.again {
            self.reload();
        } else if let Some(mark) = reload.changed_to {
            self.file_changed(mark);
        }
    }

    /// A step of the reload takes too long: the next one is taken without it.
    pub(super) fn work_takes_too_long(&mut self) {
        let Work::Reload(reload) = &mut self.work else { return };
        let job = reload.job;
        match std::mem::replace(&mut reload.step, Step::Compiling) {
            Step::Reading { .. } => {
                self.refuse(&format!("it could not be read within {} s", READ_WAIT.as_secs()));
            }
            Step::Naming { prepared, until } => {
                let silent = prepared.version.table.backends().filter(|backend| !backend.is_resolved());
                say_silent(silent.map(|backend| backend.authority.as_str()));
                reload.step = Step::Naming { prepared, until };
                self.put_in_force(job);
            }
            Step::Taking { mut outcome, until } => {
                outcome
                    .troubles
                    .push(String::from("a worker is stuck: it serves as before until it moves on"));
                reload.step = Step::Taking { outcome, until };
                self.version_taken(job);
            }
            Step::Filing { mut outcome, .. } => {
                let words = "the PID file cannot be written: its file system hangs";
                self.keep_pid_file(&mut outcome, words.to_owned());
                self.applied(outcome);
            }
            Step::Compiling => {}
        }
    }
}
