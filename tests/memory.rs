//! Memory after a peak: thousands of clients connect and leave, and seconds later the process is as small as
//! before, while other clients are served all the time.
//!
//! `APEX_MEMORY_CONNECTIONS` (default 2,000) sets the number of clients, a fifth of that where they read
//! slowly. `APEX_MEMORY_STAYS` (0) of them stay after the peak, and `APEX_MEMORY_LENIENT=1` only prints the
//! figures.
#![allow(
    missing_docs,
    unreachable_pub,
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::unwrap_used,
    reason = "tests measure and wait"
)]

#[path = "memory/crowd.rs"]
mod crowd;
mod support;

use crowd::Crowd;
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};
use support::{Apex, SOON, Wire, all, echo, get, raise_descriptor_limit, say, size};

/// What may be left of a peak: memory of those who are served, and what lies between; and for each client that was there its
/// entries in tables that shrink later.
const LEFT_BYTES_MAX: usize = 1_200_000;
const LEFT_EACH_BYTES_MAX: usize = 180;

/// How soon behind a peak no more than that is left.
const WAIT: Duration = Duration::from_secs(30);

/// Between two requests of those that are served all the time.
const PAUSE: Duration = Duration::from_millis(50);

/// One crowd at a time: descriptors and memory are the whole machine's.
static ONE: Mutex<()> = Mutex::new(());

/// How large a crowd comes.
fn crowd_size() -> usize {
    let wanted = size("APEX_MEMORY_CONNECTIONS", 2_000);
    let limit = raise_descriptor_limit(wanted * 3 / 2 + 1_024);
    let possible = limit.saturating_sub(1_024) * 2 / 3;
    if possible < wanted {
        say(&format!("NOTE: scaled down to {possible} connections: only {limit} descriptors are allowed"));
    }
    wanted.min(possible)
}

/// Those who are served all the time: one that stays connected, and one after the other that does not.
struct Light {
    kept: Vec<Wire>,
}

impl Light {
    fn serve(&mut self, apex: &Apex) {
        for wire in &mut self.kept {
            assert_eq!(wire.ask(get("/bytes/2000")).status(), 200);
        }
        assert_eq!(apex.client().ask(get("/bytes/2000")).status(), 200);
    }
}

/// A crowd comes twice, each of which sends `request`, holds it while others are served, and leaves.
fn peak(case: &str, count: usize, request: &str) {
    let (staying, is_lenient) = (size("APEX_MEMORY_STAYS", 0), size("APEX_MEMORY_LENIENT", 0) == 1);
    let _one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    let origin = echo();
    let server = format!(
        "access_log = false\nconnections_max = {}\nheader_timeout_secs = 600\ntimeout_secs = 600",
        count + 64
    );
    let apex = Apex::with(&server, &all(&[origin.local_addr()]));
    let mut light = Light { kept: vec![apex.client()] };
    for _ in 0..10 {
        light.serve(&apex);
    }
    let before = apex.resident_bytes();
    for round in 1..=2 {
        let sockets = apex.sockets();
        let mut crowd = Crowd::come(apex.addr(), count, request.as_bytes());
        let began = Instant::now();
        // One of those who were served before may have been open when they were counted.
        while apex.sockets() + 1 < sockets + count {
            assert!(began.elapsed() < SOON * 12, "the crowd is not there");
            light.serve(&apex);
        }
        // Who comes at the height of the peak is served behind it, too.
        light.kept.push(apex.client());
        for _ in 0..10 {
            light.serve(&apex);
            thread::sleep(PAUSE);
        }
        let held = apex.resident_bytes();
        crowd.leave_all_but(staying);
        let left = Instant::now();
        let (mut seconds, mut after) = (Vec::new(), usize::MAX);
        let mut reached = None;
        while left.elapsed() < WAIT && (is_lenient || reached.is_none()) {
            light.serve(&apex);
            thread::sleep(PAUSE);
            after = apex.resident_bytes();
            if after <= before + LEFT_BYTES_MAX + crowd_size() * LEFT_EACH_BYTES_MAX {
                reached.get_or_insert_with(|| left.elapsed());
            }
            if left.elapsed() > Duration::from_secs(seconds.len() as u64) {
                seconds.push(format!("{}.{}", after / 1_000_000, after / 100_000 % 10));
            }
        }
        say(&format!(
            "memory: {case}, {count} clients, peak {round}: {before} octets before, {held} with them, {after} behind them, \
             {staying} of them still there; small enough behind {reached:.1?}; MB each second {}",
            seconds.join(" ")
        ));
        assert!(is_lenient || reached.is_some(), "{case}: {} octets more than before", after - before);
    }
}

#[test]
fn half_heads_leave_nothing_behind() {
    let request = format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}", "x".repeat(1_000));
    peak("half heads", crowd_size(), &request);
}

#[test]
fn readers_that_do_not_read_leave_nothing_behind() {
    peak("slow readers", crowd_size() / 5, &get("/bytes/1048576"));
}

#[test]
fn readers_of_chunks_leave_nothing_behind() {
    peak("slow readers of chunks", crowd_size() / 5, &get("/chunked/1048576"));
}
