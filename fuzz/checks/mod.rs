//! What must hold for any bytes whatever. Each function that is handed on here is one fuzz target; `tests/corpus.rs` runs the
//! same ones over the seeds in plain `cargo test`. A check fails by panicking. It never looks at how something is done, only
//! at what comes out.

// Each target is a program that calls one of them.
#![allow(dead_code, unused_imports)]

mod config;
mod exchange;
mod http;

pub(crate) use config::config;
pub(crate) use exchange::exchange;
pub(crate) use http::{chunked, forward, framing, head, target};
