//! Faults that were found by manual attempts to break Apex, each with a description.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::unwrap_used,
    reason = "tests measure and wait"
)]

mod support;

use rustix::process::{Pid, Signal, kill_process};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};
use support::{Apex, Refusing, SOON, all, echo, get};

/// Members past the 64th were never marked as tried: an exchange went round them for ever, even when its client was gone.
#[test]
fn a_large_pool_of_dead_backends_is_given_up() {
    let refusing: Vec<_> = (0..70).map(|_| Refusing::new()).collect();
    let addrs: Vec<_> = refusing.iter().map(Refusing::addr).collect();
    let apex = Apex::start(&all(&addrs));
    assert_eq!(apex.client().ask(get("/")).status(), 502);
}

/// A connection that had more to do at the end of each of its turns never waited, and so kept the deadline of its last wait: a
/// busy worker cut transfers that were going on at full speed.
#[test]
fn a_connection_that_never_waits_outlives_its_timeouts() {
    let flowing = Duration::from_millis(1500);
    let origin = echo();
    let server = "timeout_secs = 0.3\nheader_timeout_secs = 0.3\nidle_timeout_secs = 0.3";
    let apex = Apex::with(server, &all(&[origin.local_addr()]));
    let mut sender = TcpStream::connect(apex.addr()).unwrap();
    let mut receiver = sender.try_clone().unwrap();
    // Apex answers these by itself, and no sooner than they come.
    let requests = "OPTIONS * HTTP/1.1\r\nHost: test\r\nMax-Forwards: 0\r\n\r\n".repeat(2000);
    let sending = thread::spawn(move || {
        let begun = Instant::now();
        while begun.elapsed() < flowing && sender.write_all(requests.as_bytes()).is_ok() {}
        let _ = sender.shutdown(Shutdown::Write);
        begun.elapsed() >= flowing
    });
    let (mut tail, mut room) = (Vec::new(), vec![0; 256 * 1024]);
    while let Ok(count @ 1..) = receiver.read(&mut room) {
        tail.extend_from_slice(&room[..count]);
        tail.drain(..tail.len().saturating_sub(512));
    }
    let tail = String::from_utf8_lossy(&tail);
    assert!(!tail.contains("408"), "{tail}");
    assert!(sending.join().unwrap(), "the connection was cut: {tail}");
}

/// `apex 2>&1 | head -1`: the first word for the operator after that ended the process.
#[test]
fn a_standard_error_that_nobody_reads_ends_nothing() {
    let origin = echo();
    // Its file and port serve the second process; it itself ends first.
    let apex = Apex::start(&all(&[origin.local_addr()]));
    let (file, addr) = (apex.file(), apex.addr());
    let text = std::fs::read_to_string(&file).unwrap();
    drop(apex);
    let file = std::env::temp_dir().join(format!("apex-regression-{}.toml", std::process::id()));
    std::fs::write(&file, text).unwrap();
    let mut child =
        Command::new(std::env::var("APEX_BIN").unwrap_or_else(|_| env!("CARGO_BIN_EXE_apex").to_owned()))
            .arg("--config")
            .arg(&file)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
    let mut line = String::new();
    BufReader::new(child.stderr.take().unwrap()).read_line(&mut line).unwrap();
    assert!(line.contains("serving"), "{line}");
    kill_process(Pid::from_child(&child), Signal::HUP).unwrap();
    // It says that it leaves, and leaves: a crash has another exit code.
    kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
    let deadline = Instant::now() + SOON;
    while child.try_wait().unwrap().is_none() && Instant::now() < deadline {
        let _ = TcpStream::connect_timeout(&addr, Duration::from_millis(10));
        thread::yield_now();
    }
    let _ = child.kill();
    let _ = std::fs::remove_file(&file);
    assert_eq!(child.wait().unwrap().code(), Some(0));
}
