//! Support for tests of size: sizes from the environment, printed figures, room for descriptors.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::io::{self, Write};

/// Prints a line past libtest's capture, so that the figure is visible.
pub fn say(line: &str) {
    // If the standard error is closed, only the line is lost.
    let _ = writeln!(io::stderr(), "{line}");
}

/// A number from the environment, or `default`.
pub fn size(variable: &str, default: usize) -> usize {
    match std::env::var(variable) {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("{variable} is no number: {text}")),
        Err(_) => default,
    }
}

/// Raises the limit of descriptors, here and for the programs started from here; returns the limit of one
/// process.
pub fn raise_descriptor_limit(wanted: usize) -> usize {
    let wanted = wanted as u64;
    let now = getrlimit(Resource::Nofile);
    if now.current.is_some_and(|current| current < wanted) {
        let maximum = now.maximum.map(|maximum| maximum.max(wanted));
        // Only root may exceed the hard limit; another user gets the hard limit.
        if setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), maximum }).is_err() {
            let _ = setrlimit(Resource::Nofile, Rlimit { current: now.maximum, maximum: now.maximum });
        }
    }
    let limit = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    usize::try_from(limit).unwrap_or(usize::MAX)
}
