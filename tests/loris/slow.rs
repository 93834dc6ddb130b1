//! Clients by the thousand that send the head of a request an octet at a time and never come to its end. One thread for all.

use super::support::SOON;
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};
use rustix::net::{AddressFamily, SocketFlags, SocketType};
use std::collections::{BTreeMap, VecDeque};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// What each of them sends first, an octet at a time; a field's value follows that has no end.
const FRONT: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\nX: ";

/// Addresses that connections come from in turns, so that the ports of one do not run short.
const SOURCES: u8 = 8;

/// What came of them.
#[derive(Debug, Default)]
pub struct Outcome {
    /// How many answers of each status; 0: the connection ended without one.
    pub statuses: BTreeMap<u16, usize>,
    /// From the first octet to the answer.
    pub waits: Vec<Duration>,
}

/// Slow clients, as many at any time, until [`Slow::leave`].
pub struct Slow {
    stops: Arc<AtomicBool>,
    open: Arc<AtomicUsize>,
    thread: JoinHandle<Outcome>,
}

struct Client {
    socket: TcpStream,
    begun: Instant,
    sent: usize,
    /// Tells the clients of one place in the list apart, so that what is due for one does not reach the next.
    generation: usize,
}

struct Crowd {
    addr: SocketAddr,
    poll: Poll,
    clients: Vec<Client>,
    /// When which client sends its next octet, in order: all have the same pace.
    due: VecDeque<(Instant, usize, usize)>,
    pace: Duration,
    outcome: Outcome,
}

impl Slow {
    /// `count` clients, each of which sends an octet every `pace`. One that is answered is followed by another.
    pub fn start(addr: SocketAddr, count: usize, pace: Duration) -> Self {
        let (stops, open) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let (stop, opened) = (Arc::clone(&stops), Arc::clone(&open));
        let crowd = Crowd {
            addr,
            poll: Poll::new().unwrap(),
            clients: Vec::with_capacity(count),
            due: VecDeque::with_capacity(count),
            pace,
            outcome: Outcome::default(),
        };
        let thread = thread::spawn(move || crowd.run(count, &stop, &opened));
        Self { stops, open, thread }
    }

    /// Have all of them connected and sent their first octet?
    pub fn are_there(&self, count: usize) -> bool {
        assert!(!self.thread.is_finished(), "the slow clients ended");
        self.open.load(Ordering::Acquire) == count
    }

    /// All connections end.
    pub fn leave(self) -> Outcome {
        self.stops.store(true, Ordering::Release);
        self.thread.join().unwrap()
    }
}

impl Crowd {
    fn run(mut self, count: usize, stops: &AtomicBool, open: &AtomicUsize) -> Outcome {
        let mut events = Events::with_capacity(1024);
        while !stops.load(Ordering::Acquire) {
            if self.clients.len() < count {
                let client = self.client(self.clients.len(), 0);
                self.clients.push(client);
                open.store(self.clients.len(), Ordering::Release);
            }
            self.send_due();
            let next = self.due.front().map(|(at, ..)| at.saturating_duration_since(Instant::now()));
            // Looks at `stops` now and then.
            let wait = next.unwrap_or(self.pace).min(Duration::from_millis(20));
            let wait = if self.clients.len() < count { Duration::ZERO } else { wait };
            self.poll.poll(&mut events, Some(wait)).unwrap();
            for event in &events {
                self.hear(event.token().0);
            }
        }
        self.outcome
    }

    /// A client that has connected and sends its first octet now.
    fn client(&mut self, number: usize, generation: usize) -> Client {
        let source = Ipv4Addr::new(127, 0, 0, 2 + u8::try_from(number % usize::from(SOURCES)).unwrap());
        let socket =
            rustix::net::socket_with(AddressFamily::INET, SocketType::STREAM, SocketFlags::CLOEXEC, None)
                .unwrap();
        rustix::net::bind(&socket, &SocketAddr::from((source, 0))).unwrap();
        let socket = std::net::TcpStream::from(socket);
        socket.set_write_timeout(Some(SOON)).unwrap();
        rustix::net::connect(&socket, &self.addr).unwrap();
        socket.set_nodelay(true).unwrap();
        socket.set_nonblocking(true).unwrap();
        let mut socket = TcpStream::from_std(socket);
        self.poll.registry().register(&mut socket, Token(number), Interest::READABLE).unwrap();
        let begun = Instant::now();
        socket.write_all(&FRONT[..1]).unwrap();
        self.due.push_back((begun + self.pace, number, generation));
        Client { socket, begun, sent: 1, generation }
    }

    fn send_due(&mut self) {
        let now = Instant::now();
        while let Some(&(at, number, generation)) = self.due.front()
            && at <= now
        {
            self.due.pop_front();
            let client = &mut self.clients[number];
            if client.generation != generation {
                continue;
            }
            let octet = FRONT.get(client.sent).copied().unwrap_or(b'x');
            client.sent += 1;
            // Where the connection has ended meanwhile, an event tells.
            let _ = client.socket.write_all(&[octet]);
            self.due.push_back((now + self.pace, number, generation));
        }
    }

    /// A client was answered, or its connection ended; another takes its place.
    fn hear(&mut self, number: usize) {
        let client = &mut self.clients[number];
        let mut answer = [0; 1024];
        let count = match client.socket.read(&mut answer) {
            Ok(count) => count,
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return,
            Err(_) => 0,
        };
        let status = std::str::from_utf8(&answer[..count]).ok().and_then(|text| text.split(' ').nth(1));
        let status = status.and_then(|status| status.parse().ok()).unwrap_or(0);
        *self.outcome.statuses.entry(status).or_default() += 1;
        self.outcome.waits.push(client.begun.elapsed());
        let generation = client.generation + 1;
        self.clients[number] = self.client(number, generation);
    }
}
