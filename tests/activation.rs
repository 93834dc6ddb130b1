//! Stops and starts with a listener that another process holds, as systemd does: connections made meanwhile
//! wait in the accept queue, and none is lost.
//!
//! `APEX_ACTIVATION_ROUNDS` (6) sets the number of rounds.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::unwrap_used,
    reason = "tests measure and wait"
)]

mod support;

use rustix::process::{Pid, Signal, kill_process};
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex, mpsc};
use std::time::Duration;
use std::{env, fs, thread};
use support::{SOON, all, echo, say, size};

/// Clients with a new connection for each request, and as many that keep theirs.
const CLIENTS: usize = 4;

/// Between two requests of a client: a queue of connections that nobody accepts holds 128 of them until Apex has it.
const PAUSE: Duration = Duration::from_millis(2);

/// What each process answers before it is told to leave.
const ANSWERS: u64 = 100;

/// What clients have seen.
#[derive(Default)]
struct Seen {
    counts: Mutex<Counts>,
    changed: Condvar,
}

#[derive(Default)]
struct Counts {
    answers: u64,
    /// Kept connections that were closed before anything of the next answer came.
    closed_at_rest: u64,
    ends: bool,
    failed: bool,
}

impl Seen {
    fn count(&self, change: impl FnOnce(&mut Counts)) {
        change(&mut self.counts.lock().unwrap());
        self.changed.notify_all();
    }

    /// Waits until that holds; false where it did not within `patience`.
    fn wait(&self, patience: Duration, holds: impl Fn(&Counts) -> bool) -> bool {
        let counts = self.counts.lock().unwrap();
        let (counts, _) = self.changed.wait_timeout_while(counts, patience, |counts| !holds(counts)).unwrap();
        holds(&counts)
    }
}

/// Tells of a client that ends with a panic, so that nobody waits for it.
struct FailureNotice<'a>(&'a Seen);

impl Drop for FailureNotice<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.count(|counts| counts.failed = true);
        }
    }
}

/// A process with a copy of the listener as descriptor 3, told of as `sd_listen_fds(3)` says.
struct Activated {
    child: Child,
}

impl Activated {
    fn start(listener: &TcpListener, file: &Path) -> Self {
        // A shell moves the descriptor to its place, and `exec` keeps the number of the process that is told of.
        const SCRIPT: &str =
            r#"exec 3<&0 0</dev/null; export LISTEN_FDS=1 LISTEN_PID=$$; exec "$0" --config "$1""#;
        let binary = env::var("APEX_BIN").unwrap_or_else(|_| env!("CARGO_BIN_EXE_apex").to_owned());
        let child = Command::new("sh")
            .args(["-c", SCRIPT, &binary])
            .arg(file)
            .stdin(Stdio::from(OwnedFd::from(listener.try_clone().unwrap())))
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        Self { child }
    }

    /// Tells it to leave, and waits until it has left, nothing cut.
    fn leave(mut self) {
        kill_process(Pid::from_child(&self.child), Signal::TERM).unwrap();
        // Its standard error ends with it.
        let (mut stderr, (tell, told)) = (self.child.stderr.take().unwrap(), mpsc::channel());
        thread::spawn(move || {
            let mut said = String::new();
            let read = stderr.read_to_string(&mut said);
            let _ = tell.send(read.map(|_| said));
        });
        let said = told.recv_timeout(SOON).expect("Apex does not leave").unwrap();
        let status = self.child.wait().unwrap();
        assert!(status.success() && said.contains("left, all exchanges finished"), "{status}: {said}");
    }
}

impl Drop for Activated {
    fn drop(&mut self) {
        // It may have left; either way it is collected here.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Sends one request, and reads its answer up to the end. Says whether the connection stays open.
fn ask(stream: &mut TcpStream, request: &str) -> io::Result<bool> {
    stream.write_all(request.as_bytes())?;
    let (mut answer, mut room) = (Vec::new(), [0; 4096]);
    loop {
        let count = stream.read(&mut room)?;
        answer.extend_from_slice(&room[..count]);
        let text = String::from_utf8_lossy(&answer);
        if count == 0 {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, text.into_owned()));
        }
        if let Some((head, content)) = text.split_once("\r\n\r\n")
            && content.ends_with('\n')
        {
            assert!(head.starts_with("HTTP/1.1 200 "), "{text}");
            return Ok(!head.to_lowercase().contains("connection: close"));
        }
    }
}

fn connect(to: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&to, SOON)?;
    stream.set_read_timeout(Some(SOON))?;
    stream.set_write_timeout(Some(SOON))?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Asks until it is told to end. A request that is not answered ends the test; one on a kept connection that had come to rest may
/// be sent again on a new one (RFC 9112 section 9.3.1 has clients do so).
fn run(to: SocketAddr, keeps: bool, seen: &Seen) {
    const REQUESTS: [&str; 2] = [
        "GET /x HTTP/1.1\r\nHost: test\r\n\r\n",
        "POST /x HTTP/1.1\r\nHost: test\r\nContent-Length: 5\r\n\r\nhello",
    ];
    let _notice = FailureNotice(seen);
    let mut kept: Option<TcpStream> = None;
    for request in REQUESTS.iter().cycle() {
        if seen.wait(PAUSE, |counts| counts.ends) {
            return;
        }
        if let Some(mut stream) = kept.take() {
            match ask(&mut stream, request) {
                Ok(stays) => {
                    seen.count(|counts| counts.answers += 1);
                    kept = stays.then_some(stream);
                    continue;
                }
                Err(error) => {
                    let text = error.to_string();
                    let closed =
                        matches!(error.kind(), io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe)
                            || (error.kind() == io::ErrorKind::UnexpectedEof && text.is_empty());
                    assert!(closed, "on a kept connection: {error}");
                    seen.count(|counts| counts.closed_at_rest += 1);
                }
            }
        }
        let mut stream = connect(to).unwrap_or_else(|error| panic!("no connection: {error}"));
        let stays = ask(&mut stream, request).unwrap_or_else(|error| panic!("on a new connection: {error}"));
        seen.count(|counts| counts.answers += 1);
        kept = (keeps && stays).then_some(stream);
    }
}

/// A file that goes with its test.
struct File(PathBuf);

impl Drop for File {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

#[test]
fn nobody_is_lost_over_stops_and_starts() {
    let (origin, listener) = (echo(), TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap());
    let to = listener.local_addr().unwrap();
    let file = File(env::temp_dir().join(format!("apex-activation-{}.toml", std::process::id())));
    let server = format!("[server]\nlisten = \"{to}\"\nworkers = 2\naccess_log = false\n");
    fs::write(&file.0, server + &all(&[origin.local_addr()])).unwrap();

    let seen = Arc::new(Seen::default());
    let clients: Vec<_> = (0..2 * CLIENTS)
        .map(|number| {
            let seen = Arc::clone(&seen);
            thread::spawn(move || run(to, number % 2 == 0, &seen))
        })
        .collect();
    let rounds = size("APEX_ACTIVATION_ROUNDS", 6);
    let mut apex = None;
    for round in 0..rounds {
        // One time, nobody serves until the next process does; the other time, the next one serves before this one leaves.
        let old: Option<Activated> = apex.take();
        let old = if round % 2 == 0 { old.map(Activated::leave).and(None) } else { old };
        let new = Activated::start(&listener, &file.0);
        if let Some(old) = old {
            old.leave();
        }
        let enough = seen.counts.lock().unwrap().answers + ANSWERS;
        let waited = seen.wait(SOON, |counts| counts.failed || counts.answers >= enough);
        assert!(!seen.counts.lock().unwrap().failed, "a client has failed");
        assert!(waited, "round {round}: no answers");
        apex = Some(new);
    }
    seen.count(|counts| counts.ends = true);
    for client in clients {
        client.join().unwrap();
    }
    apex.unwrap().leave();
    let Counts { answers, closed_at_rest, .. } = *seen.counts.lock().unwrap();
    say(&format!(
        "{rounds} starts and stops: {answers} answers, {closed_at_rest} kept connections closed at rest, no failure"
    ));
}
