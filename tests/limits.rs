//! The named limits, each with the last accepted and the first refused case. Those that one message shows are
//! cases of `tests/conformance/cases/limits.rs`; this file has those of routes, time, connections and
//! descriptors, and limits that are no settings.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::unwrap_used,
    reason = "tests measure and wait"
)]

mod support;

use std::io::{ErrorKind, Write};
use std::sync::Mutex;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};
use support::process::until;
use support::{Apex, Backend, End, SOON, Wire, all, echo, get, ok, route};

/// Long enough for what would come to come, where nothing may.
const A_WHILE: Duration = Duration::from_millis(200);

/// Clients over `connections_max` that are told so at a time.
const SURPLUS_MAX: usize = 64;

/// Asks with `fits`, which must be answered by the backend, and with `exceeds`, which must be refused.
fn expect_edge(apex: &Apex, case: &str, fits: &str, status: u16, exceeds: &str) {
    let answer = apex.client().ask(fits);
    assert_eq!((answer.status(), answer.end), (200, End::Whole), "{case}: at the limit");
    let mut client = apex.client();
    let answer = client.ask(exceeds);
    assert_eq!((answer.status(), answer.end), (status, End::Whole), "{case}: past it");
    assert_eq!(answer.field("Connection"), Some("close"), "{case}: past it");
    client.expect_end();
}

#[test]
fn content_of_a_route_and_of_the_rest() {
    let origin = echo();
    let addr = [origin.local_addr()];
    let routes = [
        route("more", "path_prefix = \"/upload/more\"\nbody_bytes_max = 20", &addr),
        route("less", "path_prefix = \"/upload/less\"\nbody_bytes_max = 5", &addr),
        route("rest", "", &addr),
    ];
    let apex = Apex::with("body_bytes_max = 10", &routes.concat());
    for (target, octets) in [("/upload", 10), ("/upload/more", 20), ("/upload/less", 5)] {
        let known = |octets: usize| {
            let content = "b".repeat(octets);
            format!("POST {target} HTTP/1.1\r\nHost: a\r\nContent-Length: {octets}\r\n\r\n{content}")
        };
        let chunked = |octets: usize| {
            // The last octet comes in a chunk of its own.
            let content = format!("{:x}\r\n{}\r\n1\r\nb\r\n0\r\n\r\n", octets - 1, "b".repeat(octets - 1));
            format!("POST {target} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{content}")
        };
        expect_edge(&apex, target, &known(octets), 413, &known(octets + 1));
        expect_edge(&apex, target, &chunked(octets), 413, &chunked(octets + 1));
    }
}

#[test]
fn time_of_a_route_and_of_the_rest() {
    let (held, asked, release) = Backend::held();
    let addr = [held.addr()];
    let routes =
        [route("short", "path_prefix = \"/short\"\ntimeout_secs = 0.2", &addr), route("rest", "", &addr)];
    let apex = Apex::start(&routes.concat());
    let mut rest = apex.client();
    rest.send(get("/rest"));
    asked.recv_timeout(SOON).unwrap();
    // The later one has the shorter time.
    let answer = apex.client().ask(get("/short"));
    assert_eq!(
        (answer.status(), answer.text()),
        (504, "504 Gateway Timeout: the backend did not answer in time\n")
    );
    release.send(()).unwrap();
    assert_eq!(rest.response().text(), "held");
}

#[test]
fn what_no_setting_moves() {
    let origin = echo();
    let apex = Apex::start(&all(&[origin.local_addr()]));
    let method = |octets: usize| format!("{} / HTTP/1.1\r\nHost: a\r\n\r\n", "M".repeat(octets));
    expect_edge(&apex, "method", &method(32), 400, &method(33));
    let empty = |lines: usize| format!("{}GET / HTTP/1.1\r\nHost: a\r\n\r\n", "\r\n".repeat(lines));
    expect_edge(&apex, "empty lines", &empty(4), 400, &empty(5));
    let front = "POST /upload HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
    let line = |octets: usize| format!("{front}1;{}\r\nb\r\n0\r\n\r\n", "e".repeat(octets - 2));
    expect_edge(&apex, "size line", &line(1024), 400, &line(1025));
    // Of each size line, what goes beyond twice its content counts: 16 times 1022 octets, and the rest of 16 KiB.
    let chunk = |octets: usize| format!("1;{}\r\nb\r\n", "e".repeat(octets - 2));
    let lines = |last: usize| format!("{front}{}{}0\r\n\r\n", chunk(1024).repeat(16), chunk(last + 2));
    expect_edge(&apex, "size lines in total", &lines(32), 400, &lines(33));
    let trailers = |count: usize| format!("{front}1\r\nb\r\n0\r\n{}\r\n", "T: u\r\n".repeat(count));
    expect_edge(&apex, "trailers", &trailers(128), 431, &trailers(129));
}

#[test]
fn a_head_has_its_time_and_no_more() {
    let limit = Duration::from_millis(800);
    let origin = echo();
    let apex = Apex::with("header_timeout_secs = 0.8", &all(&[origin.local_addr()]));
    // The time counts from the first octet, not from the connection or the last answer.
    let mut client = apex.client();
    for _ in 0..3 {
        client.expect_silence(limit / 2);
        client.send("GET / HTTP/1.1\r\n");
        client.expect_silence(limit / 4);
        assert_eq!(client.ask("Host: a\r\n\r\n").status(), 200);
    }
    let began = Instant::now();
    client.send("GET / HTTP/1.1\r\nHost: a\r\n");
    assert_eq!(client.response().status(), 408);
    let took = began.elapsed();
    assert!(took >= limit && took < limit + SOON / 2, "{took:?}");
}

#[test]
fn a_client_rests_its_time_and_no_more() {
    let limit = Duration::from_millis(800);
    let origin = echo();
    let apex = Apex::with("idle_timeout_secs = 0.8", &all(&[origin.local_addr()]));
    let (mut fresh, mut used) = (apex.client(), apex.client());
    for _ in 0..3 {
        // Each answer begins the time anew.
        used.expect_silence(limit / 2);
        assert_eq!(used.ask(get("/")).status(), 200);
    }
    let began = Instant::now();
    used.expect_end();
    let took = began.elapsed();
    assert!(took >= limit * 9 / 10 && took < limit + SOON / 2, "{took:?}");
    fresh.expect_end();
}

#[test]
fn empty_lines_begin_no_new_rest_and_are_counted_over_rests() {
    let limit = Duration::from_millis(800);
    let origin = echo();
    let apex = Apex::with("idle_timeout_secs = 0.8", &all(&[origin.local_addr()]));
    let mut resting = apex.client();
    let began = Instant::now();
    for _ in 0..4 {
        resting.send("\r\n");
        resting.expect_silence(limit / 5);
    }
    resting.expect_end();
    let took = began.elapsed();
    assert!(took >= limit * 9 / 10 && took < limit + SOON / 2, "{took:?}");
    // The one worker has seen what was sent before, behind the answer to another client.
    let (mut counted, mut other) = (apex.client(), apex.client());
    for lines in ["\r\n", "\r\n\r\n", "\r\n"] {
        counted.send(lines);
        assert_eq!(other.ask(get("/")).status(), 200);
    }
    assert_eq!(counted.ask(get("/")).status(), 200);
    // A request begins the count anew.
    for lines in ["\r\n\r\n", "\r\n\r\n", "\r\n"] {
        counted.send(lines);
        assert_eq!(other.ask(get("/")).status(), 200);
    }
    let answer = counted.response();
    assert_eq!(answer.text(), "400 Bad Request: too many empty lines before the request\n");
}

#[test]
fn a_backend_connection_rests_its_time_and_no_more() {
    let limit = Duration::from_millis(800);
    let (tell, told) = mpsc::channel();
    let backend = Backend::start(move |_, mut wire| {
        while wire.try_request().is_some() && wire.try_send(ok("hi")) {
            tell.send(Instant::now()).unwrap();
        }
        tell.send(Instant::now()).unwrap();
    });
    let apex = Apex::with("backend_idle_timeout_secs = 0.8", &all(&[backend.addr()]));
    let mut client = apex.client();
    for _ in 0..3 {
        assert_eq!(client.ask(get("/")).text(), "hi");
        client.expect_silence(limit / 2);
    }
    assert_eq!(backend.accepted(), 1, "within its time it is used again");
    let times: Vec<_> = (0..4).map(|_| told.recv_timeout(SOON).unwrap()).collect();
    let rested = times[3] - times[2];
    assert!(rested >= limit * 9 / 10 && rested < limit + SOON / 2, "{rested:?}");
    assert_eq!(client.ask(get("/")).text(), "hi");
    assert_eq!(backend.accepted(), 2);
}

/// Waits until no client is counted, not even the connection by which the start was awaited.
fn await_nobody(apex: &Apex) {
    // It was accepted before this one, which Apex answers by itself.
    let last_hop = "OPTIONS * HTTP/1.1\r\nHost: a\r\nMax-Forwards: 0\r\n\r\n";
    assert_eq!(apex.client().ask(last_hop).status(), 200);
    apex.await_sockets(1, "nobody but the listener");
}

#[test]
fn clients_beyond_those_that_are_told_wait() {
    const ALLOWED: usize = 4;
    let origin = echo();
    let apex = Apex::with(&format!("connections_max = {ALLOWED}"), &all(&[origin.local_addr()]));
    await_nobody(&apex);
    let mut allowed: Vec<_> = (0..ALLOWED).map(|_| apex.client()).collect();
    for client in &mut allowed {
        assert_eq!(client.ask(get("/")).status(), 200);
    }
    // Those over the limit are accepted to be told so; they do not ask, and so they stay for a second.
    let surplus: Vec<_> = (0..SURPLUS_MAX).map(|_| apex.client()).collect();
    let mut waiting = apex.client();
    waiting.send(get("/"));
    let said = apex.stderr.find(|line| line.contains("not accepting for a moment"));
    assert!(said.contains("the limit of client connections is reached"), "{said}");
    // Those that are there go on.
    for client in &mut allowed {
        assert_eq!(client.ask(get("/")).status(), 200);
    }
    // It is accepted as soon as others are gone, and only then told that there is no room for it.
    let answer = waiting.response();
    assert_eq!((answer.status(), answer.field("Connection")), (503, Some("close")));
    drop(surplus);
    drop(allowed);
    until("room", || (apex.client().ask(get("/")).status() == 200).then_some(()));
}

#[test]
fn one_of_many_pipelined_requests_is_under_way() {
    let (tell, told) = mpsc::channel();
    let (go, wait) = mpsc::channel::<()>();
    let wait = Mutex::new(wait);
    let backend = Backend::start(move |_, mut wire| {
        while let Some(request) = wire.try_request() {
            tell.send(request.head.start).unwrap();
            wait.lock().unwrap().recv_timeout(SOON).unwrap();
            wire.send(ok("hi"));
        }
    });
    let apex = Apex::start(&all(&[backend.addr()]));
    let mut client = apex.client();
    client.send([get("/1"), get("/2"), get("/3")].concat());
    for number in 1..=3 {
        let start = told.recv_timeout(SOON).unwrap();
        assert_eq!(start, format!("GET /{number} HTTP/1.1"));
        assert_eq!(told.recv_timeout(A_WHILE), Err(RecvTimeoutError::Timeout), "two at a time");
        go.send(()).unwrap();
        assert_eq!(client.response().text(), "hi");
    }
}

#[test]
fn pipelined_requests_without_an_end_are_held_back() {
    const OCTETS: usize = 64 << 20;
    let origin = echo();
    let apex = Apex::with("access_log = false", &all(&[origin.local_addr()]));
    let mut client = apex.client();
    assert_eq!(client.ask(get("/")).status(), 200);
    let before = apex.resident_bytes();
    // Answers that nobody reads fill the way back, then nobody reads the requests.
    let requests = get("/bytes/1000").repeat(1000);
    let mut socket = client.socket();
    socket.set_write_timeout(Some(Duration::from_millis(500))).unwrap();
    let mut sent = 0;
    let end = loop {
        match socket.write(requests.as_bytes()) {
            Ok(count) if sent < OCTETS => sent += count,
            end => break end,
        }
    };
    assert!(matches!(&end, Err(error) if error.kind() == ErrorKind::WouldBlock), "{sent}: {end:?}");
    let growth = apex.resident_bytes().saturating_sub(before);
    assert!(growth < 4 << 20, "grown by {growth} octets");
    assert_eq!(apex.client().ask(get("/")).status(), 200);
}

/// A client that has been answered, so that Apex has it for certain.
fn known(apex: &Apex) -> Wire {
    let mut client = apex.client();
    assert_eq!(client.ask(get("/")).status(), 200);
    client
}

#[test]
fn without_descriptors_those_that_are_there_go_on() {
    const FREE: usize = 8;
    const MORE: usize = 4;
    let origin = echo();
    let apex = Apex::with("backend_idle_timeout_secs = 600", &all(&[origin.local_addr()]));
    let mut first = known(&apex);
    // A listener, a client, and a backend connection at rest.
    apex.await_sockets(3, "before");
    apex.leave_descriptors(FREE);
    let mut others: Vec<_> = (0..FREE + MORE).map(|_| apex.client()).collect();
    let said = apex.stderr.find(|line| line.contains("not accepting for a moment"));
    assert!(said.contains("Too many open files"), "{said}");
    assert_eq!(apex.sockets(), 3 + FREE);
    for _ in 0..3 {
        assert_eq!(first.ask(get("/")).status(), 200);
    }
    let mut waiting = others.split_off(FREE);
    for client in &mut others {
        assert_eq!(client.ask(get("/")).status(), 200);
    }
    for client in &mut waiting {
        client.send(get("/"));
        client.expect_silence(Duration::from_millis(20));
    }
    // Room for one at a time.
    for client in &mut waiting {
        drop(others.pop());
        assert_eq!(client.response().status(), 200);
    }
    assert_eq!(first.ask(get("/")).status(), 200);
    drop((others, waiting));
    apex.await_sockets(3, "afterwards");
    let said = apex.stderr.all().iter().filter(|line| line.contains("not accepting")).count();
    assert!(said < 20, "it says so too often: {said} times");
}

#[test]
fn without_a_descriptor_for_the_backend_a_client_is_told_so() {
    let origin = echo();
    let apex = Apex::with("backend_idle_timeout_secs = 0.1", &all(&[origin.local_addr()]));
    await_nobody(&apex);
    let (first, mut second) = (known(&apex), known(&apex));
    apex.await_sockets(3, "before");
    apex.leave_descriptors(0);
    for _ in 0..2 {
        let answer = second.ask(get("/"));
        assert_eq!((answer.status(), answer.field("Connection")), (503, None));
    }
    apex.stderr.find(|line| line.contains("no backend can be connected to"));
    // The number of the first one is below the limit; between the two was the backend connection.
    drop(first);
    until("room", || (second.ask(get("/")).status() == 200).then_some(()));
}

#[test]
fn without_a_descriptor_for_a_pipe_content_passes_all_the_same() {
    const OCTETS: usize = 10_000_000;
    let origin = echo();
    let apex = Apex::with("backend_idle_timeout_secs = 600", &all(&[origin.local_addr()]));
    let mut client = known(&apex);
    apex.await_sockets(3, "before");
    let pipes = apex.pipes();
    // One is not enough for a pipe.
    for free in [1, 0] {
        apex.leave_descriptors(free);
        let answer = client.ask(get(&format!("/bytes/{OCTETS}")));
        assert_eq!((answer.status(), answer.content.len(), answer.end), (200, OCTETS, End::Whole));
        let front = format!("POST /upload HTTP/1.1\r\nHost: a\r\nContent-Length: {OCTETS}\r\n\r\n");
        client.send(front);
        client.send(vec![b'x'; OCTETS]);
        assert!(client.response().text().starts_with(&format!("length {OCTETS} ")));
        assert_eq!(apex.pipes(), pipes, "a pipe was had");
    }
}

/// Heads of 250 KB that do not end want more memory than there is: clients are closed, and the process stays.
#[test]
fn a_process_without_memory_closes_clients_and_serves_others() {
    let origin = echo();
    let server = "workers = 1\nhead_bytes_max = 262144\ntarget_bytes_max = 1024";
    let mut apex = Apex::with(server, &route("all", "", &[origin.local_addr()]));
    assert_eq!(apex.client().ask(get("/")).status(), 200);
    apex.leave_memory(16 << 20);
    let head = format!("GET / HTTP/1.1\r\nHost: a\r\nX-Long: {}", "a".repeat(250_000));
    // An arena of glibc has 64 MiB of addresses from its beginning: more than fit into those and the rest.
    let mut clients: Vec<Wire> = (0..600).map(|_| apex.client()).collect();
    let closed = clients.iter_mut().filter_map(|client| (!client.try_send(&head)).then_some(())).count();
    assert!(!apex.has_ended());
    drop(clients);
    until("an answer when there is memory again", || {
        let mut client = apex.client();
        let sent = client.try_send(get("/"));
        client.try_head().filter(|head| sent && head.start.contains(" 200 ")).map(drop)
    });
    assert!(!apex.has_ended(), "{closed} were closed");
}
