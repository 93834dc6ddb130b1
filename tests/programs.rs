//! Every client through Apex to every server: a matrix of programs that know nothing of Apex, judged by
//! content.
//!
//! Owns the list of programs and the final table; the exchanges and their checks are in the scripts beside
//! `tests/programs/README.md`, which explains how to install the programs. Connects only to loopback; a
//! missing program is skipped with a message.
// The ban on reading the clock is meant for workers; a deadline of a test has nothing else to go by.
#![allow(clippy::disallowed_methods, clippy::disallowed_types)]

#[path = "programs/clients.rs"]
mod clients;
#[path = "programs/matrix.rs"]
mod matrix;
#[allow(dead_code, reason = "`tests/real.rs` uses the rest")]
#[path = "real/peers.rs"]
mod peers;
#[path = "programs/servers.rs"]
mod servers;
#[path = "programs/site.rs"]
mod site;
#[allow(dead_code, reason = "`tests/real.rs` uses the rest")]
#[path = "real/support.rs"]
mod support;
