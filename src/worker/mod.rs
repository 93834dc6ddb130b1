//! The reactor: one thread, one epoll, everything that it touches its own.
//!
//! A turn: poll, sample the clock, look for a new table, tell exchanges of the events, drive each as far as it goes, ask those
//! whose time is up, hand over the log lines.
//!
//! Three slot maps hold what goes on: client connections (`client`), backend connections (`socket`) and exchanges (`active`). A
//! backend connection names the exchange that uses it, an exchange names the client connection that its request came by. `drive` is
//! the list of everything that an exchange can ask for, the same for every kind of client's end (`client_end`); `resources` is what
//! it is served from; `dial` finds backend connections; `accept` welcomes clients; `alarm` ends a poll when something is due;
//! `low_water` waits for much where much comes fast; `trim` gives back what a peak took. What it asks of the kernel goes through
//! [`crate::net::System`].

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
