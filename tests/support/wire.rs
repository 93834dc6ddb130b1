//! One end of a connection: octets sent unchanged, messages read under a deadline. An independent parser, so
//! that the code under test does not judge itself; it accepts only exact syntax.

use super::SOON;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

/// One end of a connection.
pub struct Wire {
    socket: TcpStream,
    /// Octets read, but not taken yet.
    buffer: Vec<u8>,
}

/// A message head.
#[derive(Debug, Clone)]
pub struct Head {
    /// Octet by octet, through the empty line.
    pub raw: Vec<u8>,
    /// The start line.
    pub start: String,
    /// Name and value of each field line, in order.
    pub fields: Vec<(String, String)>,
}

/// A message as read.
#[derive(Debug, Clone)]
pub struct Message {
    pub head: Head,
    pub content: Vec<u8>,
    /// Field lines after the last chunk.
    pub trailers: Vec<(String, String)>,
    pub end: End,
}

/// How the content of a message ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// As its framing requires, or there was no content.
    Whole,
    /// The connection ended before the end that the framing requires.
    Cut,
    /// The close was the framing.
    Closed,
}

/// The result of a read.
enum Got {
    Bytes,
    Closed,
}

impl Head {
    fn parse(raw: Vec<u8>) -> Self {
        // obs-text is kept as Latin-1, octet by octet.
        let text: String = raw.iter().map(|&octet| char::from(octet)).collect();
        let mut lines = text.strip_suffix("\r\n\r\n").unwrap().split("\r\n");
        let start = lines.next().unwrap().to_owned();
        let fields = lines.map(split_field).collect();
        Self { raw, start, fields }
    }

    /// The status of a response.
    pub fn status(&self) -> u16 {
        self.start
            .split(' ')
            .nth(1)
            .and_then(|code| code.parse().ok())
            .unwrap_or_else(|| panic!("{}", self.start))
    }

    /// The value of the only field of that name; `None` if there is none.
    pub fn field(&self, name: &str) -> Option<&str> {
        let all = self.all(name);
        assert!(all.len() < 2, "{name} is repeated: {all:?}");
        all.first().copied()
    }

    /// The values of all fields of that name.
    pub fn all(&self, name: &str) -> Vec<&str> {
        let fields = self.fields.iter().filter(|field| field.0.eq_ignore_ascii_case(name));
        fields.map(|field| field.1.as_str()).collect()
    }

    fn is_chunked(&self) -> bool {
        self.field("Transfer-Encoding").is_some_and(|coding| coding.eq_ignore_ascii_case("chunked"))
    }
}

impl Message {
    pub fn status(&self) -> u16 {
        self.head.status()
    }

    pub fn field(&self, name: &str) -> Option<&str> {
        self.head.field(name)
    }

    /// The content as text.
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.content).unwrap()
    }
}

/// A connection to a Unix socket, read and written like any other.
pub fn unix_stream(path: &Path) -> io::Result<TcpStream> {
    UnixStream::connect(path).map(|stream| OwnedFd::from(stream).into())
}

impl Wire {
    pub fn new(socket: TcpStream) -> Self {
        // A Unix socket has no such option.
        let _ = socket.set_nodelay(true);
        socket.set_write_timeout(Some(SOON)).unwrap();
        Self { socket, buffer: Vec::new() }
    }

    pub fn connect(addr: SocketAddr) -> Self {
        Self::new(TcpStream::connect_timeout(&addr, SOON).unwrap())
    }

    /// A connection to a Unix socket.
    pub fn unix(path: &Path) -> Self {
        Self::new(unix_stream(path).unwrap())
    }

    pub fn socket(&self) -> &TcpStream {
        &self.socket
    }

    /// Sends octets unchanged.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.socket.write_all(bytes.as_ref()).unwrap();
    }

    /// Sends octets to a peer that may be gone; returns whether that succeeded.
    pub fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        self.socket.write_all(bytes.as_ref()).is_ok()
    }

    /// Shuts down the sending side.
    pub fn finish(&mut self) {
        self.socket.shutdown(Shutdown::Write).unwrap();
    }

    /// Closes the connection by a reset.
    pub fn reset(self) {
        rustix::net::sockopt::set_socket_linger(&self.socket, Some(Duration::ZERO)).unwrap();
    }

    /// Sends a request (complete, not HEAD) and reads its response.
    pub fn ask(&mut self, request: impl AsRef<[u8]>) -> Message {
        self.send(request);
        self.response()
    }

    /// Reads a response to any method but HEAD.
    pub fn response(&mut self) -> Message {
        let head = self.head();
        self.behind(head)
    }

    /// Reads what follows the head of a response to any method but HEAD.
    pub fn behind(&mut self, head: Head) -> Message {
        let is_bare = matches!(head.status(), 100..200 | 204 | 304);
        if is_bare { Message::bare(head) } else { self.content(head, End::Closed) }
    }

    /// Reads a response to HEAD.
    pub fn bare_response(&mut self) -> Message {
        Message::bare(self.head())
    }

    /// Reads a request with its content.
    pub fn request(&mut self) -> Message {
        let head = self.head();
        self.content(head, End::Whole)
    }

    /// Reads a request; `None`: the connection ended instead.
    pub fn try_request(&mut self) -> Option<Message> {
        self.try_head().map(|head| self.content(head, End::Whole))
    }

    /// Reads a head.
    pub fn head(&mut self) -> Head {
        self.try_head().expect("the connection ended where a head should have come")
    }

    /// Reads a head; `None`: the connection ended before its first octet.
    pub fn try_head(&mut self) -> Option<Head> {
        match self.take_through(b"\r\n\r\n") {
            Some(raw) => Some(Head::parse(raw)),
            None if self.buffer.is_empty() => None,
            None => panic!("half a head: {}", self.buffer.escape_ascii()),
        }
    }

    /// Reads exactly `count` octets.
    pub fn take(&mut self, count: usize) -> Vec<u8> {
        while self.buffer.len() < count {
            if let Got::Closed = self.read() {
                panic!("{} of {count} bytes: {}", self.buffer.len(), self.buffer.escape_ascii());
            }
        }
        self.buffer.drain(..count).collect()
    }

    /// Reads what is available, at least one octet; empty: the connection ended.
    pub fn some(&mut self) -> Vec<u8> {
        if self.buffer.is_empty() {
            self.read();
        }
        std::mem::take(&mut self.buffer)
    }

    /// Reads to the end of the connection.
    pub fn rest(&mut self) -> Vec<u8> {
        while let Got::Bytes = self.read() {}
        std::mem::take(&mut self.buffer)
    }

    /// Waits for the end of the connection; fails if an octet comes before it.
    pub fn expect_end(&mut self) {
        let rest = self.rest();
        assert!(rest.is_empty(), "instead of an end: {}", rest.escape_ascii());
    }

    /// Watches the connection for a while; fails if an octet or the end comes.
    pub fn expect_silence(&mut self, wait: Duration) {
        assert!(!self.has_more_within(wait), "instead of silence: {}", self.some().escape_ascii());
    }

    /// Waits for octets or the end of the connection; returns whether either came.
    pub fn has_more_within(&self, wait: Duration) -> bool {
        if !self.buffer.is_empty() {
            return true;
        }
        self.socket.set_read_timeout(Some(wait)).unwrap();
        match self.socket.peek(&mut [0]) {
            Err(error) => !matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut),
            Ok(_) => true,
        }
    }

    fn content(&mut self, head: Head, without_framing: End) -> Message {
        let mut message = Message { head, content: Vec::new(), trailers: Vec::new(), end: End::Whole };
        if message.head.is_chunked() {
            assert_eq!(message.field("Content-Length"), None, "two framings");
            message.end = self.chunks(&mut message).map_or(End::Cut, |()| End::Whole);
        } else if let Some(octets) = message.field("Content-Length") {
            let octets: usize = octets.parse().unwrap();
            while self.buffer.len() < octets && matches!(self.read(), Got::Bytes) {}
            let count = octets.min(self.buffer.len());
            message.end = if count < octets { End::Cut } else { End::Whole };
            message.content = self.buffer.drain(..count).collect();
        } else if without_framing == End::Closed {
            message.end = End::Closed;
            message.content = self.rest();
        }
        message
    }

    fn chunks(&mut self, message: &mut Message) -> Option<()> {
        loop {
            let line = self.take_through(b"\r\n")?;
            let digits = std::str::from_utf8(&line).unwrap().trim_end();
            let size = usize::from_str_radix(digits, 16).unwrap_or_else(|_| panic!("size line {digits:?}"));
            if size == 0 {
                break;
            }
            while self.buffer.len() < size + 2 {
                if let Got::Closed = self.read() {
                    let count = size.min(self.buffer.len());
                    message.content.extend(self.buffer.drain(..count));
                    return None;
                }
            }
            message.content.extend(self.buffer.drain(..size));
            assert_eq!(self.buffer.drain(..2).collect::<Vec<_>>(), b"\r\n", "behind a chunk");
        }
        loop {
            let line = String::from_utf8(self.take_through(b"\r\n")?).unwrap();
            match line.trim_end() {
                "" => return Some(()),
                line => message.trailers.push(split_field(line)),
            }
        }
    }

    /// Takes all octets through the first `mark`; `None`: the connection ended before it.
    fn take_through(&mut self, mark: &[u8]) -> Option<Vec<u8>> {
        let mut from = 0;
        loop {
            let found = self.buffer[from..].windows(mark.len()).position(|window| window == mark);
            if let Some(at) = found {
                return Some(self.buffer.drain(..from + at + mark.len()).collect());
            }
            from = self.buffer.len().saturating_sub(mark.len() - 1);
            if let Got::Closed = self.read() {
                return None;
            }
        }
    }

    /// Reads once. A reset counts as an end: the promised octets did not come, which is what the tests check.
    fn read(&mut self) -> Got {
        self.socket.set_read_timeout(Some(SOON)).unwrap();
        let began = Instant::now();
        let mut room = [0; 16 * 1024];
        match self.socket.read(&mut room) {
            Ok(0) => Got::Closed,
            Ok(count) => {
                self.buffer.extend_from_slice(&room[..count]);
                Got::Bytes
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => self.read(),
            Err(error) if matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe) => {
                Got::Closed
            }
            Err(error) => {
                panic!(
                    "nothing came for {:?}: {error}; so far: {}",
                    began.elapsed(),
                    self.buffer.escape_ascii()
                )
            }
        }
    }
}

impl Message {
    fn bare(head: Head) -> Self {
        Self { head, content: Vec::new(), trailers: Vec::new(), end: End::Whole }
    }
}

fn split_field(line: &str) -> (String, String) {
    let (name, value) =
        line.split_once(": ").or_else(|| line.split_once(':')).unwrap_or_else(|| panic!("{line:?}"));
    (name.to_owned(), value.to_owned())
}
