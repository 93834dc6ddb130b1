//! What the control thread is at: how far the process is on its way to its end, and what is under way beside. Nothing of it stands
//! anywhere else.

use crate::base::Tick;
use crate::config::Mark;
use crate::config::diff::ConfigDiff;
use crate::control::event::Job;
use crate::control::publish::Prepared;
use crate::control::upgrade::escort::Upgrade;
use std::process::ExitCode;

/// How far the process is on its way to its end. It only goes forward.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(in crate::control) enum Stage {
    /// It serves.
    Serving,
    /// It was told to leave, and serves on as before until then (`shutdown_delay_secs`).
    Delaying(Tick),
    /// It accepts nobody, and open exchanges have until then to finish.
    Leaving(Leaving),
    /// What is open is cut; workers have until then to end.
    Ending(Leaving),
    /// All is done but the PID file, which has until then to be removed.
    Left(Tick, ExitCode),
}

/// A process that leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::control) struct Leaving {
    pub(super) reason: Reason,
    pub(super) until: Tick,
    /// Workers that have left.
    pub(super) left: usize,
    /// Exchanges that they cut.
    pub(super) cut: u64,
}

/// Why the process leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::control) enum Reason {
    /// It was told to. Told again, it closes all connections at once.
    Told,
    /// That process has taken its place.
    Replaced(u32),
}

/// What is under way beside serving. One thing at a time: an upgrade during a reload would hand over listeners that are about to change.
pub(in crate::control) enum Work {
    None,
    Reload(Reload),
    Upgrade(Upgrade),
}

impl Stage {
    /// When it is over; [`Tick::NEVER`]: not by itself.
    pub(super) fn until(self) -> Tick {
        match self {
            Self::Serving => Tick::NEVER,
            Self::Delaying(until) | Self::Left(until, _) => until,
            Self::Leaving(leaving) | Self::Ending(leaving) => leaving.until,
        }
    }

    /// Does it serve, old connections and new ones?
    pub(super) fn serves(self) -> bool {
        matches!(self, Self::Serving | Self::Delaying(_))
    }
}

impl Work {
    /// When it takes too long; [`Tick::NEVER`]: it has a time of its own.
    pub(super) fn until(&self) -> Tick {
        match self {
            Self::None | Self::Upgrade(_) => Tick::NEVER,
            Self::Reload(reload) => reload.until(),
        }
    }
}

/// A reload under way.
pub(in crate::control) struct Reload {
    pub(super) job: Job,
    pub(super) began: Tick,
    pub(super) step: Step,
    /// The file is to be read once more when this is done: it was asked for after it was read.
    pub(super) again: bool,
    /// What a watched file read at last.
    pub(super) changed_to: Option<Mark>,
    /// An upgrade was asked for meanwhile.
    pub(super) upgrade_then: bool,
}

/// What a reload waits for, and until when.
pub(super) enum Step {
    /// The file is read.
    Reading { until: Tick },
    /// It is parsed and compiled, which has no bound but the size of the file.
    Compiling,
    /// Names that are new with it are asked for.
    Naming { prepared: Box<Prepared>, until: Tick },
    /// It is in force; workers take it up.
    Taking { outcome: Outcome, until: Tick },
    /// The PID file moves.
    Filing { outcome: Outcome, until: Tick },
}

/// What a reload has come to so far.
pub(super) struct Outcome {
    pub(super) difference: ConfigDiff,
    pub(super) troubles: Vec<String>,
}

impl Reload {
    /// Has an upgrade begin when this is done.
    pub(super) fn upgrade_then(&mut self) {
        self.upgrade_then = true;
    }

    pub(super) fn until(&self) -> Tick {
        match self.step {
            Step::Compiling => Tick::NEVER,
            Step::Reading { until }
            | Step::Naming { until, .. }
            | Step::Taking { until, .. }
            | Step::Filing { until, .. } => until,
        }
    }
}
