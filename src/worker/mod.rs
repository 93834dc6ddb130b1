//! The reactor: one thread, one epoll, everything that it touches its own.
//!
//! A turn: poll, sample the clock, look for a new table, tell exchanges of the events, drive each as far as it goes, ask those
//! whose time is up, hand over the log lines. `drive` is the list of everything that an exchange can ask for; `desk` is what
//! it is served from; `dial` finds backend connections; `accept` welcomes clients; `alarm` ends a poll when something is due;
//! `gather` waits for much where much comes fast; `ebb` gives back what a peak took.

mod accept;
mod alarm;
mod busy;
mod client;
mod clock;
mod dial;
mod drive;
mod failures;
#[cfg(test)]
mod faulty;
mod held;
mod idle;
mod listen_group;
mod low_water;
mod panic;
mod pipes;
mod reactor;
mod resources;
mod shared;
mod socket;
mod token;
mod told;
mod trim;
mod wheel;

pub use crate::net::Epoch;
pub use held::Held;
pub use listen_group::{Bound, ListenChange, ListenGroup, Mailbox, Ownership};
pub use reactor::{Handle, Setup, Turn, Worker, spawn};
pub use resources::{OperatorLine, Report};
pub use shared::{Phase, Shared, Snapshot};
