//! The reactor: one thread with one epoll; all its state is its own.
//!
//! A turn: poll, sample the clock, check for a new snapshot, pass events to exchanges, drive each exchange
//! until it blocks, handle timers that fired, hand over log lines.
//!
//! Three slot maps hold client connections (`client`), backend connections (`socket`) and exchanges
//! (`active`). A backend connection names the exchange that uses it; an exchange names its client connection.
//! `drive` lists every effect of an exchange, the same for each kind of client end (`client_end`);
//! `resources` holds what exchanges borrow; `dial` finds backend connections; `accept` accepts clients;
//! `alarm` ends a poll when work is due; `low_water` lets fast content gather in the kernel; `trim` returns
//! memory after a peak. All system calls go through [`crate::net::System`].

mod accept;
mod active;
mod alarm;
mod busy;
mod client;
mod client_end;
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
