//! An upgrade as the control thread sees it: begun, followed, and its end drawn. Which process ends when is told in
//! `control/upgrade/escort.rs`.

use super::state::{Reason, Stage, Work};
use super::{Control, Flow};
use crate::control::event::{Job, Progress, Then};
use crate::control::report::{info, warn};
use crate::control::service_manager::State;
use crate::control::upgrade::escort::{Outcome, Upgrade};
use std::ops::ControlFlow;

impl Control<'_> {
    /// Starts a successor.
    pub(super) fn begin_upgrade(&mut self) {
        let begun = match (self.stage, &mut self.work) {
            (Stage::Serving, Work::None) => self.try_upgrade(),
            (Stage::Serving, Work::Upgrade(_)) => {
                return info(format_args!("an upgrade is under way already"));
            }
            (Stage::Serving, Work::Reload(reload)) => {
                reload.upgrade_then();
                return info(format_args!("the upgrade begins when the reload is over"));
            }
            (Stage::Delaying(_) | Stage::Leaving(_) | Stage::Ending(_) | Stage::Left(..), _) => {
                Err(String::from("this process leaves"))
            }
        };
        if let Err(words) = begun {
            info(format_args!("no upgrade: {words}"));
        }
    }

    fn try_upgrade(&mut self) -> Result<(), String> {
        if self.path.is_none() {
            return Err(String::from("the demo ends with its process"));
        }
        if std::process::id() == 1 {
            return Err(String::from("everything here ends with process 1, which this is"));
        }
        let program = self.program.clone().ok_or("it cannot be told which file this process runs")?;
        let path = program.path().display().to_string();
        let (passed, limit) = (self.listeners.to_pass(), self.config.server.upgrade_timeout);
        let (resolver, events) = (self.resolver.clone(), self.events.clone());
        let begun = Upgrade::start(self.next_job(), program, passed, resolver, limit, events);
        self.work = Work::Upgrade(begun.map_err(|error| error.to_string())?);
        info(format_args!("upgrade: {path} is started"));
        Ok(())
    }

    /// Something was heard of the successor.
    pub(super) fn hear_of_successor(&mut self, job: Job, progress: Progress) -> Flow {
        let Work::Upgrade(upgrade) = &mut self.work else { return ControlFlow::Continue(()) };
        if upgrade.job() != job {
            return ControlFlow::Continue(());
        }
        match progress {
            Progress::Started(child) => upgrade.started(child),
            Progress::Ready(unwanted) => upgrade.go(unwanted),
            Progress::Failed(words) => upgrade.fail(words),
            Progress::Done => {
                if let Some((number, unwanted)) = upgrade.done() {
                    self.listeners.hand_over(&unwanted);
                    self.manager.tell(State::Replaced(number));
                    upgrade.release();
                    self.registry.process.upgrades_done.add(1);
                    self.leave(Reason::Replaced(number));
                }
            }
            Progress::Ended => {
                if let Work::Upgrade(upgrade) = std::mem::replace(&mut self.work, Work::None) {
                    self.upgrade_ended(upgrade);
                }
                return self.leave_if_all_left();
            }
        }
        ControlFlow::Continue(())
    }

    fn upgrade_ended(&mut self, upgrade: Upgrade) {
        match upgrade.ended() {
            Outcome::Served | Outcome::GivenUp => {}
            Outcome::Failed(words, then) => {
                self.registry.process.upgrades_failed.add(1);
                warn(format_args!("the upgrade failed: {words}; this process serves on"));
                if then == Then::Reload {
                    self.reload();
                }
            }
        }
    }

    /// This process was told to leave: both end, unless the other one serves already.
    pub(super) fn give_up_upgrade(&mut self) {
        if let Work::Upgrade(upgrade) = &mut self.work
            && upgrade.give_up()
        {
            self.registry.process.upgrades_failed.add(1);
            info(format_args!("the upgrade is given up: this process was told to leave"));
        }
    }

    /// Is there a successor that is to end, and has not?
    pub(super) fn awaits_successor(&self) -> bool {
        matches!(&self.work, Work::Upgrade(upgrade) if upgrade.is_ending())
    }

    /// Ends a successor that is not to be, at once.
    pub(super) fn kill_successor(&mut self) {
        if let Work::Upgrade(upgrade) = &mut self.work {
            upgrade.kill();
        }
    }
}
