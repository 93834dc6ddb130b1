//! Content larger than any buffer: it passes completely, at the pace of the slower side, and Apex holds no
//! more of it than its documented bounds.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::unwrap_used,
    reason = "tests measure and wait"
)]

mod support;

use apex::exchange::BUFFER_BYTES;
use std::io::{ErrorKind, Write};
use std::sync::{Mutex, mpsc};
use std::thread;
use std::time::{Duration, Instant};
use support::{Apex, Backend, SOON, Wire, all, echo, get, ok};

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

/// Content of so many octets, in bursts: long content that comes fast is waited for in larger pieces. Behind each burst but the
/// last, the sender goes on only when the peer has all of it.
const BURSTS: [usize; 8] = [1 << 20, 50_000, 600_000, 1, 500_000, 100_000, 127 << 10, 256 << 10];

fn burst(at: usize, count: usize) -> Vec<u8> {
    (0..=250).cycle().skip(at % 251).take(count).collect()
}

fn send_in_bursts(wire: &mut Wire, told: &Mutex<mpsc::Receiver<()>>) {
    let mut at = 0;
    for count in BURSTS {
        wire.send(burst(at, count));
        at += count;
        if at < BURSTS.iter().sum() {
            told.lock().unwrap().recv_timeout(SOON).expect("the peer has what was sent");
        }
    }
}

fn take_in_bursts(wire: &mut Wire, tell: &mpsc::Sender<()>) {
    let mut at = 0;
    for count in BURSTS {
        assert!(wire.take(count) == burst(at, count), "wrong octets behind {at}");
        at += count;
        if at < BURSTS.iter().sum() {
            tell.send(()).unwrap();
        }
    }
}

#[test]
fn nobody_waits_for_what_a_fast_backend_sent_before_it_paused() {
    let (tell, told) = mpsc::channel();
    let told = Mutex::new(told);
    let length: usize = BURSTS.iter().sum();
    let backend = Backend::start(move |_, mut wire| {
        wire.request();
        wire.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n"));
        send_in_bursts(&mut wire, &told);
    });
    let apex = Apex::start(&all(&[backend.addr()]));
    let mut client = apex.client();
    client.send(get("/"));
    client.head();
    take_in_bursts(&mut client, &tell);
}

#[test]
fn nobody_waits_for_what_a_fast_client_sent_before_it_paused() {
    let (tell, told) = mpsc::channel();
    let told = Mutex::new(told);
    let length: usize = BURSTS.iter().sum();
    let backend = Backend::start(move |_, mut wire| {
        wire.head();
        take_in_bursts(&mut wire, &tell);
        wire.send(ok("taken"));
    });
    let apex = Apex::start(&all(&[backend.addr()]));
    let mut client = apex.client();
    client.send(format!("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: {length}\r\n\r\n"));
    send_in_bursts(&mut client, &told);
    assert_eq!(client.response().text(), "taken");
}

/// The front of a long message, one segment and fast enough that much is waited for behind it; and its rest, as little as may be
/// waited for so.
const FRONT: usize = 60 << 10;
const REST: usize = 256 << 10;

/// So much makes the kernel give the connection room for the rest as a whole.
const WIDE: usize = 16 << 20;

/// Long messages, each with a short one behind it.
const LONG_AND_SHORT: usize = 20;

#[test]
fn a_backend_connection_that_was_to_tell_of_much_tells_of_little() {
    let (go, wait) = mpsc::channel();
    let wait = Mutex::new(wait);
    let (tell, gone) = mpsc::channel();
    let backend = Backend::start(move |_, mut wire| {
        while let Some(message) = wire.try_request() {
            if message.head.start.starts_with("GET /wide") {
                wire.send(ok(&"a".repeat(WIDE)));
            } else if message.head.start.starts_with("GET /long") {
                let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", FRONT + REST);
                wire.send([head.as_bytes(), &burst(0, FRONT)].concat());
                wait.lock().unwrap().recv_timeout(SOON).unwrap();
                wire.send(burst(FRONT, REST));
                tell.send(()).unwrap();
            } else {
                wire.send(ok("short"));
            }
        }
    });
    let apex = Apex::start(&all(&[backend.addr()]));
    let mut client = apex.client();
    client.ask(get("/wide"));
    for _ in 0..LONG_AND_SHORT {
        client.send(get("/long"));
        client.head();
        client.take(FRONT);
        // All of the rest is there at once, so that there is no further wait.
        apex.pause();
        go.send(()).unwrap();
        gone.recv_timeout(SOON).unwrap();
        apex.resume();
        assert!(client.take(REST) == burst(FRONT, REST));
        assert_eq!(client.ask(get("/")).text(), "short");
    }
    assert_eq!(backend.accepted(), 1);
}

#[test]
fn a_client_connection_that_was_to_tell_of_much_tells_of_little() {
    let backend = Backend::start(move |_, mut wire| {
        while let Some(head) = wire.try_head() {
            if head.start.starts_with("PUT") {
                wire.take(WIDE);
                wire.send(ok("wide"));
            } else if head.start.starts_with("POST") {
                wire.take(FRONT);
                // The rest is read and thrown away, in whatever pieces it comes.
                wire.send(ok("early"));
                assert!(wire.take(REST) == burst(FRONT, REST));
            } else {
                wire.send(ok("short"));
            }
        }
    });
    let apex = Apex::start(&all(&[backend.addr()]));
    let mut client = apex.client();
    client.send(format!("PUT / HTTP/1.1\r\nHost: test\r\nContent-Length: {WIDE}\r\n\r\n"));
    client.send(burst(0, WIDE));
    assert_eq!(client.response().text(), "wide");
    for _ in 0..LONG_AND_SHORT {
        let head = format!("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: {}\r\n\r\n", FRONT + REST);
        client.send([head.as_bytes(), &burst(0, FRONT)].concat());
        assert_eq!(client.response().text(), "early");
        apex.pause();
        client.send(burst(FRONT, REST));
        apex.resume();
        assert_eq!(client.ask(get("/")).text(), "short");
    }
}

#[test]
fn nobody_waits_for_the_front_of_long_content() {
    /// What the kernel holds the end of a segment for where more was to follow at once.
    const HELD: Duration = Duration::from_millis(200);
    const LENGTH: usize = 1 << 20;
    let (tell, told) = mpsc::channel();
    let backend = Backend::start(move |_, mut wire| {
        while let Some(head) = wire.try_head() {
            let front = head.field("X-Front").unwrap().parse().unwrap();
            wire.take(front);
            tell.send(()).unwrap();
            wire.take(LENGTH - front);
            wire.send(ok("taken"));
        }
    });
    let apex = Apex::start(&all(&[backend.addr()]));
    let mut client = apex.client();
    let mut shortest = HELD;
    for _ in 0..5 {
        // As many octets as one read takes: it cannot tell that nothing is there behind them.
        let head = |front| {
            format!("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: {LENGTH}\r\nX-Front: {front}\r\n\r\n")
        };
        let front = BUFFER_BYTES - head(10_000).len();
        let content = burst(0, LENGTH);
        let begun = Instant::now();
        client.send([head(front).as_bytes(), &content[..front]].concat());
        told.recv_timeout(SOON).unwrap();
        shortest = shortest.min(begun.elapsed());
        client.send(&content[front..]);
        assert_eq!(client.response().text(), "taken");
    }
    assert!(shortest < HELD / 2, "{shortest:?}");
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
