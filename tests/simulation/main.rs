//! A seeded simulation of both peers and the kernel around the state machine of an exchange, edge-triggered as epoll is.
//!
//! For every seed hold: order and truth of responses, conservation of octets, no lost wake-up, an end by the deadline, safe
//! replays, clean pooled connections, older octets first, no busy loop. `APEX_SEED=n` replays one seed, `APEX_SEEDS=n` sets how
//! many are tried.
#![allow(clippy::struct_excessive_bools, reason = "the independent facts of one peer, socket or plan")]

mod backend;
mod client;
mod connections;
mod front;
mod kernel;
mod random;
mod record;
mod script;
mod trace;
mod transcripts;
mod wire;
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind};
use world::World;

/// Seeds that a plain `cargo test` tries.
const SEEDS: u64 = 1_000;

/// Failures that are listed; of one of them the last steps are shown, and `APEX_SEED` replays it.
const SHOWN_MAX: usize = 20;

/// Characters of one failure that are shown: a whole exchange in it is long.
const WHAT_CHARS_MAX: usize = 1_500;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// Plays one seed; what went wrong, with the last steps.
fn play(seed: u64) -> Result<(), String> {
    let mut world = World::new(seed);
    let outcome = catch_unwind(AssertUnwindSafe(|| world.run()));
    let what = match outcome {
        Ok(Ok(())) => return Ok(()),
        Ok(Err(what)) => what,
        Err(panic) => match panic.downcast_ref::<String>() {
            Some(text) => format!("panic: {text}"),
            None => format!("panic: {:?}", panic.downcast_ref::<&str>()),
        },
    };
    let what: String = what.chars().take(WHAT_CHARS_MAX).collect();
    Err(format!("seed {seed} ({:?}): {what}\n{}", world.mood, world.trace))
}

#[test]
fn every_seed_holds_all_properties() {
    let (first, count) = match number("APEX_SEED") {
        Some(seed) => (seed, 1),
        None => (0, number("APEX_SEEDS").unwrap_or(SEEDS)),
    };
    let failures: Vec<_> = (first..first + count).filter_map(|seed| play(seed).err()).collect();
    if let Some(shown) = failures.iter().min_by_key(|what| what.len()) {
        let heads: Vec<_> = failures.iter().filter_map(|what| what.lines().next()).take(SHOWN_MAX).collect();
        panic!("{} of {count} seeds failed:\n{}\n\n{shown}", failures.len(), heads.join("\n"));
    }
}
