//! What is sent reads as what was judged: see `checks::forward`.
#![no_main]

#[path = "../checks/mod.rs"]
mod checks;

libfuzzer_sys::fuzz_target!(|data: &[u8]| checks::forward(data));
