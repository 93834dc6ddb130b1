//! Content that fits no buffer: it passes whole, at the pace of the slower side, and Apex holds no more of it than it says.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::unwrap_used,
    reason = "tests measure and wait"
)]

mod support;

use std::io::{ErrorKind, Write};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;
use support::{Apex, Backend, SOON, Wire, all, echo, get};

/// 100 MB, and not a multiple of anything.
const OCTETS: usize = 100_000_007;

/// What Apex may grow by for a few exchanges under way: buffers of memory and the allocator's share. Bytes in kernel pipes and
/// sockets do not count here.
const GROWTH_MAX: usize = 16 << 20;

/// How long a write must be stuck to show that the path is full.
const STUCK: Duration = Duration::from_millis(500);

/// The octets of the origin's pattern, period after period.
fn pattern() -> Vec<u8> {
    (0..=250).cycle().take(251 * 2048).collect()
}

/// Reads content that must be the pattern, from its first octet; gives the number read.
fn expect_pattern(wire: &mut Wire, octets: usize) {
    let pattern = pattern();
    let mut at = 0;
    while at < octets {
        let bytes = wire.some();
        assert!(!bytes.is_empty(), "cut at {at} of {octets}");
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            let from = at % 251;
            let run = rest.len().min(pattern.len() - from);
            assert!(rest[..run] == pattern[from..from + run], "wrong octets behind {at}");
            rest = &rest[run..];
            at += run;
        }
    }
    assert_eq!(at, octets);
}

/// Writes until it is stuck or all went; gives the octets that went.
fn write_until_stuck(wire: &Wire, octets: usize) -> usize {
    let (pattern, mut socket) = (pattern(), wire.socket());
    socket.set_write_timeout(Some(STUCK)).unwrap();
    let mut at = 0;
    while at < octets {
        let from = at % 251;
        let run = (octets - at).min(pattern.len() - from);
        match socket.write(&pattern[from..from + run]) {
            Ok(count) => at += count,
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => break,
            Err(error) => panic!("behind {at}: {error}"),
        }
    }
    socket.set_write_timeout(Some(SOON)).unwrap();
    at
}

/// FNV-1a of 64 bits, as the origin's `/upload` gives it.
fn fnv(data: impl Iterator<Item = u8>) -> u64 {
    data.fold(0xcbf2_9ce4_8422_2325, |sum, octet| (sum ^ u64::from(octet)).wrapping_mul(0x0100_0000_01b3))
}

#[test]
fn a_large_download_passes_whole() {
    let origin = echo();
    let apex = Apex::start(&all(&[origin.local_addr()]));
    let mut client = apex.client();
    client.ask(get("/bytes/1000000"));
    let before = apex.resident_bytes();
    client.send(get(&format!("/bytes/{OCTETS}")));
    assert_eq!(client.head().field("Content-Length"), Some(OCTETS.to_string().as_str()));
    expect_pattern(&mut client, OCTETS);
    let growth = apex.resident_bytes().saturating_sub(before);
    assert!(growth < GROWTH_MAX, "grown by {growth} octets");
    assert_eq!(client.ask(get("/")).status(), 200);
}

#[test]
fn a_large_chunked_download_passes_whole() {
    let origin = echo();
    let apex = Apex::start(&all(&[origin.local_addr()]));
    for chunk in [1_000, 65_536, 30_000_000] {
        let mut client = apex.client();
        // A client of 1.0 is given the bare octets, whatever the chunks behind Apex are.
        client.send(format!("GET /chunked/{OCTETS}?chunk={chunk} HTTP/1.0\r\n\r\n"));
        assert_eq!(client.head().status(), 200);
        expect_pattern(&mut client, OCTETS);
        client.expect_end();
    }
}

#[test]
fn a_large_chunked_upload_passes_whole() {
    const CHUNK: usize = 400_000;
    let origin = echo();
    let apex = Apex::start(&all(&[origin.local_addr()]));
    let mut client = apex.client();
    client.ask(get("/bytes/1000000"));
    let before = apex.resident_bytes();
    client.send("POST /upload HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n");
    let (pattern, mut at) = (pattern(), 0);
    while at < OCTETS {
        let size = CHUNK.min(OCTETS - at);
        client.send(format!("{size:x}\r\n"));
        client.send(&pattern[at % 251..at % 251 + size]);
        client.send("\r\n");
        at += size;
    }
    client.send("0\r\n\r\n");
    let checksum = fnv((0..=250).cycle().take(OCTETS));
    assert_eq!(client.response().text(), format!("length {OCTETS} fnv1a64 {checksum:016x}\n"));
    let growth = apex.resident_bytes().saturating_sub(before);
    assert!(growth < GROWTH_MAX, "grown by {growth} octets");
}

#[test]
fn a_fast_backend_is_held_to_the_pace_of_its_client() {
    let (tell, stuck) = mpsc::channel();
    let backend = Backend::start(move |_, mut wire| {
        wire.request();
        wire.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {OCTETS}\r\n\r\n"));
        let went = write_until_stuck(&wire, OCTETS);
        tell.send(went).unwrap();
        write_rest(&mut wire, went);
        wire.rest();
    });
    let apex = Apex::start(&all(&[backend.addr()]));
    let mut client = apex.client();
    let before = apex.resident_bytes();
    client.send(get("/"));
    assert_eq!(client.head().status(), 200);
    let went = stuck.recv_timeout(SOON * 3).unwrap();
    assert!(went < OCTETS / 2, "{went} octets went to a client that took none");
    let growth = apex.resident_bytes().saturating_sub(before);
    assert!(growth < GROWTH_MAX, "grown by {growth} octets");
    expect_pattern(&mut client, OCTETS);
}

#[test]
fn a_fast_client_is_held_to_the_pace_of_its_backend() {
    let (go, wait) = mpsc::channel::<()>();
    let wait = std::sync::Mutex::new(wait);
    let backend = Backend::start(move |_, mut wire| {
        wire.head();
        wait.lock().unwrap().recv_timeout(SOON * 3).unwrap();
        expect_pattern(&mut wire, OCTETS);
        wire.send("HTTP/1.1 204 No Content\r\n\r\n");
    });
    let apex = Apex::start(&all(&[backend.addr()]));
    let mut client = apex.client();
    let before = apex.resident_bytes();
    client.send(format!("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: {OCTETS}\r\n\r\n"));
    let went = write_until_stuck(&client, OCTETS);
    assert!(went < OCTETS / 2, "{went} octets went to a backend that took none");
    let growth = apex.resident_bytes().saturating_sub(before);
    assert!(growth < GROWTH_MAX, "grown by {growth} octets");
    go.send(()).unwrap();
    write_rest(&mut client, went);
    assert_eq!(client.response().status(), 204);
}

#[test]
fn many_large_answers_at_once() {
    const EACH: usize = 5_000_011;
    let origin = echo();
    let apex = Apex::with("workers = 2", &all(&[origin.local_addr()]));
    let clients: Vec<_> = (0..16)
        .map(|_| {
            let mut client = apex.client();
            thread::spawn(move || {
                for _ in 0..2 {
                    client.send(get(&format!("/bytes/{EACH}")));
                    client.head();
                    expect_pattern(&mut client, EACH);
                }
            })
        })
        .collect();
    for client in clients {
        client.join().unwrap();
    }
}

fn write_rest(wire: &mut Wire, from: usize) {
    let pattern = pattern();
    let mut at = from;
    while at < OCTETS {
        let start = at % 251;
        let run = (OCTETS - at).min(pattern.len() - start);
        wire.send(&pattern[start..start + run]);
        at += run;
    }
}
