//! A warm worker allocates nothing: the memory of a request is reused for the next. The counter covers this
//! whole process: the worker, the access log's thread, and a client that does not allocate either; the origin
//! is another process.
//!
//! `APEX_ALLOCATIONS_REQUESTS` (4,000) sets the number of requests.
#![allow(clippy::unwrap_used, reason = "a broken expectation ends a test")]

mod support;

use apex::config;
use apex::exchange::{AccessLog, RequestIds, Settings};
use apex::log::queue::SHORT_BATCHES_MAX;
use apex::log::writer::Writer;
use apex::metrics::Counters;
use apex::route::table::Table;
use apex::worker::{self, Bound, Epoch, ListenGroup, Ownership, Phase, Setup, Shared, Snapshot};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use std::alloc::System;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;
use support::process::{free_addr, until};
use support::{SOON, all, say, size};

#[global_allocator]
static COUNTED: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Connections of the client.
const CONNECTIONS: usize = 16;

/// Requests before the counting: pools fill, and buffers of the log grow to what a turn takes.
const WARM_REQUESTS: usize = 2_000;

/// The origin, a process of its own: what it asks of the allocator is none of ours.
struct Origin(Child);

impl Origin {
    fn start(at: SocketAddr) -> Self {
        let child = Command::new(env!("CARGO_BIN_EXE_echo-server"))
            .arg(at.port().to_string())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        until("the origin does not listen", || TcpStream::connect_timeout(&at, SOON).ok());
        Self(child)
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn published(origins: &[SocketAddr], access_log: AccessLog) -> Snapshot {
    let balanced = all(origins);
    let config = config::parse(&balanced, "apex.toml").unwrap();
    let server = config.server;
    Snapshot {
        table: Table::compile(&config.routes, None),
        settings: Settings {
            head: server.head,
            header_timeout: server.header_timeout,
            policy: server.policy(),
            via: server.via,
            request_ids: RequestIds::Made,
            access_log,
        },
        idle_timeout: server.idle_timeout,
        backend_idle_timeout: Duration::from_secs(60),
        trusted: Vec::new(),
        connections_max: 1000,
    }
}

/// A client that asks on all its connections at once and reads all answers, again and again.
struct Client {
    sockets: Vec<TcpStream>,
    request: Vec<u8>,
    /// Octets of an answer: they are all alike.
    answer_bytes: usize,
    room: Vec<u8>,
}

impl Client {
    fn connect(to: SocketAddr, request: String) -> Self {
        let connect = |_| {
            let socket = TcpStream::connect_timeout(&to, SOON).unwrap();
            socket.set_read_timeout(Some(SOON)).unwrap();
            socket.set_nodelay(true).unwrap();
            socket
        };
        let sockets: Vec<TcpStream> = (0..CONNECTIONS).map(connect).collect();
        let mut client =
            Self { sockets, request: request.into_bytes(), answer_bytes: 0, room: vec![0; 64 * 1024] };
        client.answer_bytes = client.measure();
        client
    }

    /// Asks once, and says how long the answer is, with `Content-Length`.
    fn measure(&mut self) -> usize {
        let socket = &mut self.sockets[0];
        socket.write_all(&self.request).unwrap();
        let mut answer = Vec::new();
        loop {
            let count = socket.read(&mut self.room).unwrap();
            assert_ne!(count, 0, "{:?}", String::from_utf8_lossy(&answer));
            answer.extend_from_slice(&self.room[..count]);
            let text = String::from_utf8_lossy(&answer);
            let Some((head, _)) = text.split_once("\r\n\r\n") else { continue };
            assert!(head.starts_with("HTTP/1.1 200 "), "{text}");
            let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: ")).unwrap();
            let whole = head.len() + 4 + length.parse::<usize>().unwrap();
            if answer.len() == whole {
                return whole;
            }
        }
    }

    /// So many requests or a few more. Nothing in here allocates.
    fn ask(&mut self, requests: usize) {
        for _ in 0..requests.div_ceil(CONNECTIONS) {
            for socket in &mut self.sockets {
                socket.write_all(&self.request).unwrap();
            }
            for socket in &mut self.sockets {
                let mut left = self.answer_bytes;
                while left > 0 {
                    let room = left.min(self.room.len());
                    let count = socket.read(&mut self.room[..room]).unwrap();
                    assert_ne!(count, 0, "a connection was closed");
                    left -= count;
                }
            }
        }
    }
}

/// Cases in turn, so that nothing else of this process is counted.
#[test]
fn a_warm_worker_allocates_nothing() {
    let ports = [free_addr(), free_addr()];
    let _origins = ports.map(Origin::start);
    let cases = [
        ("GET", "GET /x HTTP/1.1\r\nHost: test\r\n\r\n".to_owned()),
        ("GET of 1 KiB", "GET /bytes/1024 HTTP/1.1\r\nHost: test\r\nAccept: */*\r\n\r\n".to_owned()),
        ("GET of 256 KiB", "GET /bytes/262144 HTTP/1.1\r\nHost: test\r\n\r\n".to_owned()),
        ("POST", format!("POST /x HTTP/1.1\r\nHost: test\r\nContent-Length: 600\r\n\r\n{}", "x".repeat(600))),
        (
            "chunked POST",
            format!(
                "POST /x HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n258\r\n{}\r\n0\r\n\r\n",
                "x".repeat(600)
            ),
        ),
    ];
    for access_log in [AccessLog::Off, AccessLog::On] {
        for (name, request) in &cases {
            count(&ports, access_log, name, request);
        }
    }
}

fn count(origins: &[SocketAddr], access_log: AccessLog, name: &str, request: &str) {
    let socket = apex::net::listener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).unwrap();
    let address = socket.local_addr().unwrap();
    let log = Writer::spawn(io::sink(), io::sink()).unwrap();
    let shared = Arc::new(Shared::new(published(origins, access_log)));
    let setup = Setup {
        number: 0,
        listeners: vec![Bound {
            socket: socket.into(),
            group: Arc::new(ListenGroup::new(0, address.into(), Ownership::Exclusive)),
        }],
        shared: Arc::clone(&shared),
        counters: Arc::new(Counters::default()),
        lines: log.lines(),
        report: |words| panic!("{words}"),
    };
    let worker = worker::spawn(setup, Epoch::start(), || {}, |_| {}).unwrap();
    shared.set_phase(Phase::Serving);
    worker.wake();
    let mut client = Client::connect(address, request.to_owned());
    client.ask(WARM_REQUESTS);

    let requests = size("APEX_ALLOCATIONS_REQUESTS", 4_000);
    let region = Region::new(COUNTED);
    client.ask(requests);
    let counted = region.change();

    say(&format!("{name}, log {access_log:?}: {counted:?} over {requests} requests"));
    let calls = counted.allocations + counted.reallocations + counted.deallocations;
    let allowed = match access_log {
        // In a long run a slot of the timer wheel is used for the first time, now and then: a few in a million requests.
        AccessLog::Off => requests / 10_000,
        // Batches of lines are handed round between worker and writer. There are never more than these, but when the last of
        // them is first needed is up to the writer's naps.
        AccessLog::On => requests / 10_000 + SHORT_BATCHES_MAX,
    };
    assert!(calls <= allowed, "{name}, log {access_log:?}: {counted:?}");
    drop(client);
    shared.set_phase(Phase::Ending);
    worker.wake();
    worker.thread.join().unwrap();
    // What its thread frees as it ends is not to be counted in the next case.
    log.stop();
}
