//! Apex: a reverse proxy for HTTP/1.1. One static binary, one TOML file.
//!
//! The crate is a house of floors; imports only go down, and `tests/tidy.rs` holds that rule:
//!
//! ```text
//! main.rs    exit codes
//! cli        what the command line can do without a running proxy; starts one
//! control    the control thread: events, reload, listeners, upgrade, names of backends, service manager
//! config     the file: read, checked, every error with its place and a hint
//! worker     the reactor: loop, connections, exchanges under way, drive, dial, idle pools, timer wheel
//! log        the access log: lines made by workers, written by one thread
//! net        the kernel: sockets and listeners (TCP, Unix), pipes, polls; only here is rustix named
//! exchange   one request and its response as a pure state machine
//! route      the compiled table, host and path patterns, pools, balancing
//! http       bytes only: heads, targets, framing, chunked, what is forwarded, replies
//! metrics    counters
//! base       time as a number, addresses, random numbers, object pools, slot maps: what every floor uses
//! echo       beside the house: the origin for tries and benchmarks
//! ```
#![forbid(unsafe_code)]

// A key of the reactor is one word that epoll carries, and lengths from the wire fit `usize`.
#[cfg(not(target_pointer_width = "64"))]
compile_error!("Apex needs a 64-bit target");

pub mod base;
pub mod cli;
pub mod config;
pub mod control;
pub mod echo;
pub mod exchange;
pub mod http;
pub mod log;
pub mod metrics;
pub mod net;
pub mod route;
pub mod worker;
