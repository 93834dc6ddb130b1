//! A seeded simulation of the whole worker, on a simulated kernel with everybody around it, edge-triggered as epoll is.
//!
//! For every seed hold: order and truth of responses, conservation of octets, no lost wake-up, an end by the deadline, safe
//! replays, clean pooled connections, bounds, no busy loop. `APEX_SEED=n` replays one seed, `APEX_SEEDS=n` sets how many
//! are tried, `APEX_FIRST=n` which is the first.

mod surroundings;
mod transcripts;
#[path = "../world/mod.rs"]
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use world::World;

/// Seeds that a plain `cargo test` tries.
const SEEDS: u64 = 1_000;

/// Failures that are listed; of one of them the last steps are shown, and `APEX_SEED` replays it.
const SHOWN_MAX: u64 = 20;

/// Characters of one failure that are shown: a whole exchange in it is long.
const WHAT_CHARS_MAX: usize = 1_500;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// Plays one seed; what went wrong, with the last steps.
fn play(seed: u64) -> Result<(), String> {
    let mut world = World::by_seed(seed);
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
    Err(format!("seed {seed}: {what}\n{}", world.told()))
}

/// Plays the seeds on all cores; what went wrong, in their order.
fn play_all(first: u64, count: u64) -> Vec<String> {
    let next = AtomicU64::new(first);
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let mut failures: Vec<(u64, String)> = std::thread::scope(|scope| {
        let play_some = || {
            let mut failures = Vec::new();
            loop {
                let seed = next.fetch_add(1, Ordering::Relaxed);
                if seed >= first + count {
                    return failures;
                }
                failures.extend(play(seed).err().map(|what| (seed, what)));
            }
        };
        let players: Vec<_> = (0..threads).map(|_| scope.spawn(play_some)).collect();
        players.into_iter().flat_map(|player| player.join().expect("failures are caught")).collect()
    });
    failures.sort();
    failures.into_iter().map(|(_, what)| what).collect()
}

#[test]
fn every_seed_holds_all_properties() {
    let (first, count) = match number("APEX_SEED") {
        Some(seed) => (seed, 1),
        None => (number("APEX_FIRST").unwrap_or(0), number("APEX_SEEDS").unwrap_or(SEEDS)),
    };
    let failures = play_all(first, count);
    if let Some(shown) = failures.iter().min_by_key(|what| what.len()) {
        let heads: Vec<_> = failures
            .iter()
            .filter_map(|what| what.lines().next())
            .take(number("APEX_SHOWN").unwrap_or(SHOWN_MAX).try_into().unwrap_or(usize::MAX))
            .collect();
        panic!("{} of {count} seeds failed:\n{}\n\n{shown}", failures.len(), heads.join("\n"));
    }
}
