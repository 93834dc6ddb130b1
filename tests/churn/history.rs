//! When each version was in force: from the moment its file was written until the one behind it was told to be in force.

use std::sync::Mutex;
use std::time::{Duration, Instant};

/// The versions that were written so far, by number: when each was over. None: no later version was told of.
#[derive(Debug, Default)]
pub struct History(Mutex<Vec<Option<Instant>>>);

impl History {
    /// The file of the next version is about to be written; gives its number.
    pub fn write(&self) -> usize {
        let mut ends = self.0.lock().unwrap();
        ends.push(None);
        ends.len() - 1
    }

    /// The last version was told to be in force: those before it are no more.
    pub fn told(&self) {
        let mut ends = self.0.lock().unwrap();
        let now = Instant::now();
        for end in ends.iter_mut().rev().skip(1).take_while(|end| end.is_none()) {
            *end = Some(now);
        }
    }

    /// The last version that was written.
    pub fn last(&self) -> usize {
        self.0.lock().unwrap().len() - 1
    }

    /// Was any version that `is_one` takes in force at some moment from `sent` until now?
    pub fn any(&self, sent: Instant, is_one: impl Fn(usize) -> bool) -> bool {
        let ends = self.0.lock().unwrap();
        // They follow each other: before the last one that was over by then there is none that was not.
        let in_force = ends.iter().enumerate().rev().take_while(|(_, end)| end.is_none_or(|end| end >= sent));
        in_force.map(|(v, _)| v).any(is_one)
    }

    /// How long that version was gone when a request was sent.
    pub fn gone_before(&self, v: usize, sent: Instant) -> Option<Duration> {
        let end = *self.0.lock().unwrap().get(v)?;
        Some(sent.saturating_duration_since(end?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_ends_when_the_next_one_is_told() {
        let history = History::default();
        let before = Instant::now();
        assert_eq!((history.write(), history.write()), (0, 1));
        let is = |sent, v| history.any(sent, |one| one == v);
        assert!(is(before, 0) && is(before, 1) && !is(before, 2));
        history.told();
        assert!(is(before, 0), "it was in force when the request was sent");
        let behind = Instant::now();
        assert!(!is(behind, 0) && is(behind, 1));
        assert!(history.gone_before(0, behind).is_some() && history.gone_before(1, behind).is_none());
    }
}
