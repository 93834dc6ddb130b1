//! One end of a connection. Unlike the reader of the other tests it panics at nothing: what goes wrong is counted.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// The longest wait for anything.
const PATIENCE: Duration = Duration::from_secs(20);

/// One end of a connection.
pub struct Peer {
    socket: TcpStream,
    /// Read, but not taken yet.
    buffer: Vec<u8>,
}

/// A message head.
#[derive(Debug)]
pub struct Head {
    pub start: String,
    fields: Vec<(String, String)>,
}

impl Head {
    pub fn field(&self, name: &str) -> Option<&str> {
        let is_it = |field: &&(String, String)| field.0.eq_ignore_ascii_case(name);
        self.fields.iter().find(is_it).map(|field| field.1.as_str())
    }

    /// A field that is a number behind some letters.
    pub fn number(&self, name: &str) -> Option<usize> {
        self.field(name)?.trim_start_matches(|c: char| !c.is_ascii_digit()).parse().ok()
    }

    pub fn status(&self) -> u16 {
        self.start.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or(0)
    }
}

fn broken(words: impl Into<String>) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, words.into())
}

impl Peer {
    pub fn connect(addr: SocketAddr) -> io::Result<Self> {
        Self::new(TcpStream::connect_timeout(&addr, PATIENCE)?)
    }

    pub fn new(socket: TcpStream) -> io::Result<Self> {
        socket.set_nodelay(true)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        socket.set_write_timeout(Some(PATIENCE))?;
        Ok(Self { socket, buffer: Vec::new() })
    }

    pub fn socket(&self) -> &TcpStream {
        &self.socket
    }

    pub fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.socket.write_all(bytes)
    }

    /// Is it open, with nothing sent that was not asked for?
    pub fn is_quiet(&self) -> io::Result<bool> {
        self.socket.set_nonblocking(true)?;
        let peeked = self.socket.peek(&mut [0]);
        self.socket.set_nonblocking(false)?;
        Ok(peeked.is_err_and(|error| error.kind() == ErrorKind::WouldBlock))
    }

    /// Reads a head; `None`: the connection ended, and not a byte had come.
    pub fn head(&mut self) -> io::Result<Option<Head>> {
        let Some(raw) = self.through(b"\r\n\r\n")? else { return Ok(None) };
        let text = String::from_utf8(raw).map_err(|_| broken("a head is not UTF-8"))?;
        let mut lines = text.trim_end().split("\r\n");
        let start = lines.next().unwrap_or_default().to_owned();
        let field = |line: &str| {
            let (name, value) = line.split_once(':')?;
            Some((name.to_owned(), value.trim().to_owned()))
        };
        let fields = lines.map(field).collect::<Option<_>>().ok_or_else(|| broken(text.clone()))?;
        Ok(Some(Head { start, fields }))
    }

    /// Reads the content that follows a head with a framing; without one there is none.
    pub fn content(&mut self, head: &Head) -> io::Result<Vec<u8>> {
        if head.field("Transfer-Encoding").is_some() {
            return self.chunks();
        }
        let octets = head.field("Content-Length").map_or(Ok(0), str::parse);
        self.exactly(octets.map_err(|_| broken("Content-Length"))?)
    }

    fn chunks(&mut self) -> io::Result<Vec<u8>> {
        let mut content = Vec::new();
        loop {
            let line = self.through(b"\r\n")?.ok_or(ErrorKind::UnexpectedEof)?;
            let digits = String::from_utf8_lossy(&line);
            let octets = usize::from_str_radix(digits.trim_end(), 16).map_err(|_| broken(digits.clone()))?;
            content.extend(self.exactly(octets)?);
            if self.exactly(2)? != b"\r\n" {
                return Err(broken("behind a chunk"));
            }
            if octets == 0 {
                return Ok(content);
            }
        }
    }

    pub fn exactly(&mut self, octets: usize) -> io::Result<Vec<u8>> {
        while self.buffer.len() < octets {
            if self.read()? == 0 {
                return Err(ErrorKind::UnexpectedEof.into());
            }
        }
        let rest = self.buffer.split_off(octets);
        Ok(std::mem::replace(&mut self.buffer, rest))
    }

    /// Takes all bytes through the first `mark`; `None`: the connection ended, and not a byte had come.
    fn through(&mut self, mark: &[u8]) -> io::Result<Option<Vec<u8>>> {
        loop {
            if let Some(at) = self.buffer.windows(mark.len()).position(|window| window == mark) {
                return self.exactly(at + mark.len()).map(Some);
            }
            if self.read()? == 0 {
                return if self.buffer.is_empty() { Ok(None) } else { Err(ErrorKind::UnexpectedEof.into()) };
            }
        }
    }

    /// What is there, at least an octet; nothing: the connection ended.
    pub fn some(&mut self) -> io::Result<Vec<u8>> {
        if self.buffer.is_empty() {
            self.read()?;
        }
        Ok(std::mem::take(&mut self.buffer))
    }

    fn read(&mut self) -> io::Result<usize> {
        let mut room = [0; 16 * 1024];
        loop {
            match self.socket.read(&mut room) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
                Ok(count) => {
                    self.buffer.extend_from_slice(&room[..count]);
                    return Ok(count);
                }
            }
        }
    }
}
