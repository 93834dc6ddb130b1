//! When each version was in force: from the moment its file was written until the one behind it was told to be in force.

use std::sync::Mutex;
use std::time::Instant;

#[derive(Debug, Clone, Copy)]
struct Reign {
    from: Instant,
    /// None: no later version was told of.
    until: Option<Instant>,
}

/// The versions so far, by number.
#[derive(Debug, Default)]
pub struct History(Mutex<Vec<Reign>>);

impl History {
    /// The file of the next version is about to be written; gives its number.
    pub fn write(&self) -> usize {
        let mut reigns = self.0.lock().unwrap();
        reigns.push(Reign { from: Instant::now(), until: None });
        reigns.len() - 1
    }

    /// The last version was told to be in force: those before it are no more.
    pub fn told(&self) {
        let mut reigns = self.0.lock().unwrap();
        let now = Instant::now();
        for reign in reigns.iter_mut().rev().skip(1).take_while(|reign| reign.until.is_none()) {
            reign.until = Some(now);
        }
    }

    /// The last version that was written.
    pub fn last(&self) -> usize {
        self.0.lock().unwrap().len() - 1
    }

    /// Was any version that `is_one` takes in force at some moment from `sent` until now?
    pub fn any(&self, sent: Instant, is_one: impl Fn(usize) -> bool) -> bool {
        let reigns = self.0.lock().unwrap();
        let late = |reign: &Reign| reign.until.is_none_or(|until| until >= sent);
        // They follow each other: before the first one that had ended there is none that had not.
        reigns.iter().enumerate().rev().take_while(|(_, reign)| late(reign)).any(|(v, _)| is_one(v))
    }

    /// In words: how long before `sent` that version had ended, for a message.
    pub fn words(&self, v: usize, sent: Instant) -> String {
        let reigns = self.0.lock().unwrap();
        match reigns.get(v) {
            None => format!("version {v} was never written"),
            Some(reign) => format!(
                "version {v}: {:?} since it was written, it ended {:?} before the request",
                reign.from.elapsed(),
                reign.until.map(|until| sent.saturating_duration_since(until))
            ),
        }
    }
}
