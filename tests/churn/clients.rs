//! Clients of every kind, one thread each, until they are told to stop. Each answer is judged by the version that gave it.

use super::World;
use super::backend::{OCTETS, chunked, large};
use super::plan::{self, CHANCE_ROUTES, EXTRAS};
use super::wire::{Head, Peer};
use std::fmt::Write as _;
use std::io;
use std::net::{Shutdown, SocketAddr};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// Messages of troubles that are kept.
const TOLD_MAX: usize = 20;

/// Of late versions fewer are told, so that they leave room for others.
const LATE_TOLD_MAX: usize = 5;

/// What a client does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// GETs over one connection for ever.
    KeepAlive,
    /// GETs, a connection each.
    Fresh,
    /// 1 MiB to the client, by length and chunked.
    Down,
    /// 1 MiB from the client, by length and chunked.
    Up,
    /// Small contents from the client.
    Post,
    /// An upgraded connection that outlives many versions.
    Tunnel,
    /// Some GETs by an address that comes and goes.
    Extra,
}

/// Every kind, and how many clients of it there are.
pub const KINDS: [(Kind, usize); 7] = [
    (Kind::KeepAlive, 2),
    (Kind::Fresh, 2),
    (Kind::Down, 1),
    (Kind::Up, 2),
    (Kind::Post, 1),
    (Kind::Tunnel, 4),
    (Kind::Extra, 3),
];

/// What came of it all.
#[derive(Debug, Default)]
pub struct Tally {
    /// Answers by kind; of tunnels, messages that came back.
    answered: [AtomicUsize; KINDS.len()],
    /// Requests without a right answer.
    pub failed: AtomicUsize,
    /// Answers that no version in force could have given.
    pub misrouted: AtomicUsize,
    /// Connections at rest that the proxy closed.
    pub closed: AtomicUsize,
    /// Connections refused by an address that was going, gone or coming.
    pub refused: AtomicUsize,
    /// How long the oldest version that answered was gone when the request was sent, microseconds.
    stalest_us: AtomicU64,
    told: Mutex<Vec<String>>,
}

/// What went wrong.
enum Trouble {
    Failed(String),
    Misrouted(String),
    /// By a version that was in force before the request was sent, so long before.
    Late(Duration),
}

fn no_answer() -> Trouble {
    Trouble::Failed(String::from("the connection ended instead of an answer"))
}

impl From<io::Error> for Trouble {
    fn from(error: io::Error) -> Self {
        Self::Failed(error.to_string())
    }
}

impl Tally {
    fn note(&self, kind: Kind, trouble: Trouble) {
        let is_late = matches!(trouble, Trouble::Late(_));
        let (count, words) = match trouble {
            Trouble::Failed(words) => (&self.failed, words),
            Trouble::Misrouted(words) => (&self.misrouted, words),
            Trouble::Late(by) => {
                let micros = u64::try_from(by.as_micros()).unwrap_or(u64::MAX);
                self.stalest_us.fetch_max(micros, Ordering::Relaxed);
                (&self.misrouted, format!("by a version that was gone {by:?} before the request was sent"))
            }
        };
        count.fetch_add(1, Ordering::Relaxed);
        let mut told = self.told.lock().unwrap();
        if told.len() < if is_late { LATE_TOLD_MAX } else { TOLD_MAX } {
            told.push(format!("{kind:?}: {words}"));
        }
    }

    /// Answers of all kinds.
    pub fn total(&self) -> usize {
        self.answered.iter().map(|count| count.load(Ordering::Relaxed)).sum()
    }

    /// Answers of that kind.
    pub fn of(&self, kind: Kind) -> usize {
        self.answered[kind as usize].load(Ordering::Relaxed)
    }

    /// How long a version was gone at most that answered all the same.
    pub fn stalest(&self) -> Duration {
        Duration::from_micros(self.stalest_us.load(Ordering::Relaxed))
    }

    /// All of it in words.
    pub fn words(&self) -> String {
        let mut words = String::new();
        for (kind, _) in KINDS {
            let _ = write!(words, "{kind:?} {}, ", self.of(kind));
        }
        let count = |count: &AtomicUsize| count.load(Ordering::Relaxed);
        let _ = write!(
            words,
            "failed {}, wrongly routed {}, closed at rest {}, refused while an address was away {}",
            count(&self.failed),
            count(&self.misrouted),
            count(&self.closed),
            count(&self.refused)
        );
        for line in self.told.lock().unwrap().iter() {
            let _ = write!(words, "\n    {line}");
        }
        words
    }
}

/// A client of that kind; `seed` tells those of a kind apart.
pub fn run(world: &World, kind: Kind, seed: usize) {
    let mut kept: Option<Peer> = None;
    let mut serial = seed;
    while !world.stops.load(Ordering::Relaxed) {
        serial += KINDS.len() * 16;
        let result = match kind {
            Kind::Tunnel => tunnel(world, serial),
            Kind::Extra => extra(world, serial),
            Kind::Fresh => fresh(world, world.main, serial),
            _ => keep(world, &mut kept, kind, serial),
        };
        if let Err(trouble) = result {
            kept = None;
            world.tally.note(kind, trouble);
        }
    }
}

/// A target that every version has, or one that some have.
fn some_target(serial: usize) -> String {
    let k = serial / 7 % (2 * CHANCE_ROUTES);
    if k < CHANCE_ROUTES { format!("/r{k}/{serial}") } else { format!("/w/{serial}") }
}

fn get(target: &str) -> Vec<u8> {
    format!("GET {target} HTTP/1.1\r\nHost: churn\r\n\r\n").into_bytes()
}

/// A request over a connection that is kept for the next one.
fn keep(world: &World, kept: &mut Option<Peer>, kind: Kind, serial: usize) -> Result<(), Trouble> {
    let quiet = kept.as_ref().map(Peer::is_quiet).transpose()?;
    if quiet == Some(false) {
        world.tally.closed.fetch_add(1, Ordering::Relaxed);
        *kept = None;
    }
    let sent = Instant::now();
    let mut peer = match kept.take() {
        Some(peer) => peer,
        None => Peer::connect(world.main)?,
    };
    let by_length = (serial / 5).is_multiple_of(2);
    let content = match kind {
        Kind::Up => large(),
        Kind::Post => &OCTETS[..serial % 3000],
        _ => &[],
    };
    let target = match kind {
        Kind::Down if by_length => String::from("/w/down"),
        Kind::Down => String::from("/w/chunked"),
        Kind::KeepAlive => some_target(serial),
        _ => format!("/w/{serial}"),
    };
    if content.is_empty() && kind != Kind::Post {
        peer.send(&get(&target))?;
    } else {
        let start = format!("POST {target} HTTP/1.1\r\nHost: churn\r\n");
        let framed = if by_length {
            let mut framed = format!("{start}Content-Length: {}\r\n\r\n", content.len()).into_bytes();
            framed.extend_from_slice(content);
            framed
        } else {
            let mut framed = format!("{start}Transfer-Encoding: chunked\r\n\r\n").into_bytes();
            framed.extend(chunked(content));
            framed
        };
        peer.send(&framed)?;
    }
    let goes_on = answer(world, &mut peer, kind, &target, content.len(), sent)?;
    if goes_on {
        *kept = Some(peer);
    }
    Ok(())
}

/// A request over a connection of its own.
fn fresh(world: &World, addr: SocketAddr, serial: usize) -> Result<(), Trouble> {
    let sent = Instant::now();
    let mut peer = Peer::connect(addr)?;
    let target = some_target(serial);
    peer.send(&get(&target))?;
    answer(world, &mut peer, Kind::Fresh, &target, 0, sent)?;
    Ok(())
}

/// Reads an answer and judges it; says whether the connection goes on.
fn answer(
    world: &World,
    peer: &mut Peer,
    kind: Kind,
    target: &str,
    octets: usize,
    sent: Instant,
) -> Result<bool, Trouble> {
    let head = peer.head()?.ok_or_else(no_answer)?;
    let content = peer.content(&head)?;
    judge(world, &head, target, sent)?;
    let is_right = match target {
        "/w/down" | "/w/chunked" => content == large(),
        _ => head.status() == 404 || content == format!("whole {octets}").as_bytes(),
    };
    if !is_right {
        return Err(Trouble::Failed(format!("{target}: wrong content, {} octets", content.len())));
    }
    world.tally.answered[kind as usize].fetch_add(1, Ordering::Relaxed);
    Ok(!head.field("Connection").is_some_and(|value| value.eq_ignore_ascii_case("close")))
}

/// Could a version that was in force since `sent` have given this answer?
fn judge(world: &World, head: &Head, target: &str, sent: Instant) -> Result<(), Trouble> {
    let status = head.status();
    if status == 404 {
        if world.history.any(sent, |v| plan::route_of(v, target).is_none()) {
            return Ok(());
        }
        return Err(Trouble::Misrouted(format!("{target}: 404, and every version in force has it")));
    }
    if ![200, 101].contains(&status) {
        return Err(Trouble::Failed(format!("{target}: {}", head.start)));
    }
    let (Some(version), Some(backend)) = (head.number("X-Version"), head.number("X-Backend")) else {
        return Err(Trouble::Failed(format!("{target}: an answer without a name")));
    };
    if !world.history.any(sent, |v| v == version) {
        let gone = world.history.gone_before(version, sent);
        let unknown =
            || Trouble::Misrouted(format!("{target}: by version {version}, which is not there yet"));
        return Err(gone.map_or_else(unknown, Trouble::Late));
    }
    let Some(route) = plan::route_of(version, target) else {
        return Err(Trouble::Misrouted(format!("{target}: version {version} has no such route")));
    };
    if !route.backends.iter().any(|&(number, _)| number == backend) {
        return Err(Trouble::Misrouted(format!(
            "{target}: version {version} does not name backend {backend}"
        )));
    }
    let wanted = if route.strips { &target[route.prefix.len()..] } else { target };
    match head.field("X-Target") {
        Some(seen) if seen == wanted => Ok(()),
        seen => Err(Trouble::Misrouted(format!("{target}: backend {backend} was asked for {seen:?}"))),
    }
}

/// Messages to and fro over an upgraded connection, for as long as some dozens of versions are in force.
fn tunnel(world: &World, serial: usize) -> Result<(), Trouble> {
    let (sent, target) = (Instant::now(), format!("/w/{serial}"));
    let mut peer = Peer::connect(world.main)?;
    let upgrade = "Connection: Upgrade\r\nUpgrade: echo\r\n";
    peer.send(format!("GET {target} HTTP/1.1\r\nHost: churn\r\n{upgrade}\r\n").as_bytes())?;
    let head = peer.head()?.ok_or_else(no_answer)?;
    judge(world, &head, &target, sent)?;
    if head.status() != 101 {
        return Err(Trouble::Failed(format!("no upgrade: {}", head.start)));
    }
    let life = Duration::from_millis(300 + (serial * 37 % 2200) as u64);
    for size in [5, 1_000, 60_000].into_iter().cycle() {
        let message = &OCTETS[serial % 251..][..size];
        peer.send(message)?;
        if peer.exactly(size)? != message {
            return Err(Trouble::Failed(String::from("another message came back")));
        }
        world.tally.answered[Kind::Tunnel as usize].fetch_add(1, Ordering::Relaxed);
        if sent.elapsed() > life || world.stops.load(Ordering::Relaxed) {
            break;
        }
        thread::park_timeout(Duration::from_millis(5));
    }
    peer.socket().shutdown(Shutdown::Write)?;
    if peer.some()?.is_empty() { Ok(()) } else { Err(Trouble::Failed(String::from("more came back"))) }
}

/// Requests over a connection by an address that comes and goes. It may be refused while a version without that address is in
/// force; once it is connected, it is served as any other.
fn extra(world: &World, serial: usize) -> Result<(), Trouble> {
    // Mostly one that is there, or was a moment ago.
    let last = world.history.last();
    let index = if serial.is_multiple_of(5) { serial / 5 % EXTRAS } else { last % EXTRAS };
    let began = Instant::now();
    let mut peer = match Peer::connect(world.extras[index]) {
        Ok(peer) => peer,
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            if world.history.any(began, |v| !plan::listens(v, index)) {
                world.tally.refused.fetch_add(1, Ordering::Relaxed);
                // Not to spin where nobody listens.
                thread::park_timeout(Duration::from_millis(5));
                return Ok(());
            }
            return Err(Trouble::Failed(String::from("refused, and every version in force listens there")));
        }
        Err(error) => {
            return Err(Trouble::Failed(format!(
                "extra address {index}, after {:?}: {error}",
                began.elapsed()
            )));
        }
    };
    let mut sent = began;
    for turn in 0..=serial % 40 {
        if turn > 0 {
            if !peer.is_quiet()? {
                world.tally.closed.fetch_add(1, Ordering::Relaxed);
                return Ok(());
            }
            sent = Instant::now();
        }
        let target = some_target(serial + turn);
        peer.send(&get(&target))?;
        if !answer(world, &mut peer, Kind::Extra, &target, 0, sent)? {
            return Ok(());
        }
    }
    Ok(())
}
