//! Upgraded connections: a tunnel once both sides agreed, and otherwise none (RFC 9110 section 7.8).
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::unwrap_used,
    reason = "tests measure and wait"
)]

mod support;

use std::sync::mpsc;
use std::time::Duration;
use support::{Apex, Backend, SOON, Wire, all, get, ok};

const ASK: &str = "GET /chat HTTP/1.1\r\nHost: test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
const AGREE: &str = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
    Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

/// A client at the end of a tunnel.
fn tunnel(apex: &Apex) -> Wire {
    let mut client = apex.client();
    let head = client.ask(ASK).head;
    assert_eq!((head.status(), head.field("Upgrade")), (101, Some("websocket")));
    assert_eq!(head.field("Connection").map(str::to_lowercase).as_deref(), Some("upgrade"));
    assert_eq!(head.field("Content-Length").or(head.field("Transfer-Encoding")), None);
    client
}

/// A backend that agrees and then sends back what comes, until the end, behind which it says so.
fn repeating() -> Backend {
    Backend::start(|_, mut wire| {
        wire.request();
        wire.send(AGREE);
        loop {
            let bytes = wire.some();
            if bytes.is_empty() {
                wire.send("the end");
                return;
            }
            wire.send(bytes);
        }
    })
}

#[test]
fn both_sides_agree_and_talk() {
    let (tell, seen) = mpsc::channel();
    let backend = Backend::start(move |_, mut wire| {
        tell.send(wire.request().head).unwrap();
        wire.send(AGREE);
        for _ in 0..3 {
            assert_eq!(wire.take(4), b"ping");
            wire.send("pong");
        }
    });
    let apex = Apex::start(&all(&[backend.addr()]));
    let mut client = tunnel(&apex);
    let head = seen.recv_timeout(SOON).unwrap();
    assert_eq!(head.field("Upgrade"), Some("websocket"));
    assert_eq!(head.field("Connection").map(str::to_lowercase).as_deref(), Some("upgrade"));
    assert_eq!(head.field("Sec-WebSocket-Key"), Some("dGhlIHNhbXBsZSBub25jZQ=="));
    for _ in 0..3 {
        client.send("ping");
        assert_eq!(client.take(4), b"pong");
    }
    client.expect_end();
}

#[test]
fn bytes_right_behind_either_head_are_delivered() {
    let (tell, seen) = mpsc::channel();
    let backend = Backend::start(move |_, mut wire| {
        wire.request();
        wire.send(format!("{AGREE}from the backend"));
        tell.send(wire.take(15)).unwrap();
        wire.rest();
    });
    let apex = Apex::start(&all(&[backend.addr()]));
    let mut client = apex.client();
    client.send(format!("{ASK}from the client"));
    assert_eq!(client.response().status(), 101);
    assert_eq!(client.take(16), b"from the backend");
    assert_eq!(seen.recv_timeout(SOON).unwrap(), b"from the client");
}

#[test]
fn a_tunnel_that_nobody_asked_for_is_refused() {
    for asked in [get("/"), ASK.replace("Upgrade: websocket", "X-Other: 1")] {
        let backend = Backend::answering(AGREE);
        let apex = Apex::start(&all(&[backend.addr()]));
        assert_eq!(apex.client().ask(&asked).status(), 502, "{asked:?}");
    }
}

#[test]
fn a_backend_may_decline() {
    let backend = Backend::answering(ok("no tunnel here"));
    let apex = Apex::start(&all(&[backend.addr()]));
    let mut client = apex.client();
    for _ in 0..2 {
        assert_eq!(client.ask(ASK).text(), "no tunnel here");
    }
}

#[test]
fn one_side_may_end_before_the_other() {
    let backend = repeating();
    let apex = Apex::start(&all(&[backend.addr()]));
    let mut client = tunnel(&apex);
    client.send("hello");
    client.finish();
    assert_eq!(client.rest(), b"hellothe end");
}

#[test]
fn the_backend_may_end_first() {
    let (tell, seen) = mpsc::channel();
    let backend = Backend::start(move |_, mut wire| {
        wire.request();
        wire.send(AGREE);
        wire.finish();
        tell.send(wire.rest()).unwrap();
    });
    let apex = Apex::start(&all(&[backend.addr()]));
    let mut client = tunnel(&apex);
    client.expect_end();
    client.send("the last words");
    client.finish();
    assert_eq!(seen.recv_timeout(SOON).unwrap(), b"the last words");
}

#[test]
fn a_tunnel_outlives_the_timeouts_of_exchanges() {
    let backend = repeating();
    let apex = Apex::with("timeout_secs = 0.2\nidle_timeout_secs = 0.2", &all(&[backend.addr()]));
    let mut client = tunnel(&apex);
    client.expect_silence(Duration::from_millis(800));
    client.send("still there?");
    assert_eq!(client.take(12), b"still there?");
}

#[test]
fn much_goes_both_ways_at_once() {
    const OCTETS: usize = 8_000_000;
    let backend = repeating();
    let apex = Apex::start(&all(&[backend.addr()]));
    let mut client = tunnel(&apex);
    let mut sender = Wire::new(client.socket().try_clone().unwrap());
    let bytes: Vec<u8> = (0..=250).cycle().take(OCTETS).collect();
    let sent = bytes.clone();
    let sending = std::thread::spawn(move || sender.send(sent));
    assert!(client.take(OCTETS) == bytes);
    sending.join().unwrap();
}
