//! Apex among real programs: nginx, wrk, curl, git, WebSocket and event-stream peers, chroot.
//!
//! The protocol's rules have tables of their own. These tests check only what an unmodified program can see:
//! that no request failed, that the octets are the same at both ends, and the memory used.
//! `tests/real/README.md` explains each case, and how to run it at full size.
// The ban on reading the clock is meant for workers; a deadline of a test has nothing else to go by.
#![allow(clippy::disallowed_methods)]

#[path = "real/bodies.rs"]
mod bodies;
#[path = "real/chroot.rs"]
mod chroot;
#[path = "real/git.rs"]
mod git;
#[path = "real/load.rs"]
mod load;
#[path = "real/peers.rs"]
mod peers;
#[path = "real/scale.rs"]
mod scale;
#[path = "real/streams.rs"]
mod streams;
#[path = "real/support.rs"]
mod support;
