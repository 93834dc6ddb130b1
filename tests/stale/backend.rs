//! A backend that promises to keep its connections and closes each one behind its first answer, a random moment later: what
//! every pool of connections meets in the end, here as often as possible. One thread for all of them.

use mio::event::Event;
use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token, Waker};
use std::collections::{BTreeSet, HashMap};
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

const LISTENER: Token = Token(0);
const WAKER: Token = Token(1);

/// The longest moment between an answer and the end of its connection.
const DELAY_MICROS_MAX: u64 = 3_000;

/// How a connection ends.
#[derive(Debug, Clone, Copy)]
pub enum Ending {
    /// Closed as it is: a request that has come meanwhile is answered by a reset.
    Abrupt,
    /// What has come is read and noted, and then the connection is closed.
    Late,
    /// Half-closed; what comes is read and noted to the end, and never answered.
    Half,
}

/// How often each request was seen, by its target.
pub type Seen = HashMap<String, u32>;

/// The backend, until [`Closing::stop`].
pub struct Closing {
    addr: SocketAddr,
    stops: Arc<AtomicBool>,
    waker: Waker,
    thread: JoinHandle<Seen>,
}

impl Closing {
    /// Its connections end by `endings` in turns.
    pub fn start(endings: &'static [Ending]) -> Self {
        let mut listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
        let addr = listener.local_addr().unwrap();
        let poll = Poll::new().unwrap();
        poll.registry().register(&mut listener, LISTENER, Interest::READABLE).unwrap();
        let waker = Waker::new(poll.registry(), WAKER).unwrap();
        let stops = Arc::new(AtomicBool::new(false));
        let stop = Arc::clone(&stops);
        let origin = Origin {
            poll,
            listener,
            endings,
            accepted: 0,
            connections: HashMap::new(),
            due: BTreeSet::new(),
            seen: Seen::new(),
            random: 0x9E37_79B9_7F4A_7C15,
        };
        let thread = thread::spawn(move || origin.run(&stop));
        Self { addr, stops, waker, thread }
    }

    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Ends it; gives what it saw.
    pub fn stop(self) -> Seen {
        self.stops.store(true, Ordering::Release);
        self.waker.wake().unwrap();
        self.thread.join().unwrap()
    }
}

/// Where a connection stands.
#[derive(Clone, Copy, PartialEq)]
enum Stage {
    /// Its first request is being read.
    Asked,
    /// It was answered and will end soon; nothing is read.
    Answered,
    /// It is half-closed and read to its end.
    Half,
}

struct Connection {
    socket: TcpStream,
    ending: Ending,
    stage: Stage,
    bytes: Vec<u8>,
}

struct Origin {
    poll: Poll,
    listener: TcpListener,
    endings: &'static [Ending],
    accepted: usize,
    connections: HashMap<usize, Connection>,
    /// Connections that were answered, by when they end.
    due: BTreeSet<(Instant, usize)>,
    seen: Seen,
    random: u64,
}

impl Origin {
    fn run(mut self, stops: &AtomicBool) -> Seen {
        let mut events = Events::with_capacity(256);
        while !stops.load(Ordering::Acquire) {
            let next = self.due.first().map(|(at, _)| at.saturating_duration_since(Instant::now()));
            self.poll.poll(&mut events, next).unwrap();
            for event in &events {
                self.tell(event);
            }
            let now = Instant::now();
            while let Some(&(at, number)) = self.due.first()
                && at <= now
            {
                self.due.pop_first();
                self.end(number);
            }
        }
        self.seen
    }

    fn tell(&mut self, event: &Event) {
        match event.token() {
            LISTENER => self.accept(),
            WAKER => {}
            Token(number) => self.serve(number),
        }
    }

    fn accept(&mut self) {
        while let Ok((mut socket, _)) = self.listener.accept() {
            socket.set_nodelay(true).unwrap();
            self.accepted += 1;
            let number = self.accepted + WAKER.0;
            self.poll.registry().register(&mut socket, Token(number), Interest::READABLE).unwrap();
            let ending = self.endings[self.accepted % self.endings.len()];
            let connection = Connection { socket, ending, stage: Stage::Asked, bytes: Vec::new() };
            self.connections.insert(number, connection);
            self.serve(number);
        }
    }

    /// Answers the first request of a connection. What comes behind it stays unread until the connection ends.
    fn serve(&mut self, number: usize) {
        let Some(connection) = self.connections.get_mut(&number) else { return };
        let goes_on = match connection.stage {
            Stage::Answered => return,
            Stage::Asked => connection.read(&mut self.seen, true),
            Stage::Half => connection.read(&mut self.seen, false),
        };
        if !goes_on {
            self.connections.remove(&number);
        } else if connection.stage == Stage::Answered {
            self.random ^= self.random << 13;
            self.random ^= self.random >> 7;
            self.random ^= self.random << 17;
            let delay = Duration::from_micros(self.random % (DELAY_MICROS_MAX + 1));
            self.due.insert((Instant::now() + delay, number));
        }
    }

    /// The moment of a connection's end has come.
    fn end(&mut self, number: usize) {
        let Some(connection) = self.connections.get_mut(&number) else { return };
        connection.stage = Stage::Half;
        let goes_on = match connection.ending {
            Ending::Abrupt => false,
            Ending::Late => {
                connection.read(&mut self.seen, false);
                false
            }
            Ending::Half => {
                // Where the peer has reset it already there is nothing to end.
                let _ = connection.socket.shutdown(Shutdown::Write);
                connection.read(&mut self.seen, false)
            }
        };
        if !goes_on {
            self.connections.remove(&number);
        }
    }
}

impl Connection {
    /// Reads what there is and notes the requests in it; the first one is answered where that is wanted, and then no more is
    /// read. False at the end of the connection.
    fn read(&mut self, seen: &mut Seen, answers: bool) -> bool {
        loop {
            while let Some(target) = self.take_request() {
                let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{target}", target.len());
                *seen.entry(target).or_default() += 1;
                if answers {
                    self.stage = Stage::Answered;
                    return self.socket.write_all(answer.as_bytes()).is_ok();
                }
            }
            let mut room = [0; 4096];
            match self.socket.read(&mut room) {
                Ok(count) if count > 0 => self.bytes.extend_from_slice(&room[..count]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return true,
                _ => return false,
            }
        }
    }

    /// Takes a request off the front; gives its target. The requests of these tests come in one piece.
    fn take_request(&mut self) -> Option<String> {
        let end = self.bytes.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
        let head = std::str::from_utf8(&self.bytes[..end]).unwrap();
        let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: "));
        let whole = end + length.map_or(0, |length| length.parse::<usize>().unwrap());
        let target = head.split(' ').nth(1).unwrap().to_owned();
        self.bytes.drain(..whole.min(self.bytes.len()));
        Some(target)
    }
}
