//! One case played: the client's side of it, and all that client and backend saw. It judges nothing.

use super::backend::{Backend, Log, PIECE_GAP};
use super::case::{Case, Framing, Step};
use super::message::{Ended, Found, Kind, Message, read};
use super::proxy::{self, Proxy};
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

/// A request that follows on the same connection, to see whether it persists and is in step.
const PROBE: &[u8] = b"GET /probe HTTP/1.1\r\nHost: probe\r\n\r\n";

/// A request on a connection of its own, to see whether the case did harm to others.
const OTHER: &[u8] = b"GET /other HTTP/1.1\r\nHost: other\r\nConnection: close\r\n\r\n";

/// What is said in a tunnel, and what comes back.
const PING: &[u8] = b"ping";

/// A proxy with its backend; plays one case at a time.
pub struct Lane {
    proxy: Proxy,
    backend: Backend,
    /// The longest wait for anything: generous for Apex, of which all that is expected comes; for others it may not.
    wait: Duration,
    kind: proxy::Kind,
}

/// All that was seen.
#[derive(Debug)]
pub struct Outcome {
    /// Final responses, each with the interim ones before it.
    pub answers: Vec<(Message, Vec<Message>)>,
    /// What came to the client that was no response, or not as it should be.
    pub broken: Option<String>,
    /// How the client connection stood at last; none: it was not looked at.
    pub ended: Option<Ended>,
    /// The answer to the request that followed on the same connection, where there was one.
    pub probe: Option<Message>,
    /// The answer to another client afterwards.
    pub other: Option<Message>,
    pub backend: Log,
}

impl Lane {
    pub fn new(kind: proxy::Kind) -> Self {
        let backend = Backend::start();
        let proxy = Proxy::start(kind, backend.addr());
        let wait =
            if kind == proxy::Kind::Apex { Duration::from_secs(3) } else { Duration::from_millis(700) };
        Self { proxy, backend, wait, kind }
    }

    pub fn backend_addr(&self) -> SocketAddr {
        self.backend.addr()
    }

    pub fn play(&mut self, case: &Case) -> Outcome {
        self.backend.begin(&case.replies);
        let mut client = Client::connect(self.proxy.addr(), self.wait, case.head);
        client.perform(case, &self.backend);
        let stays = case.apex.as_ref().and_then(|apex| apex.stays);
        let mut probe = None;
        let answered_well = client.answers.last().is_some_and(|(answer, _)| answer.status() < 400);
        // A stranger that forwards what Apex refuses shows by a further request whether it is still in step.
        if stays == Some(true) || (stays == Some(false) && answered_well && self.kind != proxy::Kind::Apex) {
            probe = client.probe();
        }
        let ended = stays.is_some().then(|| if probe.is_some() { Ended::Open } else { client.await_end() });
        let Client { answers, broken, .. } = client;
        let mut other = Client::connect(self.proxy.addr(), self.wait, false);
        other.send(OTHER);
        other.await_answers(1);
        let other = other.answers.pop().map(|(message, _)| message);
        Outcome { answers, broken, ended, probe, other, backend: self.backend.finish() }
    }
}

/// The client of one connection.
struct Client {
    socket: TcpStream,
    bytes: Vec<u8>,
    ended: Ended,
    answers: Vec<(Message, Vec<Message>)>,
    interim: Vec<Message>,
    broken: Option<String>,
    wait: Duration,
    to_head: bool,
}

impl Client {
    fn connect(addr: SocketAddr, wait: Duration, to_head: bool) -> Self {
        let socket = TcpStream::connect(addr).unwrap();
        socket.set_nodelay(true).unwrap();
        socket.set_write_timeout(Some(wait)).unwrap();
        Self {
            socket,
            bytes: Vec::new(),
            ended: Ended::Open,
            answers: Vec::new(),
            interim: Vec::new(),
            broken: None,
            wait,
            to_head,
        }
    }

    fn perform(&mut self, case: &Case, backend: &Backend) {
        let mut sent = false;
        for step in &case.client {
            match step {
                Step::Send(bytes) => {
                    if sent {
                        thread::sleep(PIECE_GAP);
                    }
                    self.send(bytes);
                    sent = true;
                }
                Step::HalfClose => drop(self.socket.shutdown(Shutdown::Write)),
                Step::AwaitBackend => backend.await_replies(self.wait),
                Step::Await => {
                    let before = self.count();
                    self.await_until(|client| client.count() > before);
                }
            }
        }
        self.await_answers(case.finals);
    }

    /// A peer that has closed already has said what it had to say.
    fn send(&mut self, bytes: &[u8]) {
        let _ = self.socket.write_all(bytes);
    }

    fn count(&self) -> usize {
        self.answers.len() + self.interim.len()
    }

    /// Waits for so many final responses; for none: for the end of the connection.
    fn await_answers(&mut self, count: usize) {
        if count == 0 {
            self.await_end();
        } else {
            self.await_until(|client| client.answers.len() >= count);
        }
    }

    fn await_end(&mut self) -> Ended {
        self.await_until(|client| client.ended != Ended::Open);
        self.ended
    }

    fn probe(&mut self) -> Option<Message> {
        let before = self.answers.len();
        self.to_head = false;
        self.send(PROBE);
        self.await_answers(before + 1);
        if self.answers.len() > before { self.answers.pop().map(|(message, _)| message) } else { None }
    }

    /// Reads until `is_done`, the end of the connection, or the end of patience.
    fn await_until(&mut self, is_done: impl Fn(&Self) -> bool) {
        let deadline = Instant::now() + self.wait;
        loop {
            self.take();
            let left = deadline.saturating_duration_since(Instant::now());
            if is_done(self) || self.ended != Ended::Open || self.broken.is_some() || left.is_zero() {
                return;
            }
            self.receive(left);
        }
    }

    fn receive(&mut self, left: Duration) {
        let mut piece = [0; 8 * 1024];
        self.socket.set_read_timeout(Some(left)).unwrap();
        match self.socket.read(&mut piece) {
            Ok(0) => self.ended = Ended::Closed,
            Ok(count) => self.bytes.extend_from_slice(&piece[..count]),
            Err(error) => match error.kind() {
                ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted => {}
                _ => self.ended = Ended::Reset,
            },
        }
        self.take();
    }

    /// Takes the responses that are whole, or all that will come of one.
    fn take(&mut self) {
        while !self.bytes.is_empty() && self.broken.is_none() {
            match read(&self.bytes, Kind::Response { to_head: self.to_head }, self.ended) {
                Found::More if self.ended == Ended::Open => return,
                Found::More => self.broken = Some("a head that was cut short".to_owned()),
                Found::Broken(why) => self.broken = Some(why),
                Found::Message(message, used) => {
                    self.bytes.drain(..used);
                    self.add(message);
                }
            }
        }
    }

    fn add(&mut self, mut message: Message) {
        if message.framing == Framing::Tunnel {
            // What is said in the tunnel stands for the content of the response that opened it.
            self.send(PING);
            let deadline = Instant::now() + self.wait;
            while self.bytes.len() < PING.len() && self.ended == Ended::Open && Instant::now() < deadline {
                let mut piece = [0; 1024];
                self.socket.set_read_timeout(Some(self.wait)).unwrap();
                match self.socket.read(&mut piece) {
                    Ok(0) | Err(_) => self.ended = Ended::Closed,
                    Ok(count) => self.bytes.extend_from_slice(&piece[..count]),
                }
            }
            message.content = std::mem::take(&mut self.bytes);
        }
        if (100..200).contains(&message.status()) && message.framing != Framing::Tunnel {
            self.interim.push(message);
        } else {
            self.answers.push((message, std::mem::take(&mut self.interim)));
        }
    }
}
