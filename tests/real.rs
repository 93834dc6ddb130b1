//! Apex among real programs: nginx, wrk, curl, git, WebSocket and event-stream peers, chroot.
//!
//! Owns nothing of the protocol's rules; those have their own tables. What is judged here is only what a stranger's
//! program can see: that no request failed, that bytes are the same at both ends, and what memory it took.
//! How to run it at full size, and what each case is for: `tests/real/README.md`.
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
