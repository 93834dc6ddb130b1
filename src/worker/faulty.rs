//! The kernel with injected faults, for tests of the worker.

use crate::base::{Address, Key, Tick};
use crate::net::pipe::Pipe;
use crate::net::system::{Event, Peer, Poll};
use crate::net::{Epoch, Kernel, Listener, Stream, System};
use std::collections::VecDeque;
use std::io;
use std::time::{Duration, SystemTime};

/// A read whose octets begin with this text panics.
pub(super) const PANICS: &[u8] = b"GET /panic";

#[derive(Debug)]
pub(super) struct Faulty {
    kernel: Kernel,
    /// The next polls are interrupted by a signal; each moves the clock forward by this time.
    pub(super) interruptions: VecDeque<Duration>,
    ahead: Duration,
    /// Errors (errno(3)) of the next accepts.
    pub(super) accept_errors: VecDeque<i32>,
    /// Registration of the next connections fails.
    pub(super) refuses_to_register: bool,
}

impl Faulty {
    pub(super) fn new() -> Self {
        Self {
            kernel: Kernel::new(Epoch::start()).unwrap().0,
            interruptions: VecDeque::new(),
            ahead: Duration::ZERO,
            accept_errors: VecDeque::new(),
            refuses_to_register: false,
        }
    }
}

impl System for Faulty {
    type Stream = Stream;
    type Listener = Listener;
    type Pipe = Pipe;

    fn poll(&mut self, events: &mut Vec<Event>, timeout: Option<Duration>) -> Poll {
        if let Some(ahead) = self.interruptions.pop_front() {
            events.clear();
            self.ahead += ahead;
            return Poll::Interrupted;
        }
        self.kernel.poll(events, timeout)
    }
    fn set_alarm(&mut self, pause: Duration) -> io::Result<()> {
        self.kernel.set_alarm(pause)
    }
    fn now(&mut self) -> Tick {
        self.kernel.now().after(self.ahead)
    }
    fn wall(&mut self) -> SystemTime {
        self.kernel.wall()
    }
    fn chance(&mut self) -> u64 {
        self.kernel.chance()
    }
    fn register(&mut self, stream: &mut Stream, key: Key) -> io::Result<()> {
        if self.refuses_to_register {
            return Err(io::Error::from_raw_os_error(libc::ENOSPC));
        }
        System::register(&mut self.kernel, stream, key)
    }
    fn listen(&mut self, listener: &mut Listener, key: Key) -> io::Result<()> {
        self.kernel.listen(listener, key)
    }
    fn forget_listener(&mut self, listener: &mut Listener) {
        self.kernel.forget_listener(listener);
    }
    fn begin_no_more(&mut self, listener: &mut Listener) -> io::Result<()> {
        self.kernel.begin_no_more(listener)
    }
    fn accept(&mut self, listener: &Listener) -> io::Result<(Stream, Peer)> {
        match self.accept_errors.pop_front() {
            Some(error) => Err(io::Error::from_raw_os_error(error)),
            None => self.kernel.accept(listener),
        }
    }
    fn connect(&mut self, address: &Address) -> io::Result<Stream> {
        self.kernel.connect(address)
    }
    fn is_out_of_resources(&self, error: &io::Error) -> bool {
        self.kernel.is_out_of_resources(error)
    }
    fn read(&mut self, stream: &Stream, bytes: &mut Vec<u8>) -> io::Result<usize> {
        let start = bytes.len();
        let result = self.kernel.read(stream, bytes);
        assert!(!bytes[start..].starts_with(PANICS), "a fault put in on purpose");
        result
    }
    fn write(&mut self, stream: &Stream, pieces: [&[u8]; 3], more: bool) -> io::Result<usize> {
        self.kernel.write(stream, pieces, more)
    }
    fn pipe(&mut self) -> io::Result<Pipe> {
        self.kernel.pipe()
    }
    fn held(&self, pipe: &Pipe) -> usize {
        self.kernel.held(pipe)
    }
    fn fill(&mut self, stream: &Stream, pipe: &mut Pipe, count_max: usize) -> io::Result<usize> {
        self.kernel.fill(stream, pipe, count_max)
    }
    fn drain(&mut self, stream: &Stream, pipe: &mut Pipe, count_max: usize) -> io::Result<usize> {
        self.kernel.drain(stream, pipe, count_max)
    }
    fn push(&mut self, stream: &Stream) {
        self.kernel.push(stream);
    }
    fn set_low_water(&mut self, stream: &Stream, octets: usize) -> io::Result<()> {
        self.kernel.set_low_water(stream, octets)
    }
    fn is_quiet(&mut self, stream: &Stream) -> bool {
        self.kernel.is_quiet(stream)
    }
    fn acknowledged(&mut self, stream: &Stream) -> Option<u64> {
        self.kernel.acknowledged(stream)
    }
    fn shut_down(&mut self, stream: &Stream) {
        self.kernel.shut_down(stream);
    }
    fn close_by_reset(&mut self, stream: Stream) {
        self.kernel.close_by_reset(stream);
    }
}

mod tests {
    use super::super::accept::tests::{bound, worker_on};
    use super::super::listen_group::{Mailbox, Ownership};
    use super::super::reactor::Worker;
    use super::super::shared::Phase;
    use super::*;
    use std::io::{Read, Write};
    use std::net::TcpStream;

    /// A serving worker and its address. Every request gets a 404.
    fn serving() -> (Worker<Faulty>, std::net::SocketAddr) {
        let first = bound(0, Ownership::Exclusive);
        let address = first.group.address.ip().unwrap();
        let worker = worker_on(Faulty::new(), first, Mailbox::default());
        worker.shared.set_phase(Phase::Serving);
        (worker, address)
    }

    fn client(address: std::net::SocketAddr, request: &[u8]) -> TcpStream {
        let mut client = TcpStream::connect(address).unwrap();
        client.write_all(request).unwrap();
        client.set_nonblocking(true).unwrap();
        client
    }

    /// Turns the worker until that client receives octets or the end: returns the first octets, or none.
    fn await_octets(worker: &mut Worker<Faulty>, client: &mut TcpStream) -> Vec<u8> {
        let mut octets = vec![0; 4096];
        for _ in 0..1000 {
            match client.read(&mut octets) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => worker.turn(),
                Err(_) => return Vec::new(),
                Ok(count) => {
                    octets.truncate(count);
                    return octets;
                }
            };
        }
        panic!("nothing comes of it");
    }

    #[test]
    fn a_panic_closes_the_client_that_was_served_and_no_other() {
        let (mut worker, address) = serving();
        let mut good = client(address, b"GET /one HTTP/1.1\r\nHost: a\r\n\r\n");
        assert!(await_octets(&mut worker, &mut good).starts_with(b"HTTP/1.1 404"));
        let mut bad = client(address, b"GET /panic HTTP/1.1\r\nHost: a\r\n\r\n");
        let mut other = client(address, b"GET /two HTTP/1.1\r\nHost: a\r\n\r\n");
        good.write_all(b"GET /three HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
        assert_eq!(await_octets(&mut worker, &mut bad), b"");
        for one in [&mut other, &mut good] {
            assert!(await_octets(&mut worker, one).starts_with(b"HTTP/1.1 404"));
        }
        assert_eq!((worker.clients.len(), worker.resources.counters.panics.get()), (2, 1));
        assert_eq!(worker.shared.connections.load(std::sync::atomic::Ordering::Relaxed), 2);
    }

    #[test]
    fn a_connection_that_failed_while_it_waited_pauses_nothing() {
        let (mut worker, address) = serving();
        let _client = client(address, b"");
        worker.resources.system.accept_errors.push_back(libc::ECONNABORTED);
        worker.accept_more();
        assert_eq!((worker.clients.len(), worker.listeners[0].paused), (1, false));
        // An error for lack of resources pauses the listener.
        worker.listeners[0].ready = true;
        worker.resources.system.accept_errors.push_back(libc::EMFILE);
        worker.resources.warned_at = Some(worker.resources.clock.now);
        worker.accept_more();
        assert!(worker.listeners[0].paused);
    }

    #[test]
    fn a_client_that_cannot_be_registered_is_closed_and_counted() {
        let (mut worker, address) = serving();
        let mut client = client(address, b"");
        worker.resources.system.refuses_to_register = true;
        worker.resources.warned_at = Some(worker.resources.clock.now);
        assert_eq!(await_octets(&mut worker, &mut client), b"");
        assert_eq!((worker.clients.len(), worker.resources.counters.connections_refused.get()), (0, 1));
    }

    #[test]
    fn what_came_while_the_process_was_stopped_is_served_and_not_timed_out() {
        let (mut worker, address) = serving();
        let mut slow = client(address, b"GET / HTTP/1.1\r\n");
        let mut gone = client(address, b"GET / HTTP/1.1\r\n");
        while worker.clients.len() < 2 {
            worker.turn();
        }
        worker.turn();
        // Stopped for longer than every timeout; meanwhile the rest of one request arrives.
        slow.write_all(b"Host: a\r\n\r\n").unwrap();
        worker.resources.system.interruptions.push_back(Duration::from_secs(60));
        assert!(await_octets(&mut worker, &mut slow).starts_with(b"HTTP/1.1 404"));
        assert!(await_octets(&mut worker, &mut gone).starts_with(b"HTTP/1.1 408"));
    }
}
