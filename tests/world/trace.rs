//! The last things that happened, to be shown when a property did not hold.

use super::socket::Levels;
use std::collections::VecDeque;
use std::fmt;

/// Entries that are kept where many seeds are tried.
const ENTRIES_MAX: usize = 60;

/// Entries that are kept of one seed.
const ALL_ENTRIES_MAX: usize = 20_000;

#[derive(Debug, Clone, Copy)]
pub(crate) enum Entry {
    /// A call of the worker on a socket, and what came of it.
    Call(&'static str, usize, Result<usize, i32>),
    Event(usize, Levels),
    Closed(usize, bool),
    Client(usize),
    Backend(usize),
    Connected(usize),
    Passed(u64),
    Control(&'static str),
}

#[derive(Debug)]
pub(crate) struct Trace {
    entries: VecDeque<Entry>,
    /// Entries that are kept.
    count_max: usize,
}

impl Default for Trace {
    fn default() -> Self {
        let of_one_seed = std::env::var_os("APEX_SEED").is_some();
        let count_max = if of_one_seed { ALL_ENTRIES_MAX } else { ENTRIES_MAX };
        Self { entries: VecDeque::new(), count_max }
    }
}

impl Trace {
    pub(crate) fn note(&mut self, entry: Entry) {
        if self.entries.len() == self.count_max {
            self.entries.pop_front();
        }
        self.entries.push_back(entry);
    }
}

impl fmt::Display for Trace {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for entry in &self.entries {
            match entry {
                Entry::Call(name, socket, Ok(count)) => {
                    writeln!(out, "  {name} of socket {socket}: {count}")?;
                }
                Entry::Call(name, socket, Err(errno)) => {
                    writeln!(
                        out,
                        "  {name} of socket {socket}: {}",
                        std::io::Error::from_raw_os_error(*errno)
                    )?;
                }
                Entry::Event(socket, ready) => {
                    let flags = [
                        (ready.readable, " readable"),
                        (ready.writable, " writable"),
                        (ready.read_closed, " read-closed"),
                        (ready.gone, " gone"),
                    ];
                    write!(out, "  event of socket {socket}:")?;
                    for (_, word) in flags.iter().filter(|(set, _)| *set) {
                        out.write_str(word)?;
                    }
                    writeln!(out)?;
                }
                Entry::Closed(socket, by_reset) => {
                    writeln!(
                        out,
                        "  socket {socket} is closed{}",
                        if *by_reset { " by a reset" } else { "" }
                    )?;
                }
                Entry::Client(client) => writeln!(out, "  client {client} acts")?,
                Entry::Backend(socket) => writeln!(out, "  backend at socket {socket} acts")?,
                Entry::Connected(socket) => writeln!(out, "  socket {socket} is connected or refused")?,
                Entry::Passed(ticks) => writeln!(out, "  {ticks} us pass")?,
                Entry::Control(what) => writeln!(out, "  {what}")?,
            }
        }
        Ok(())
    }
}
