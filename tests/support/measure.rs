//! What tests of size need: sizes from the environment, figures said aloud, room for descriptors.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::io::{self, Write};

/// Says a line past libtest's capture: a figure is of no use where nobody sees it.
pub fn say(line: &str) {
    // Nothing is lost but the line if the standard error is closed.
    let _ = writeln!(io::stderr(), "{line}");
}

/// A number from the environment, or `default`.
pub fn size(variable: &str, default: usize) -> usize {
    match std::env::var(variable) {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("{variable} is no number: {text}")),
        Err(_) => default,
    }
}

/// Makes room for descriptors, here and in the programs started from here; gives how many one process may have.
pub fn raise_descriptor_limit(wanted: usize) -> usize {
    let wanted = wanted as u64;
    let now = getrlimit(Resource::Nofile);
    if now.current.is_some_and(|current| current < wanted) {
        let maximum = now.maximum.map(|maximum| maximum.max(wanted));
        // Only root may go past the hard limit; whoever may not takes all there is.
        if setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), maximum }).is_err() {
            let _ = setrlimit(Resource::Nofile, Rlimit { current: now.maximum, maximum: now.maximum });
        }
    }
    let limit = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    usize::try_from(limit).unwrap_or(usize::MAX)
}
