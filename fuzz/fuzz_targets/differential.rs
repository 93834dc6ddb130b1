//! Requests as Apex reads them against another parser's reading: see `differential`.
#![no_main]

// Not a part of `checks`: `tests/corpus.rs` includes those, and Apex itself is not to depend on a parser in C.
#[path = "../checks/differential.rs"]
mod differential;

libfuzzer_sys::fuzz_target!(|data: &[u8]| differential::differential(data));
