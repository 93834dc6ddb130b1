//! The origin by itself: the tests of Apex rely on it, so its behaviour is tested here, over real sockets.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::unwrap_used,
    reason = "tests measure and wait"
)]

mod support;

use apex::echo::Server;
use std::net::{Ipv4Addr, TcpStream};
use std::time::{Duration, Instant};
use support::{End, Wire, echo, get};

fn pattern(octets: usize) -> Vec<u8> {
    (0..=250).cycle().take(octets).collect()
}

#[test]
fn paths_answer_as_they_are_documented() {
    let origin = echo();
    let port = origin.local_addr().port();
    let mut client = Wire::connect(origin.local_addr());
    let line = |rest: &str| format!("port {port} {rest}\n");
    assert_eq!(client.ask(get("/any?x=1")).text(), line("GET /any?x=1"));
    for target in
        ["/bytes/100000", "/chunked/100000", "/chunked/100000?chunk=7", "/chunked/100000?chunk=1000000"]
    {
        let answer = client.ask(get(target));
        assert!(answer.content == pattern(100_000) && answer.end == End::Whole, "{target}");
    }
    assert_eq!(client.ask(get("/status/418")).status(), 418);
    assert_eq!(client.ask(get("/status/x")).status(), 400);
    assert_eq!(client.ask(get("/headers")).content, get("/headers").as_bytes());
    assert_eq!(client.ask(get("/trailers")).trailers, [("X-Trailer".to_owned(), "at the end".to_owned())]);
    assert_eq!(client.ask(get("/sse/2")).text(), "data: 0\n\ndata: 1\n\n");
    let began = Instant::now();
    assert_eq!(client.ask(get("/delay/60")).text(), line("GET /delay/60"));
    assert_eq!(client.ask(get("/sse/3?ms=30")).text(), "data: 0\n\ndata: 1\n\ndata: 2\n\n");
    assert!(began.elapsed() >= Duration::from_millis(120));
    let answer = client.ask(get("/close/100000"));
    assert!(answer.content == pattern(100_000) && answer.end == End::Closed);
}

#[test]
fn bodies_are_read_whatever_is_asked() {
    let origin = echo();
    let mut client = Wire::connect(origin.local_addr());
    let framings = [
        "Content-Length: 5\r\n\r\nhello",
        "Transfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3;x\r\nllo\r\n0\r\nA: b\r\n\r\n",
    ];
    for rest in framings {
        let post = |target| format!("POST {target} HTTP/1.1\r\nHost: test\r\n{rest}");
        let paths = ["/any", "/delay/1", "/bytes/9", "/echo", "/upload", "/early/413", "/echo"];
        client.send(paths.map(post).concat());
        let answers = paths.map(|_| client.response());
        assert_eq!(answers.each_ref().map(support::Message::status), [200, 200, 200, 200, 200, 413, 200]);
        assert_eq!(answers[3].text(), "hello");
        assert_eq!(answers[4].text(), "length 5 fnv1a64 a430d84680aabd0b\n");
    }
    client.send("POST /echo HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\nbroken");
    let answer = client.response();
    assert_eq!((answer.text(), answer.end), ("hi", End::Cut));
}

#[test]
fn a_large_echo_needs_no_room() {
    let origin = echo();
    let mut client = Wire::connect(origin.local_addr());
    let mut sender = Wire::new(client.socket().try_clone().unwrap());
    let body = pattern(20_000_000);
    let sent = body.clone();
    let sending = std::thread::spawn(move || {
        sender.send(format!("POST /echo HTTP/1.1\r\nContent-Length: {}\r\n\r\n", sent.len()));
        sender.send(sent);
    });
    assert!(client.response().content == body);
    sending.join().unwrap();
}

#[test]
fn connections_end_as_they_should() {
    let origin = echo();
    for (request, connection) in [
        ("GET / HTTP/1.1\r\nConnection: close\r\n\r\n", "close"),
        ("GET / HTTP/1.0\r\n\r\n", "close"),
        ("\u{1}\r\n\r\n", "close"),
    ] {
        let mut client = Wire::connect(origin.local_addr());
        assert_eq!(client.ask(request).field("Connection"), Some(connection), "{request:?}");
        client.finish();
        client.expect_end();
    }
    let mut client = Wire::connect(origin.local_addr());
    client.send("HEAD /bytes/9 HTTP/1.1\r\n\r\n");
    assert_eq!(client.bare_response().field("Content-Length"), Some("9"));
    assert_eq!(
        client.ask("POST / HTTP/1.1\r\nContent-Length: 1\r\nExpect: 100-continue\r\n\r\n").status(),
        100
    );
    client.send("x");
    assert_eq!(client.response().status(), 200);
    client.finish();
    client.expect_end();
}

#[test]
fn threads_share_a_port_and_stop() {
    let origin = Server::start((Ipv4Addr::LOCALHOST, 0).into(), 3).unwrap();
    let addr = origin.local_addr();
    let mut clients: Vec<_> = (0..30).map(|_| Wire::connect(addr)).collect();
    for client in &mut clients {
        assert_eq!(client.ask(get("/")).status(), 200);
    }
    origin.stop();
    clients.iter_mut().for_each(Wire::expect_end);
    assert!(TcpStream::connect(addr).is_err());
}
