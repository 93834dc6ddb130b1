//! Peers that stay: one that takes nothing, one that gives an octet now and then, one that does not come to an end, one that
//! cannot be reached. Each exchange with them has an end, which the log names.

use super::CUT;
use super::bench::{Bench, LARGE, POST, backend_sees, client_sees, fill, pour};
use super::support::process::until;
use super::support::{Apex, SOON, Wire, all, get, ok};
use rustix::net::{AddressFamily, SocketFlags, SocketType};
use std::io::Read;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::sync::mpsc;
use std::time::{Duration, Instant};

/// The timeout of these exchanges, and how it is set.
const LIMIT: Duration = Duration::from_millis(500);
const LIMIT_KEY: &str = "timeout_secs = 0.5";

/// Between two octets of a peer that drips.
const DRIP: Duration = Duration::from_millis(50);

/// The cause that the last line of the log names, after `count` lines.
fn cause(bench: &Bench, about: &str, from: usize) -> String {
    let line = bench.apex.stdout.find_behind(from, |line| line.contains(about));
    let (_, cause) = line.split_once("cause=").unwrap();
    cause.to_owned()
}

/// Runs what must end by the timeout, and not before it.
fn in_time<T>(run: impl FnOnce() -> T) -> T {
    let began = Instant::now();
    let result = run();
    let took = began.elapsed();
    assert!(took >= LIMIT && took < LIMIT + SOON / 2, "{took:?}");
    result
}

#[test]
fn a_client_that_never_reads() {
    let mut bench = Bench::new(LIMIT_KEY);
    let front = format!("HTTP/1.1 200 OK\r\nContent-Length: {LARGE}\r\n\r\n");
    bench.play("a client that never reads", "an end, \"client_slow\"", |bench| {
        let from = bench.apex.stdout.all().len();
        let (_client, mut backend) = bench.under_way(POST, &front);
        backend.request();
        fill(&backend);
        bench.serves_others("a client that never reads");
        // As long as it is filled, something moves: the time begins somewhere within.
        backend.expect_end();
        format!("an end, {}", cause(bench, "\"POST / ", from))
    });
}

#[test]
fn a_backend_that_never_reads() {
    let mut bench = Bench::new(LIMIT_KEY);
    let front = format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {LARGE}\r\n\r\n");
    bench.play("a backend that never reads", "504 Whole; request Cut, an end", |bench| {
        let (mut client, mut backend) = bench.under_way(&front, "");
        fill(&client);
        bench.serves_others("a backend that never reads");
        let client = client_sees(&mut client);
        format!("{client}; {}", backend_sees(&mut backend))
    });
}

/// Sends octets of a part that has no end, one now and then, until the peer is answered or cut.
fn drip(from: &mut Wire, to: &Wire) {
    let began = Instant::now();
    while began.elapsed() < SOON && from.try_send("x") && !to.has_more_within(DRIP) {}
}

#[test]
fn a_head_that_drips_from_the_backend() {
    let mut bench = Bench::new(LIMIT_KEY);
    for (case, front) in [
        ("in the status line", "HTTP/1.1 200 O"),
        ("in a field", "HTTP/1.1 200 OK\r\nX: "),
        ("behind an interim response", "HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 200 OK\r\nX: "),
    ] {
        bench.play(case, "504 Whole", |bench| {
            in_time(|| {
                // A client of 1.0 is shown no interim response.
                let (mut client, mut backend) = bench.under_way("GET / HTTP/1.0\r\n\r\n", front);
                drip(&mut backend, &client);
                client_sees(&mut client)
            })
        });
    }
}

#[test]
fn a_head_that_does_not_end() {
    let mut bench = Bench::new("");
    for (case, front, more) in [
        ("a field", "HTTP/1.1 200 OK\r\nX: ", "v"),
        ("fields", "HTTP/1.1 200 OK\r\n", "X: v\r\n"),
        ("a status line", "HTTP/1.1 200 ", "O"),
    ] {
        bench.play(case, "502 Whole", |bench| {
            let (mut client, mut backend) = bench.under_way(POST, front);
            backend.request();
            let more = more.repeat(1000);
            while backend.try_send(&more) {}
            client_sees(&mut client)
        });
    }
}

#[test]
fn content_that_drips_from_the_client_has_its_time() {
    let mut bench = Bench::new(LIMIT_KEY);
    let front = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n";
    bench.play("content that drips", "408 Whole; request Cut, an end", |bench| {
        let (mut client, mut backend) = bench.under_way(front, "");
        let answered = client.socket().try_clone().unwrap();
        drip(&mut client, &Wire::new(answered));
        let client = client_sees(&mut client);
        format!("{client}; {}", backend_sees(&mut backend))
    });
}

/// An address at which nobody takes a connection: its queue is full, so that the kernel drops who asks.
struct Mute {
    addr: SocketAddr,
    _listener: OwnedFd,
    _queued: Vec<TcpStream>,
}

impl Mute {
    fn new() -> Self {
        let listener =
            rustix::net::socket_with(AddressFamily::INET, SocketType::STREAM, SocketFlags::CLOEXEC, None)
                .unwrap();
        rustix::net::bind(&listener, &SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).unwrap();
        rustix::net::listen(&listener, 0).unwrap();
        let addr = SocketAddr::try_from(rustix::net::getsockname(&listener).unwrap()).unwrap();
        let queued = std::iter::from_fn(|| TcpStream::connect_timeout(&addr, DRIP * 4).ok()).collect();
        Self { addr, _listener: listener, _queued: queued }
    }
}

#[test]
fn a_client_may_leave_while_its_backend_is_connected_to() {
    let mute = Mute::new();
    let apex = Apex::with("connect_timeout_secs = 0.5", &all(&[mute.addr]));
    let connecting = || {
        let mut client = apex.client();
        client.send(get("/"));
        until("it connects", || (apex.sockets() == 3).then_some(()));
        client
    };
    connecting().reset();
    apex.await_sockets(1, "connecting: the client resets");
    let line = apex.stdout.find(|line| line.contains("client_gone"));
    assert!(line.contains("\" 499 "), "{line}");
    // One that half-closes still waits for its answer.
    let mut client = connecting();
    client.finish();
    assert_eq!(client_sees(&mut client), "504 Whole");
    drop(client);
    apex.await_sockets(1, "connecting: the client half-closes");
}

#[test]
fn a_body_that_drips_from_the_backend_is_waited_for() {
    // Each next piece has the time anew: that is the contract, for streams live by it.
    let bench = &mut Bench::new(LIMIT_KEY);
    let (mut client, mut backend) = bench.under_way(POST, "HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\n");
    backend.request();
    assert_eq!(client.head().status(), 200);
    for _ in 0..20 {
        backend.send("x");
        assert_eq!(client.take(1), b"x");
        client.expect_silence(DRIP);
    }
    // The exchange has ended well, and its connection serves again.
    client.send(get("/"));
    backend.request();
    backend.send(ok("hi"));
    assert_eq!(client.response().text(), "hi");
}

#[test]
fn content_that_is_held_back_is_not_waited_for_by_both() {
    let mut bench = Bench::new(LIMIT_KEY);
    let front = "POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n";
    // The backend says nothing: it is the one that is waited for. It has asked for the content: now it is the client.
    for (case, asks, expected) in [
        ("a backend that does not ask", "", "504 Whole; request Cut, an end"),
        ("a client that was asked", "HTTP/1.1 100 Continue\r\n\r\n", "408 Whole; request Cut, an end"),
    ] {
        bench.play(case, expected, |bench| {
            let (mut client, mut backend) = in_time(|| {
                let (mut client, backend) = bench.under_way(front, asks);
                if !asks.is_empty() {
                    assert_eq!(client.head().status(), 100);
                }
                assert!(client.has_more_within(SOON));
                (client, backend)
            });
            let client = client_sees(&mut client);
            format!("{client}; {}", backend_sees(&mut backend))
        });
    }
}

/// How long a slow and steady peer is watched: far longer than a wait without movement may last.
const STEADILY: Duration = Duration::from_secs(3);

/// What it takes each [`DRIP`]: until a third of a send buffer of megabytes is free, several timeouts pass.
const A_SIP: usize = 16 << 10;

/// Takes a sip now and then for a while; how much that was.
fn sip(wire: &mut Wire, octets: usize) -> usize {
    let (began, mut taken) = (Instant::now(), 0);
    let (_held, never) = mpsc::channel::<()>();
    let mut room = vec![0; octets];
    while began.elapsed() < STEADILY {
        match wire.socket().read(&mut room) {
            Ok(count) if count > 0 => taken += count,
            _ => return taken,
        }
        let _ = never.recv_timeout(DRIP);
    }
    taken
}

#[test]
fn a_client_that_takes_octets_slowly_and_steadily_is_waited_for() {
    let mut bench = Bench::new(LIMIT_KEY);
    let (mut client, backend) =
        bench.under_way(POST, format!("HTTP/1.1 200 OK\r\nContent-Length: {LARGE}\r\n\r\n"));
    assert_eq!(client.head().field("Content-Length"), Some(LARGE.to_string().as_str()));
    let left = fill(&backend);
    let poured = pour(backend, left, "");
    let sipped = sip(&mut client, A_SIP);
    let mut rest = LARGE - sipped;
    while rest > 0 {
        let some = client.some().len();
        assert!(some > 0, "it was cut with {rest} octets to come, after {sipped}");
        rest -= some;
    }
    poured.join().unwrap();
    client.send(get("/other"));
    assert_eq!(client.response().status(), 200);
}

#[test]
fn a_backend_that_takes_octets_slowly_and_steadily_is_waited_for() {
    let mut bench = Bench::new(LIMIT_KEY);
    let front = format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {LARGE}\r\n\r\n");
    let (client, mut backend) = bench.under_way(&front, "");
    assert!(backend.head().start.starts_with("POST / "));
    let left = fill(&client);
    let mut answers = Wire::new(client.socket().try_clone().unwrap());
    let poured = pour(client, left, "");
    let sipped = sip(&mut backend, A_SIP);
    let mut rest = LARGE - sipped;
    while rest > 0 {
        let some = backend.some().len();
        assert!(some > 0, "it was cut with {rest} octets to come, after {sipped}");
        rest -= some;
    }
    backend.send(ok("hi"));
    assert_eq!(answers.response().text(), "hi");
    poured.join().unwrap();
}

#[test]
fn a_client_that_takes_next_to_nothing_is_cut() {
    let mut bench = Bench::new(LIMIT_KEY);
    let from = bench.apex.stdout.all().len();
    let front = format!("HTTP/1.1 200 OK\r\nContent-Length: {LARGE}\r\n\r\n");
    let (mut client, backend) = bench.under_way(POST, &front);
    fill(&backend);
    sip(&mut client, 1);
    assert_eq!(cause(&bench, "\"POST / ", from), "\"client_slow\"");
}

/// Far more than the sockets on the way hold, so that a client can send it all only if it is read.
const REFUSED: usize = 32 << 20;

#[test]
fn a_client_that_sends_all_of_its_request_first_gets_its_answer() {
    let mut bench = Bench::new("body_bytes_max = 1000");
    bench.play("refused", "413 Whole", |bench| {
        let front = format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {REFUSED}\r\n\r\n");
        let mut client = bench.client(front);
        client.send(vec![b'x'; REFUSED]);
        let seen = client_sees(&mut client);
        client.expect_end();
        seen
    });
    let mut bench = Bench::new("");
    bench.play("answered early", "200 Whole", |bench| {
        // More than is waited for behind an answer, so that the connection ends.
        let front = format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {REFUSED}\r\n\r\n");
        let (mut client, mut backend) = bench.under_way(front, ok("hi"));
        assert_eq!(backend_sees(&mut backend), CUT);
        client.send(vec![b'x'; REFUSED]);
        let seen = client_sees(&mut client);
        client.expect_end();
        seen
    });
}
