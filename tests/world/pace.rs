//! How a peer takes its time: short rests between what it does, and a steady pace at which it reads or writes.

use super::choices::Choices;

/// A second in ticks.
pub(crate) const SECOND: u64 = 1_000_000;

/// When worlds begin: later than any timeout, so that a deadline counted from nothing has passed.
pub(crate) const START: u64 = 1_000 * SECOND;

/// Rests of one peer. Together they stay below what any deadline allows.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rests {
    /// It does nothing before.
    pub(crate) until: u64,
    /// How long it may rest in all.
    left: u64,
    /// So many times in a hundred, it rests when it has done something.
    percent: usize,
}

impl Rests {
    pub(crate) const fn new(percent: usize, left: u64) -> Self {
        Self { until: 0, left, percent }
    }

    /// It has done something: maybe it rests.
    pub(crate) fn draw(&mut self, now: u64, choices: &mut Choices) {
        if self.left > 0 && choices.percent(self.percent) {
            let rest = choices.pick(&[300, 2_100, 15_000, 90_000, SECOND]).min(self.left);
            self.left -= rest;
            self.until = self.until.max(now + rest);
        }
    }

    /// It does nothing for that long.
    pub(crate) fn think(&mut self, now: u64, time: u64) {
        self.until = self.until.max(now + time);
    }
}

/// So many octets each time, and so long between two times.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Pace {
    pub(crate) octets: usize,
    pub(crate) every: u64,
}
