//! Thousands of slow heads on one worker: clients that send an octet now and then use no more than their
//! share of memory, delay no other client, get an answer at their timeout, and leave nothing behind.
//!
//! `APEX_LORIS_CONNECTIONS` (default 500) and `APEX_LORIS_SECS` (default 3) set the size. Each client sends
//! twenty octets in that time; if heads have a timeout, it is a sixth of that time.
#![allow(
    missing_docs,
    unreachable_pub,
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::unwrap_used,
    reason = "tests measure and wait"
)]

#[path = "loris/slow.rs"]
mod slow;
mod support;

use apex::echo::Server;
use slow::{Outcome, Slow};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};
use support::{Apex, SOON, all, echo, get, raise_descriptor_limit, say, size};

/// Memory that one slow head may cost: a buffer, an exchange, and the allocator's share.
const EACH_BYTES_MAX: usize = 20 * 1024;

/// Memory that comes with the first exchanges and stays.
const GROWTH_BYTES_MAX: usize = 8 << 20;

/// One crowd at a time: descriptors and timings are the whole machine's.
static ONE: Mutex<()> = Mutex::new(());

/// Requests that a normal client makes on one connection before it makes another.
const REQUESTS_EACH: usize = 50;

/// Held connections, and for how long.
fn sizes() -> (usize, Duration) {
    let wanted = size("APEX_LORIS_CONNECTIONS", 500);
    let limit = raise_descriptor_limit(wanted * 3 / 2 + 1_024);
    // Apex keeps a quarter of its descriptors, but 128 at least, for other things than clients.
    let possible = limit.saturating_sub(1_024) * 3 / 4;
    if possible < wanted {
        say(&format!("NOTE: scaled down to {possible} connections: only {limit} descriptors are allowed"));
    }
    (wanted.min(possible), Duration::from_secs(size("APEX_LORIS_SECS", 3) as u64))
}

/// How long a normal client's requests took, in order.
struct Latencies(Vec<Duration>);

impl Latencies {
    /// Asks without a pause; each request must succeed.
    fn of(apex: &Apex, span: Duration) -> Self {
        let (began, request) = (Instant::now(), get("/"));
        let mut all = Vec::new();
        while began.elapsed() < span {
            let mut client = apex.client();
            for _ in 0..REQUESTS_EACH {
                let asked = Instant::now();
                assert_eq!(client.ask(&request).status(), 200);
                all.push(asked.elapsed());
            }
        }
        all.sort_unstable();
        Self(all)
    }

    fn percentile(&self, percent: usize) -> Duration {
        self.0[(self.0.len() * percent / 100).min(self.0.len() - 1)]
    }

    fn say(&self, when: &str) {
        let max = self.0[self.0.len() - 1];
        say(&format!(
            "loris: normal requests {when}: {}, p50 {:?}, p99 {:?}, max {max:?}",
            self.0.len(),
            self.percentile(50),
            self.percentile(99)
        ));
    }
}

/// Starts Apex, measures a normal client without the crowd, with it, and behind it.
fn hold(server: &str, count: usize, span: Duration) -> Outcome {
    let origin: Server = echo();
    let server = format!("access_log = false\nconnections_max = {}\n{server}", count + 64);
    let apex = Apex::with(&server, &all(&[origin.local_addr()]));
    let without = Latencies::of(&apex, span / 4);
    without.say("before");
    let (sockets, before) = (apex.sockets(), apex.resident_bytes());

    let began = Instant::now();
    let slow = Slow::start(apex.addr(), count, span / 20);
    while !slow.are_there(count) {
        assert_eq!(apex.client().ask(get("/")).status(), 200);
        assert!(began.elapsed() < SOON * 6, "the slow clients do not connect");
    }
    say(&format!("loris: {count} slow heads begun in {:.1?}", began.elapsed()));
    let with = Latencies::of(&apex, span);
    with.say("with them");
    let held = apex.resident_bytes();
    let outcome = slow.leave();
    apex.await_sockets_at_most(sockets, "sockets of the slow clients are open");
    let behind = Latencies::of(&apex, span / 4);
    behind.say("behind them");
    let after = apex.resident_bytes();

    let mut waits = outcome.waits.clone();
    waits.sort_unstable();
    say(&format!(
        "loris: resident {before} before, {held} with them ({} each), {after} behind them; p50 {:.2} times, p99 {:.2} times; \
         answers {:?}, the first after {:?}, the last after {:?}",
        held.saturating_sub(before) / count,
        with.percentile(50).as_secs_f64() / without.percentile(50).as_secs_f64(),
        with.percentile(99).as_secs_f64() / without.percentile(99).as_secs_f64(),
        outcome.statuses,
        waits.first(),
        waits.last(),
    ));
    for (when, bytes) in [("with", held), ("behind", after)] {
        let growth = bytes.saturating_sub(before);
        assert!(growth <= count * EACH_BYTES_MAX + GROWTH_BYTES_MAX, "{growth} octets more {when} them");
    }
    outcome
}

#[test]
fn slow_heads_within_their_time_delay_nobody() {
    let _one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    let (count, span) = sizes();
    let outcome = hold("header_timeout_secs = 3600", count, span);
    assert!(outcome.statuses.is_empty(), "they had their time: {:?}", outcome.statuses);
}

#[test]
fn slow_heads_end_when_their_time_is_up() {
    let _one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    let (count, span) = sizes();
    let limit = span / 6;
    let outcome = hold(&format!("header_timeout_secs = {}", limit.as_secs_f64()), count, span);
    assert_eq!(outcome.statuses.keys().collect::<Vec<_>>(), [&408], "{:?}", outcome.statuses);
    assert!(outcome.statuses[&408] >= count, "not even once each: {:?}", outcome.statuses);
    for wait in outcome.waits {
        assert!(wait >= limit && wait < limit + SOON, "a head of {limit:?} ended after {wait:?}");
    }
}
