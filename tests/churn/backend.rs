//! Backends that come and go. Each answer says which backend gave it, and which version of the file sent the request there.

use super::support::process::until;
use super::wire::{Head, Peer};
use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, Mutex};
use std::thread;
use std::time::{Duration, Instant};

/// A large content.
const LARGE: usize = 1 << 20;

/// All content is the beginning of this. It repeats at no power of two: a piece that is lost or moved shows.
pub static OCTETS: LazyLock<Vec<u8>> = LazyLock::new(|| (0..251_u8).cycle().take(LARGE + 12_345).collect());

/// How long a removed backend still takes connections: an exchange that was routed before may be about to connect.
const GRACE: Duration = Duration::from_secs(1);

/// A large content as it is sent.
pub fn large() -> &'static [u8] {
    &OCTETS[..LARGE]
}

#[derive(Debug, Default)]
struct Counts {
    /// Connections that are open and no tunnels.
    open: AtomicUsize,
    accepted: AtomicUsize,
    stops: AtomicBool,
}

/// A running backend.
#[derive(Debug)]
struct Backend {
    addr: SocketAddr,
    counts: Arc<Counts>,
}

/// Backends by number.
#[derive(Debug, Default)]
pub struct Backends {
    running: Mutex<BTreeMap<usize, Backend>>,
    retired: Mutex<Vec<(Instant, usize, Backend)>>,
}

impl Backends {
    /// Where that backend is; it is started if it was not.
    pub fn addr(&self, number: usize) -> SocketAddr {
        self.running.lock().unwrap().entry(number).or_insert_with(|| Backend::start(number)).addr
    }

    /// No version in force names these any more: the proxy has to close what it holds to them.
    pub fn retire(&self, is_gone: impl Fn(usize) -> bool) {
        let mut running = self.running.lock().unwrap();
        let gone: Vec<usize> = running.keys().copied().filter(|&number| is_gone(number)).collect();
        let mut retired = self.retired.lock().unwrap();
        for number in gone {
            retired.extend(running.remove(&number).map(|backend| (Instant::now(), number, backend)));
        }
        // Those that nobody is connected to have ended.
        retired.retain(|(since, _, backend)| since.elapsed() < GRACE || backend.open() > 0);
    }

    /// Removed backends to which connections are still open after `limit`.
    pub fn overdue(&self, limit: Duration) -> Vec<String> {
        let retired = self.retired.lock().unwrap();
        let late = retired.iter().filter(|(since, _, backend)| since.elapsed() > limit && backend.open() > 0);
        late.map(|(since, number, backend)| {
            format!("backend {number}, removed {:?} ago: {} connections", since.elapsed(), backend.open())
        })
        .collect()
    }

    /// Waits until nobody is connected to a removed backend.
    pub fn await_left(&self) {
        until("connections to removed backends stay", || {
            thread::park_timeout(Duration::from_millis(5));
            self.retire(|_| false);
            self.retired.lock().unwrap().iter().all(|(_, _, backend)| backend.open() == 0).then_some(())
        });
    }

    /// Connections that running backends have accepted.
    pub fn accepted(&self) -> usize {
        let running = self.running.lock().unwrap();
        running.values().map(|backend| backend.counts.accepted.load(Ordering::Relaxed)).sum()
    }
}

impl Backend {
    fn start(number: usize) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let (addr, counts) = (listener.local_addr().unwrap(), Arc::new(Counts::default()));
        let shared = Arc::clone(&counts);
        thread::spawn(move || {
            for socket in listener.incoming().map_while(Result::ok) {
                if shared.stops.load(Ordering::Acquire) {
                    return;
                }
                shared.accepted.fetch_add(1, Ordering::Relaxed);
                let open = Open::count(&shared);
                thread::spawn(move || Peer::new(socket).and_then(|peer| serve(number, peer, open)));
            }
        });
        Self { addr, counts }
    }

    fn open(&self) -> usize {
        self.counts.open.load(Ordering::Acquire)
    }
}

impl Drop for Backend {
    fn drop(&mut self) {
        self.counts.stops.store(true, Ordering::Release);
        // The thread that accepts is woken by a last connection; if that fails it goes with the process.
        let _ = TcpStream::connect(self.addr);
    }
}

/// One connection that is counted as open.
struct Open(Arc<Counts>);

impl Open {
    fn count(counts: &Arc<Counts>) -> Self {
        counts.open.fetch_add(1, Ordering::AcqRel);
        Self(Arc::clone(counts))
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Answers what comes until the proxy closes.
fn serve(number: usize, mut peer: Peer, open: Open) -> io::Result<()> {
    peer.socket().set_read_timeout(None)?;
    while let Some(head) = peer.head()? {
        let target = head.start.split(' ').nth(1).unwrap_or_default().to_owned();
        let names = format!(
            "X-Backend: {number}\r\nX-Version: {}\r\nX-Target: {target}\r\n",
            head.number("X-Version").or_else(|| version(&head)).map_or(String::from("?"), |v| v.to_string())
        );
        if head.field("Upgrade").is_some() {
            drop(open);
            let start = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n";
            peer.send(format!("{start}{names}\r\n").as_bytes())?;
            return echo(peer);
        }
        let content = peer.content(&head)?;
        let said = if OCTETS.starts_with(&content) {
            format!("whole {}", content.len())
        } else {
            String::from("broken")
        };
        let ok = format!("HTTP/1.1 200 OK\r\n{names}");
        match target.rsplit('/').next() {
            Some("down") => {
                peer.send(format!("{ok}Content-Length: {LARGE}\r\n\r\n").as_bytes())?;
                peer.send(large())?;
            }
            Some("chunked") => {
                peer.send(format!("{ok}Transfer-Encoding: chunked\r\n\r\n").as_bytes())?;
                peer.send(&chunked(large()))?;
            }
            _ => {
                let length = said.len();
                peer.send(format!("{ok}Content-Length: {length}\r\n\r\n{said}").as_bytes())?;
            }
        }
    }
    Ok(())
}

/// `Via: 1.1 v17`.
fn version(head: &Head) -> Option<usize> {
    head.field("Via")?.strip_prefix("1.1 v")?.parse().ok()
}

/// Content in chunks of many sizes.
pub fn chunked(mut content: &[u8]) -> Vec<u8> {
    let mut framed = Vec::with_capacity(content.len() + content.len() / 64);
    for octets in [1, 100, 5_000, 16_384, 70_000].into_iter().cycle() {
        let (chunk, rest) = content.split_at(content.len().min(octets));
        framed.extend(format!("{:x}\r\n", chunk.len()).into_bytes());
        framed.extend_from_slice(chunk);
        framed.extend_from_slice(b"\r\n");
        if chunk.is_empty() {
            break;
        }
        content = rest;
    }
    framed
}

/// Sends everything back until the other end has finished, and then ends as well.
fn echo(mut peer: Peer) -> io::Result<()> {
    loop {
        let octets = peer.some()?;
        if octets.is_empty() {
            return Ok(());
        }
        peer.send(&octets)?;
    }
}
