//! A mixed load while the file changes twenty times a second, each time with other routes, backends and
//! addresses: no request fails, each is answered by a version that was in force during the request, and
//! nothing leaks.
//!
//! `APEX_CHURN_SECS` sets the duration of each case (default 4).
#![allow(
    missing_docs,
    unreachable_pub,
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::unwrap_used,
    reason = "tests measure and wait"
)]

#[path = "churn/backend.rs"]
mod backend;
#[path = "churn/clients.rs"]
mod clients;
#[path = "churn/history.rs"]
mod history;
#[path = "churn/peers.rs"]
mod peers;
#[path = "churn/plan.rs"]
mod plan;
#[allow(dead_code, reason = "`tests/real.rs` uses the rest")]
#[path = "real/support.rs"]
mod programs;
mod support;
#[path = "churn/wire.rs"]
mod wire;

use backend::Backends;
use clients::{KINDS, Tally};
use history::History;
use rustix::process::Signal;
use std::fs;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};
use support::process::free_addr;
use support::{Apex, say, size};

/// From one change of the file to the next.
const PAUSE: Duration = Duration::from_millis(50);

/// What clients and the one who changes the file share.
#[derive(Debug)]
pub struct World {
    /// The address that stays.
    pub main: SocketAddr,
    pub extras: Vec<SocketAddr>,
    /// More of `[server]`, the same in every version.
    keys: &'static str,
    pub history: History,
    pub backends: Backends,
    pub tally: Tally,
    pub stops: AtomicBool,
}

impl World {
    fn new(main: SocketAddr, keys: &'static str) -> Self {
        Self {
            main,
            keys,
            extras: (0..plan::EXTRAS).map(|_| free_addr()).collect(),
            history: History::default(),
            backends: Backends::default(),
            tally: Tally::default(),
            stops: AtomicBool::new(false),
        }
    }

    /// The addresses of version `v`.
    fn listen(&self, v: usize) -> Vec<SocketAddr> {
        let extras = self.extras.iter().enumerate().filter(|(index, _)| plan::listens(v, *index));
        std::iter::once(self.main).chain(extras.map(|(_, &addr)| addr)).collect()
    }

    /// The file of version `v`, its backends started.
    fn file(&self, v: usize) -> String {
        plan::file(v, &self.listen(v), self.keys, |number| self.backends.addr(number))
    }
}

/// How Apex is told of a new file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Told {
    BySignal,
    ByWatch,
}

impl Told {
    fn keys(self) -> &'static str {
        if self == Self::ByWatch { "watch = true" } else { "" }
    }
}

/// Writes the file anew, and waits until Apex says that it is in force.
fn put(apex: &Apex, text: &str, told: Told) {
    let before = apex.stderr.count();
    match told {
        Told::BySignal => {
            fs::write(apex.file(), text).unwrap();
            apex.signal(Signal::HUP);
        }
        Told::ByWatch => {
            // As editors do.
            let other = apex.file().with_extension("new");
            fs::write(&other, text).unwrap();
            fs::rename(&other, apex.file()).unwrap();
        }
    }
    let said = apex.stderr.find_behind(before, |line| line.contains("reloaded"));
    assert!(said.contains(": reloaded "), "{said}");
}

/// Puts the next version in place.
fn change(apex: &Apex, world: &World, told: Told) {
    let v = world.history.write();
    let text = world.file(v);
    put(apex, &text, told);
    world.history.told();
    world.backends.retire(|number| plan::last_version_of(number) < v);
}

/// What Apex holds.
#[derive(Debug)]
struct Held {
    resident_bytes: usize,
    /// All but those of pipes, of which each worker keeps some for the next large content.
    descriptors: usize,
    pipes: usize,
}

impl Held {
    fn by(apex: &Apex) -> Self {
        let pipes = apex.pipes();
        Self { resident_bytes: apex.resident_bytes(), descriptors: apex.descriptors() - pipes, pipes }
    }
}

/// Puts the last version in place, by which nothing of the load is left, and says what Apex holds then.
fn rest(apex: &Apex, world: &World, told: Told) -> Held {
    // Backends that no version had: what Apex holds to others it has to close.
    let v = world.history.write();
    let text = plan::file(v, &[world.main], world.keys, |number| world.backends.addr(number + 1_000_000));
    put(apex, &text, told);
    world.history.told();
    world.backends.retire(|number| number < 1_000_000);
    world.backends.await_left();
    // Two workers have a listener each.
    apex.await_sockets(2, "at rest");
    Held::by(apex)
}

/// Clients of all kinds for so long, while `change` is done again and again, no sooner than `PAUSE` after the last time.
/// Gives the number of changes.
fn play(world: &Arc<World>, length: Duration, mut change: impl FnMut()) -> u32 {
    world.stops.store(false, Ordering::Relaxed);
    let clients: Vec<_> = KINDS
        .iter()
        .flat_map(|&(kind, count)| (0..count).map(move |number| (kind, number)))
        .map(|(kind, number)| {
            let world = Arc::clone(world);
            thread::spawn(move || clients::run(&world, kind, kind as usize * 16 + number))
        })
        .collect();
    let began = Instant::now();
    let mut changes = 0;
    while began.elapsed() < length {
        let next = Instant::now() + PAUSE;
        change();
        changes += 1;
        thread::park_timeout(next.saturating_duration_since(Instant::now()));
    }
    world.stops.store(true, Ordering::Relaxed);
    for client in clients {
        client.join().unwrap();
    }
    changes
}

/// Resident memory that may be more behind a run than before: the allocator keeps what a peak took, in each of its arenas.
const KEPT_BYTES_MAX: usize = 8 << 20;

fn churn(told: Told) {
    let origin = support::echo();
    let apex = Apex::with("workers = 2\naccess_log = false", &support::all(&[origin.local_addr()]));
    let world = Arc::new(World::new(apex.addr(), told.keys()));
    change(&apex, &world, Told::BySignal);
    let length = Duration::from_secs(size("APEX_CHURN_SECS", 4) as u64);
    // A little of everything first, so that what is held before was held once.
    play(&world, Duration::from_millis(500), || change(&apex, &world, told));
    let before = rest(&apex, &world, told);
    change(&apex, &world, Told::BySignal);
    let began = Instant::now();
    let changes = play(&world, length, || {
        change(&apex, &world, told);
        let overdue = world.backends.overdue(Duration::from_secs(8));
        assert!(overdue.is_empty(), "connections to removed backends stay: {overdue:#?}");
    });
    let took = began.elapsed();
    let behind = rest(&apex, &world, told);
    say(&format!(
        "{told:?}: {changes} versions in {took:.1?}; {}\n    before {before:?}, behind {behind:?}",
        world.tally.words()
    ));
    let count = |count: &std::sync::atomic::AtomicUsize| count.load(Ordering::Relaxed);
    assert_eq!(
        [count(&world.tally.failed), count(&world.tally.misrouted), count(&world.tally.closed)],
        [0; 3]
    );
    for (kind, _) in KINDS {
        assert!(world.tally.of(kind) > 0, "no client of the kind {kind:?} was answered");
    }
    assert_eq!(behind.descriptors, before.descriptors);
    // No more than went through at a time, two descriptors each: contents of three clients, both ways of four tunnels.
    assert!(behind.pipes <= 2 * (3 + 2 * 4), "{behind:?}");
    assert!(behind.resident_bytes <= before.resident_bytes + KEPT_BYTES_MAX, "{behind:?}");
}

#[test]
fn nothing_fails_while_the_file_changes_by_signal() {
    churn(Told::BySignal);
}

#[test]
fn nothing_fails_while_the_file_changes_under_watch() {
    churn(Told::ByWatch);
}
