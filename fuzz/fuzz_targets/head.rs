//! Heads of requests and responses, read and judged: see `checks::head`.
#![no_main]

#[path = "../checks/mod.rs"]
mod checks;

libfuzzer_sys::fuzz_target!(|data: &[u8]| checks::head(data));
