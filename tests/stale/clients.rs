//! Many keep-alive clients in one thread: each sends its next request as soon as the last one was answered.

use super::support::SOON;
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};
use std::collections::BTreeMap;
use std::io::{ErrorKind, Read, Write};
use std::net::SocketAddr;

/// What came of all requests.
#[derive(Debug, Default)]
pub struct Outcome {
    /// How many answers of each status.
    pub statuses: BTreeMap<u16, usize>,
    /// The targets of those that were not answered with 200.
    pub failed: Vec<String>,
    /// Answers that belong to another request, and connections that ended without one.
    pub wrong: Vec<String>,
}

struct Client {
    socket: TcpStream,
    target: String,
    bytes: Vec<u8>,
}

/// What a client found as it read.
enum Found {
    Incomplete,
    Answered,
    Ended,
}

/// Sends `count` requests over `clients` connections; `request` writes the one for a target. An answer of 200 must bring the
/// target as its content.
pub fn run(addr: SocketAddr, clients: usize, count: usize, request: impl Fn(&str) -> String) -> Outcome {
    let mut poll = Poll::new().unwrap();
    let mut events = Events::with_capacity(clients);
    let mut outcome = Outcome::default();
    let mut targets = (0..count).map(|number| format!("/{number}"));
    let mut all = Vec::new();
    for target in targets.by_ref().take(clients) {
        all.push(Some(Client::begin(&poll, Token(all.len()), addr, target, &request)));
    }
    let mut open = all.len();
    while open > 0 {
        poll.poll(&mut events, Some(SOON)).unwrap();
        assert!(!events.is_empty(), "nothing came for {SOON:?} while {open} clients wait: {outcome:?}");
        for event in &events {
            let Some(client) = &mut all[event.token().0] else { continue };
            let found = client.read(&mut outcome);
            let next = if matches!(found, Found::Incomplete) { None } else { targets.next() };
            match (found, next) {
                (Found::Incomplete, _) => {}
                (Found::Answered, Some(target)) => client.ask(target, &request),
                (Found::Ended, Some(target)) => {
                    *client = Client::begin(&poll, event.token(), addr, target, &request);
                }
                (_, None) => {
                    all[event.token().0] = None;
                    open -= 1;
                }
            }
        }
    }
    outcome
}

impl Client {
    fn begin(
        poll: &Poll,
        token: Token,
        addr: SocketAddr,
        target: String,
        request: impl Fn(&str) -> String,
    ) -> Self {
        let socket = std::net::TcpStream::connect_timeout(&addr, SOON).unwrap();
        socket.set_nodelay(true).unwrap();
        socket.set_nonblocking(true).unwrap();
        let mut socket = TcpStream::from_std(socket);
        poll.registry().register(&mut socket, token, Interest::READABLE).unwrap();
        let mut client = Self { socket, target: String::new(), bytes: Vec::new() };
        client.ask(target, request);
        client
    }

    fn ask(&mut self, target: String, request: impl Fn(&str) -> String) {
        // Where Apex has just closed, the read behind it tells.
        let _ = self.socket.write_all(request(&target).as_bytes());
        self.target = target;
    }

    fn read(&mut self, outcome: &mut Outcome) -> Found {
        loop {
            let mut room = [0; 4096];
            match self.socket.read(&mut room) {
                Ok(count) if count > 0 => self.bytes.extend_from_slice(&room[..count]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                end => {
                    outcome.wrong.push(format!("{}: no answer: {end:?}", self.target));
                    return Found::Ended;
                }
            }
        }
        let Some((status, content)) = self.take_answer() else { return Found::Incomplete };
        *outcome.statuses.entry(status).or_default() += 1;
        if status != 200 {
            outcome.failed.push(self.target.clone());
        } else if content != self.target {
            outcome.wrong.push(format!("{}: the answer to {content}", self.target));
        }
        if !self.bytes.is_empty() {
            outcome.wrong.push(format!("{}: more than an answer", self.target));
        }
        Found::Answered
    }

    /// Takes a whole answer off the front; gives its status and content.
    fn take_answer(&mut self) -> Option<(u16, String)> {
        let end = self.bytes.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
        let head = std::str::from_utf8(&self.bytes[..end]).unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: ")).unwrap();
        let whole = end + length.parse::<usize>().unwrap();
        let content = String::from_utf8(self.bytes.get(end..whole)?.to_owned()).unwrap();
        self.bytes.drain(..whole);
        Some((status, content))
    }
}
