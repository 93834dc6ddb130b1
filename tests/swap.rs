//! A large table is swapped for another under load: the effect on requests, and the time until the last
//! worker uses the new table.
//!
//! `APEX_SWAP_ROUTES` (2,000), `APEX_SWAP_ROUNDS` (3) and `APEX_SWAP_MILLIS` (300: the duration of a window
//! without a reload) set the size. `APEX_SWAP_RATE` (4,000) is the number of requests a second; 0: as many as
//! possible. The figures are printed.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::unwrap_used,
    reason = "tests measure and wait"
)]

mod support;

use apex::echo::Server;
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};
use rustix::process::Signal;
use std::collections::VecDeque;
use std::fmt::Write as _;
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};
use support::{Apex, SOON, echo, say, size};

/// Connections that run all the while.
const CONNECTIONS: usize = 64;

/// Prefixes of each host of the table.
const PREFIXES: usize = 10;

/// How much the 99th percentile may grow, in the median round. On a quiet machine it grows by less than half; one that others
/// use at the same time has stalls of its own, so that no ratio holds on it. What is caught by this bound is a proxy that serves
/// nobody meanwhile.
const GROWS_MAX: Duration = Duration::from_millis(500);

/// One answer.
#[derive(Debug, Clone, Copy)]
struct Seen {
    asked: Instant,
    answered: Instant,
    /// The port of the backend that gave it.
    port: u16,
}

/// A connection that asks one thing at a time.
struct Client {
    socket: TcpStream,
    asked: Instant,
    answer: Vec<u8>,
}

/// Connections that ask for one route after the other until they are told to end.
struct Load {
    ends: Arc<AtomicBool>,
    thread: JoinHandle<Vec<Seen>>,
}

impl Load {
    fn start(to: SocketAddr, routes: usize, pause: Duration) -> Self {
        let ends = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&ends);
        Self { ends, thread: thread::spawn(move || run(to, routes, pause, &told)) }
    }

    fn end(self) -> Vec<Seen> {
        self.ends.store(true, Ordering::Relaxed);
        self.thread.join().unwrap()
    }
}

/// Asks every `pause`, or as soon as there is an answer where that is zero.
fn run(to: SocketAddr, routes: usize, pause: Duration, ends: &AtomicBool) -> Vec<Seen> {
    let mut poll = Poll::new().unwrap();
    let mut clients: Vec<_> = (0..CONNECTIONS)
        .map(|number| {
            let mut socket = TcpStream::from_std({
                let socket = std::net::TcpStream::connect_timeout(&to, SOON).unwrap();
                socket.set_nonblocking(true).unwrap();
                socket
            });
            poll.registry().register(&mut socket, Token(number), Interest::READABLE).unwrap();
            Client { socket, asked: Instant::now(), answer: Vec::new() }
        })
        .collect();
    let mut turn = 0;
    let mut ask = |client: &mut Client, asked: Instant| {
        turn += 1;
        let route = scattered(turn, routes);
        let (host, prefix) = place(route);
        client.asked = asked;
        client.answer.clear();
        // In one piece: of several, all but the first would wait for an acknowledgement.
        let request = format!("GET {prefix}/x HTTP/1.1\r\nHost: {host}\r\n\r\n");
        assert_eq!(client.socket.write(request.as_bytes()).unwrap(), request.len());
    };
    let mut free: VecDeque<usize> = (0..CONNECTIONS).collect();
    let (mut seen, mut events, mut room) = (Vec::new(), Events::with_capacity(CONNECTIONS), [0; 4096]);
    let mut due = Instant::now();
    while !ends.load(Ordering::Relaxed) {
        let now = Instant::now();
        while due <= now
            && let Some(number) = free.pop_front()
        {
            // What found no free connection when it was due has waited since then.
            ask(&mut clients[number], if pause.is_zero() { Instant::now() } else { due });
            due += pause;
        }
        poll.poll(&mut events, Some(if free.is_empty() { SOON } else { due - now })).unwrap();
        for event in &events {
            let client = &mut clients[event.token().0];
            let count = client.socket.read(&mut room).unwrap();
            assert_ne!(count, 0, "a connection was closed: {:?}", String::from_utf8_lossy(&client.answer));
            client.answer.extend_from_slice(&room[..count]);
            let Some(port) = port_of(&client.answer) else { continue };
            seen.push(Seen { asked: client.asked, answered: Instant::now(), port });
            free.push_back(event.token().0);
        }
    }
    seen
}

/// The port that a whole answer names; none as long as it is not whole.
fn port_of(answer: &[u8]) -> Option<u16> {
    let text = std::str::from_utf8(answer).unwrap();
    assert!("HTTP/1.1 200 ".starts_with(&text[..text.len().min(13)]), "{text}");
    let content = text.strip_suffix("/x\n")?.split("\r\n\r\nport ").nth(1)?;
    content.split(' ').next()?.parse().ok()
}

/// A number below `routes` in no order, the same in each run.
fn scattered(turn: usize, routes: usize) -> usize {
    turn.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_right(32) % routes
}

/// Host and prefix of a route.
fn place(route: usize) -> (String, String) {
    (format!("shop-{}.example.com", route / PREFIXES), format!("/api/v{}", route % PREFIXES))
}

/// A table whose routes all lead to that backend.
fn table(routes: usize, backend: &Server) -> String {
    let mut text = String::new();
    for route in 0..routes {
        let (host, prefix) = place(route);
        let addr = backend.local_addr();
        writeln!(
            text,
            "[[routes]]\nname = \"r{route}\"\nhost = \"{host}\"\npath_prefix = \"{prefix}\"\n\
             backends = [{{ url = \"http://{addr}\" }}]"
        )
        .unwrap();
    }
    text
}

/// Of the requests that were under way within a window: how many, what 99 of 100 of them took at most, and the longest.
fn slowest(seen: &[Seen], from: Instant, to: Instant) -> (usize, Duration, Duration) {
    let within = seen.iter().filter(|seen| seen.answered >= from && seen.asked <= to);
    let mut took: Vec<_> = within.map(|seen| seen.answered - seen.asked).collect();
    took.sort_unstable();
    assert!(took.len() >= 10, "hardly any request was made: {}", took.len());
    (took.len(), took[took.len() * 99 / 100], took[took.len() - 1])
}

/// One reload.
struct Round {
    calm: Instant,
    signal: Instant,
    told: Instant,
    /// When the window behind it was over, and with it what is done about the old table.
    over: Instant,
    /// The port of the backend that the new table leads to.
    new: u16,
}

impl Round {
    /// Says what was seen, and by how much the 99th percentile grew.
    fn judge(&self, routes: usize, seen: &[Seen]) -> Duration {
        let mine = || seen.iter().filter(|one| one.asked >= self.calm && one.asked <= self.over);
        // The last request that the old table routed came before the last worker took the new one.
        let last = mine().filter(|one| one.port != self.new).map(|one| one.asked).max().unwrap();
        assert!(last <= self.told, "the old table was in force {:?} after it was told", last - self.told);
        assert!(mine().any(|one| one.port == self.new));
        let (calm, p99_calm, max_calm) = slowest(seen, self.calm, self.signal);
        let (busy, p99_busy, max_busy) = slowest(seen, self.signal, self.over);
        let ratio = p99_busy.as_secs_f64() / p99_calm.as_secs_f64();
        say(&format!(
            "{routes} routes: the last worker had the new table {:.1?} after the signal, told after {:.1?}; before: {calm} \
             requests, p99 {p99_calm:.1?}, longest {max_calm:.1?}; meanwhile: {busy} requests, p99 {p99_busy:.1?}, longest \
             {max_busy:.1?}; ratio {ratio:.2}",
            last - self.signal,
            self.told - self.signal,
        ));
        p99_busy.saturating_sub(p99_calm)
    }
}

#[test]
fn a_large_table_is_swapped_and_hardly_anybody_notices() {
    let routes = size("APEX_SWAP_ROUTES", 2_000);
    let window = Duration::from_millis(size("APEX_SWAP_MILLIS", 300) as u64);
    let pause = match size("APEX_SWAP_RATE", 4_000) {
        0 => Duration::ZERO,
        rate => Duration::from_secs(1) / u32::try_from(rate).unwrap(),
    };
    let backends = [echo(), echo()];
    let tables = backends.each_ref().map(|backend| table(routes, backend));
    let ports = backends.each_ref().map(|backend| backend.local_addr().port());
    let keys = "workers = 2\naccess_log = false";
    let apex = Apex::with(keys, &tables[0]);
    let load = Load::start(apex.addr(), routes, pause);
    let rounds: Vec<_> = (1..=size("APEX_SWAP_ROUNDS", 3))
        .map(|round| {
            apex.rewrite(keys, &tables[round % 2]);
            let calm = Instant::now();
            thread::sleep(window);
            let before = apex.stderr.all().len();
            let signal = Instant::now();
            apex.signal(Signal::HUP);
            apex.stderr.find_behind(before, |line| line.contains(": reloaded "));
            let told = Instant::now();
            thread::sleep(window / 2);
            Round { calm, signal, told, over: Instant::now(), new: ports[round % 2] }
        })
        .collect();
    let seen = load.end();
    let mut grown: Vec<_> = rounds.iter().map(|round| round.judge(routes, &seen)).collect();
    grown.sort_unstable();
    assert!(grown[grown.len() / 2] <= GROWS_MAX, "{grown:?}");
}
