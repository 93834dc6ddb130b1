//! Apex between a client and a backend that are both in the test's hands, beside other clients whose answers are checked all
//! the while. It counts Apex's descriptors before and behind each case.

use super::support::{Apex, SOON, Wire, echo, get, route};
use apex::echo::Server;
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use std::io::{ErrorKind, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// How long a write must be stuck to show that the path is full.
const STUCK: Duration = Duration::from_millis(50);

/// Times that each case is played against one Apex: what each leaves behind adds up.
const ROUNDS: usize = 2;

/// Pipes at rest that an exchange may leave to the next, two descriptors each.
const PIPES_AT_REST: usize = 4;

/// More than all sockets and pipes on the way hold.
pub const LARGE: usize = 64 << 20;

/// A whole request that is never sent twice.
pub const POST: &str = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi";

/// Brings a client into the state that a case is about.
pub type Reach<'a> = &'a dyn Fn(&mut Bench) -> Wire;

pub struct Bench {
    pub apex: Apex,
    listener: TcpListener,
    _origin: Server,
    other: Wire,
    sockets: usize,
    pipes: usize,
}

impl Bench {
    /// With more keys of `[server]`. `/other` goes to an origin that is well, everything else to the test.
    pub fn new(server: &str) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        // Accepting, too, has a deadline.
        set_socket_timeout(&listener, Timeout::Recv, Some(SOON)).unwrap();
        let origin = echo();
        let routes = [
            route("other", "path_prefix = \"/other\"", &[origin.local_addr()]),
            route("test", "", &[listener.local_addr().unwrap()]),
        ];
        let apex = Apex::with(&format!("backend_idle_timeout_secs = 600\n{server}"), &routes.concat());
        let mut other = apex.client();
        assert_eq!(other.ask(get("/other")).status(), 200);
        // A listener; the other client and its backend connection. Not the connection by which the start was awaited.
        apex.await_sockets(3, "before");
        let (sockets, pipes) = (apex.sockets(), apex.pipes());
        Self { apex, listener, _origin: origin, other, sockets, pipes }
    }

    /// Plays a case: what it says that the peers saw must be `expected`; others are served, and nothing stays behind.
    pub fn play(&mut self, case: &str, expected: &str, run: impl Fn(&mut Self) -> String) {
        for round in 0..ROUNDS {
            let seen = run(self);
            assert_eq!(seen, expected, "{case}, round {round}");
            self.serves_others(case);
            self.apex.await_sockets(self.sockets, case);
            let pipes = self.apex.pipes();
            assert!(pipes <= self.pipes + PIPES_AT_REST, "{case}: {pipes} descriptors of pipes");
        }
    }

    /// Another client, and a new one, are served while the case goes on. The one worker takes what came in its order: behind
    /// these answers it has dealt with all that was sent before.
    pub fn serves_others(&mut self, case: &str) {
        assert_eq!(self.other.ask(get("/other")).status(), 200, "{case}: another client");
        assert_eq!(self.apex.client().ask(get("/other")).status(), 200, "{case}: a new client");
    }

    /// A client that has sent this.
    pub fn client(&self, bytes: impl AsRef<[u8]>) -> Wire {
        let mut client = self.apex.client();
        client.send(bytes);
        client
    }

    /// The next connection that Apex makes to the backend.
    pub fn accept(&self) -> Wire {
        Wire::new(self.listener.accept().unwrap().0)
    }

    /// A client that has sent a request's front, and the backend's connection, which has it unread and has answered so far.
    pub fn under_way(&mut self, request: impl AsRef<[u8]>, response: impl AsRef<[u8]>) -> (Wire, Wire) {
        let client = self.client(request);
        let mut backend = self.accept();
        assert!(backend.has_more_within(SOON));
        backend.send(response);
        self.serves_others("under way");
        (client, backend)
    }
}

/// Writes until nothing more goes; gives how many octets of [`LARGE`] are left.
pub fn fill(wire: &Wire) -> usize {
    let block = vec![b'x'; 64 << 10];
    let (mut left, mut socket) = (LARGE, wire.socket());
    socket.set_write_timeout(Some(STUCK)).unwrap();
    loop {
        match socket.write(&block[..left.min(block.len())]) {
            Ok(0) => panic!("nothing is ever stuck"),
            Ok(count) => left -= count,
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => break,
            Err(error) => panic!("{left} octets left: {error}"),
        }
    }
    socket.set_write_timeout(Some(SOON)).unwrap();
    left
}

/// Writes so many octets more, in a thread of its own, then `end`, and closes.
pub fn pour(mut wire: Wire, left: usize, end: &'static str) -> JoinHandle<()> {
    thread::spawn(move || {
        wire.send(vec![b'x'; left]);
        wire.send(end);
    })
}

/// What the client is given, from the final response's head on: its status and how its content ends.
pub fn client_sees(client: &mut Wire) -> String {
    loop {
        match client.try_head() {
            None => return "an end".to_owned(),
            Some(head) if head.status() < 200 => {}
            Some(head) => return format!("{} {:?}", head.status(), client.behind(head).end),
        }
    }
}

/// What the backend is given: how the request ends, and that its connection does.
pub fn backend_sees(backend: &mut Wire) -> String {
    let Some(request) = backend.try_request() else { return "an end".to_owned() };
    backend.expect_end();
    format!("request {:?}, an end", request.end)
}
