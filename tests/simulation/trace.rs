//! The last things that happened, to be shown when a property did not hold.

use apex::exchange::{Outcome, Readiness, Side, Step};
use std::collections::VecDeque;
use std::fmt;

/// Entries that are kept.
const ENTRIES_MAX: usize = 60;

#[derive(Debug, Clone, Copy)]
pub(crate) enum Entry {
    Step(usize, Step, Outcome),
    Event(usize, Side, Readiness),
    Expired(usize),
    Client(usize),
    Backend(usize),
    Connected(usize),
    Leaving,
}

#[derive(Debug, Default)]
pub(crate) struct Trace {
    entries: VecDeque<Entry>,
}

impl Trace {
    pub(crate) fn note(&mut self, entry: Entry) {
        if self.entries.len() == ENTRIES_MAX {
            self.entries.pop_front();
        }
        self.entries.push_back(entry);
    }
}

impl fmt::Display for Trace {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for entry in &self.entries {
            match entry {
                Entry::Step(front, step, outcome) => writeln!(out, "  {front}: {step:?} -> {outcome:?}")?,
                Entry::Event(front, side, ready) => {
                    let flags = [
                        (ready.readable, " readable"),
                        (ready.writable, " writable"),
                        (ready.read_closed, " read-closed"),
                        (ready.gone, " gone"),
                    ];
                    write!(out, "  {front}: event at {side:?}:")?;
                    for (_, word) in flags.iter().filter(|(set, _)| *set) {
                        out.write_str(word)?;
                    }
                    writeln!(out)?;
                }
                Entry::Expired(front) => writeln!(out, "  {front}: its deadline passed")?,
                Entry::Client(client) => writeln!(out, "  client {client} acts")?,
                Entry::Backend(socket) => writeln!(out, "  backend at socket {socket} acts")?,
                Entry::Connected(socket) => writeln!(out, "  socket {socket} is connected or refused")?,
                Entry::Leaving => writeln!(out, "  the process begins to leave")?,
            }
        }
        Ok(())
    }
}
