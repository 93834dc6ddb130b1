//! What the programs of this crate share: sockets, the reading of answers, latencies, and what the kernel says of a process.
//! It is no part of Apex and names nothing of it: Apex is measured from outside, like any of its peers.
#![forbid(unsafe_code)]

pub mod answer;
pub mod histogram;
pub mod socket;
pub mod watch;
