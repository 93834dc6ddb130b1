//! The relay and the load as processes: the one loses no octet, the other finds every wrong answer.

#![expect(clippy::unwrap_used, reason = "a test ends where something fails")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::thread;
use std::time::Duration;

/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(20);
/// Spans asked for until the load has seen what it is to see; each takes a turn of its loop.
const SPANS_MAX: usize = 100_000;

/// A process that is ended with its test.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn start(program: &str, arguments: &[&str]) -> (Process, ChildStdin, BufReader<ChildStdout>) {
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("it starts");
    let (input, output) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
    (Process(child), input, BufReader::new(output))
}

/// A server in threads of its own, which end with the test program: `serve` has each connection.
fn server(serve: impl Fn(TcpStream) + Send + Sync + Clone + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    thread::spawn(move || {
        for socket in listener.incoming().flatten() {
            let serve = serve.clone();
            thread::spawn(move || {
                let _ = socket.set_read_timeout(Some(PATIENCE));
                serve(socket);
            });
        }
    });
    addr
}

fn pattern(count: usize) -> Vec<u8> {
    (0..count).map(|at| u8::try_from(at % 251).unwrap()).collect()
}

/// Sends `count` octets through a relay to a backend that reads them to their end and sends them back.
fn relayed(more: &[&str], count: usize) {
    let backend = server(|mut socket| {
        let mut octets = Vec::new();
        if socket.read_to_end(&mut octets).is_ok() {
            let _ = socket.write_all(&octets);
        }
    });
    let backend = backend.to_string();
    let arguments = [&["--listen", "127.0.0.1:0", "--backend", &backend], more].concat();
    let (_relay, _input, mut output) = start(env!("CARGO_BIN_EXE_relay"), &arguments);
    let mut said = String::new();
    output.read_line(&mut said).unwrap();
    let addr = said.trim().rsplit(' ').next().unwrap().to_owned();
    for _ in 0..3 {
        let mut client = TcpStream::connect(&addr).unwrap();
        client.set_read_timeout(Some(PATIENCE)).unwrap();
        let sent = pattern(count);
        client.write_all(&sent).unwrap();
        client.shutdown(Shutdown::Write).unwrap();
        let mut back = Vec::new();
        client.read_to_end(&mut back).unwrap();
        assert!(back == sent, "{} octets of {count} came back, or others", back.len());
    }
}

#[test]
fn the_relay_loses_no_octet() {
    for count in [1, 100_000, 5_000_000] {
        relayed(&[], count);
        relayed(&["--buffer-bytes", "1000"], count);
        relayed(&["--splice"], count);
    }
}

/// A server that gives every request this answer, and closes behind it where that is said.
fn answering(answer: &'static [u8], closes: bool) -> SocketAddr {
    server(move |socket| {
        let mut reader = BufReader::new(socket);
        let mut line = String::new();
        while matches!(reader.read_line(&mut line), Ok(1..)) {
            if line == "\r\n" && (reader.get_mut().write_all(answer).is_err() || closes) {
                return;
            }
            line.clear();
        }
    })
}

/// Loads a server until this count is not 0 any more; gives the last span.
fn span_with(server: SocketAddr, count: &str, more: &[&str]) -> String {
    let name = format!("heads-{}-{}", std::process::id(), server.port());
    let heads = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::write(&heads, "GET / HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    let (target, heads_name) = (server.to_string(), heads.to_string_lossy().into_owned());
    let arguments =
        [&["--target", &target, "--heads", &heads_name, "--connections", "4", "--expect-bytes", "5"], more]
            .concat();
    let (_load, mut input, mut output) = start(env!("CARGO_BIN_EXE_load"), &arguments);
    let zero = format!("\"{count}\":0,");
    for _ in 0..SPANS_MAX {
        input.write_all(b"\n").unwrap();
        let mut span = String::new();
        output.read_line(&mut span).unwrap();
        assert!(span.contains(&format!("\"{count}\":")), "{span}");
        if !span.contains(&zero) {
            let _ = std::fs::remove_file(heads);
            return span;
        }
    }
    panic!("no {count} was seen");
}

const GOOD: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";

#[test]
fn the_load_counts_good_answers() {
    let none = "\"status\":0,\"length\":0,\"socket\":0,\"cut\":0,\"malformed\":0,\"stuck\":0";
    for (closes, more) in
        [(false, &[][..]), (true, &["--close"]), (false, &["--rate", "1000"]), (false, &["--once"])]
    {
        let span = span_with(answering(GOOD, closes), "answers", more);
        assert!(span.contains(none), "{more:?}: {span}");
    }
}

#[test]
fn the_load_finds_wrong_answers() {
    let bad: [(&'static [u8], bool, &str); 6] = [
        (b"HTTP/1.1 500 No\r\nContent-Length: 5\r\n\r\nhello", false, "status"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nhello!", false, "length"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhell\r\n0\r\n\r\n", false, "length"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhell", true, "cut"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello!", false, "malformed"),
        (b"hello\r\n\r\n", false, "malformed"),
    ];
    for (answer, closes, count) in bad {
        let span = span_with(answering(answer, closes), count, &[]);
        assert!(span.contains("\"answers\":0,"), "{span}");
    }
}

#[test]
fn the_load_finds_that_nobody_listens() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    drop(listener);
    assert!(span_with(addr, "socket", &[]).contains("\"answers\":0,"));
}
