//! The way out: a delay, a time for open exchanges, an end at once, and the PID file last.

use super::state::{Leaving, Reason, Stage, Work};
use super::{Control, Flow};
use crate::control::pid_file::PID_FILE_WAIT;
use crate::control::report::{info, warn};
use crate::control::service_manager::State;
use crate::worker::{Handle, Phase};
use std::ops::ControlFlow;
use std::process::ExitCode;
use std::time::Duration;

/// How long workers may take to close all connections. The process ends without those that are stuck.
const ENDING_WAIT: Duration = Duration::from_secs(2);

impl Control<'_> {
    /// The first signal has it leave in order, the second one closes everything at once.
    pub(super) fn told_to_leave(&mut self) -> Flow {
        match self.stage {
            Stage::Serving => {
                self.give_up_upgrade();
                self.manager.tell(State::Stopping);
                let delay = self.config.server.shutdown_delay;
                if delay.is_zero() {
                    self.leave(Reason::Told);
                    return self.leave_if_all_left();
                }
                info(format_args!("leaving in {} s: until then it serves on", delay.as_secs_f64()));
                self.stage = Stage::Delaying(self.in_time(delay));
            }
            // Who ends a service signals all its processes: to one that leaves for another reason it is the first signal.
            Stage::Leaving(leaving) if leaving.reason != Reason::Told => {
                self.stage = Stage::Leaving(Leaving { reason: Reason::Told, ..leaving });
            }
            Stage::Delaying(_) | Stage::Leaving(_) => {
                info(format_args!("second signal: closing all connections now"));
                self.end_at_once();
                return self.leave_if_all_left();
            }
            Stage::Ending(_) | Stage::Left(..) => {}
        }
        ControlFlow::Continue(())
    }

    /// Lets open exchanges finish within their time.
    pub(super) fn leave(&mut self, reason: Reason) {
        let patience = self.config.server.shutdown_timeout;
        let time = format!("open exchanges have {} s to finish", patience.as_secs_f64());
        match reason {
            Reason::Told => info(format_args!("leaving: {time}")),
            Reason::Replaced(number) => {
                info(format_args!("process {number} serves; process {} leaves: {time}", std::process::id()));
            }
        }
        self.listeners.forget();
        // What a reload would still come to is nothing to a process that leaves.
        if matches!(self.work, Work::Reload(_)) {
            self.work = Work::None;
        }
        self.set_phase(Phase::Leaving);
        self.stage = Stage::Leaving(Leaving { reason, until: self.in_time(patience), left: 0, cut: 0 });
    }

    /// Cuts what is open still.
    fn end_at_once(&mut self) {
        let until = self.in_time(ENDING_WAIT);
        let leaving = match self.stage {
            Stage::Leaving(leaving) => Leaving { until, ..leaving },
            _ => Leaving { reason: Reason::Told, until, left: 0, cut: 0 },
        };
        self.listeners.forget();
        self.kill_successor();
        self.set_phase(Phase::Ending);
        self.stage = Stage::Ending(leaving);
    }

    fn set_phase(&self, phase: Phase) {
        self.shared.set_phase(phase);
        self.workers.iter().for_each(Handle::wake);
    }

    /// A worker has left, as it was told to or not.
    pub(super) fn worker_left(&mut self, number: usize, cut: u64) -> Flow {
        match &mut self.stage {
            Stage::Serving | Stage::Delaying(_) => {
                warn(format_args!("worker {number} stopped unexpectedly"));
                self.kill_successor();
                self.remove_pid_file(ExitCode::FAILURE)
            }
            Stage::Leaving(leaving) | Stage::Ending(leaving) => {
                leaving.left += 1;
                leaving.cut += cut;
                self.leave_if_all_left()
            }
            Stage::Left(..) => ControlFlow::Continue(()),
        }
    }

    /// Ends where nothing is left to wait for.
    pub(super) fn leave_if_all_left(&mut self) -> Flow {
        match self.stage {
            Stage::Leaving(leaving) | Stage::Ending(leaving)
                if leaving.left == self.workers.len() && !self.awaits_successor() =>
            {
                self.report_and_end(leaving)
            }
            _ => ControlFlow::Continue(()),
        }
    }

    /// The time of a stage is up.
    pub(super) fn stage_is_over(&mut self) -> Flow {
        match self.stage {
            Stage::Serving => ControlFlow::Continue(()),
            Stage::Delaying(_) => {
                self.leave(Reason::Told);
                self.leave_if_all_left()
            }
            Stage::Leaving(_) => {
                self.end_at_once();
                self.leave_if_all_left()
            }
            // A worker that has not left is stuck: the process ends without it.
            Stage::Ending(leaving) => self.report_and_end(leaving),
            Stage::Left(_, code) => {
                warn(format_args!("the PID file is left where it is: its file system hangs"));
                ControlFlow::Break(code)
            }
        }
    }

    /// Says how it ended.
    fn report_and_end(&mut self, leaving: Leaving) -> Flow {
        self.say_totals();
        match leaving.cut {
            0 => info(format_args!("left, all exchanges finished")),
            1 => info(format_args!("left, 1 exchange cut")),
            cut => info(format_args!("left, {cut} exchanges cut")),
        }
        self.remove_pid_file(ExitCode::SUCCESS)
    }

    fn remove_pid_file(&mut self, code: ExitCode) -> Flow {
        if !self.pid_file.remove() {
            return ControlFlow::Break(code);
        }
        self.stage = Stage::Left(self.in_time(PID_FILE_WAIT), code);
        ControlFlow::Continue(())
    }

    pub(super) fn pid_file_removed(&mut self) -> Flow {
        match self.stage {
            Stage::Left(_, code) => ControlFlow::Break(code),
            _ => ControlFlow::Continue(()),
        }
    }
}
