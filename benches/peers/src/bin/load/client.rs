//! One client connection of the load: the calls on its socket. When it sends what, and what is counted, is the loop's.

use apex_peers::answer::{Answer, Reader, Seen};
use apex_peers::socket;
use rustix::event::epoll::EventFlags;
use rustix::fd::OwnedFd;
use rustix::io::{Errno, read, write};
use rustix::net::{RecvFlags, recv};
use std::net::SocketAddr;
use std::time::Instant;

/// From so many octets of plain content on they are dropped in the kernel, uncopied: the load shares a core with the backend.
const SKIP_BYTES_MIN: u64 = 16 * 1024;

/// Where a client stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    /// It has nothing to do.
    Resting,
    /// It sends a message; so many of its octets are gone.
    Asking { message: usize, sent: usize },
    /// It waits for the rest of the answer.
    Answering,
    /// The answer is whole; the server closes.
    Closing,
}

/// How an exchange went wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The system or the peer refused: not connected, reset.
    Socket,
    /// The connection ended within an exchange.
    Cut,
    /// No answer that can be read, or octets behind it.
    Malformed,
}

/// What came of reading.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum News {
    /// Nothing whole yet.
    Nothing,
    /// A whole answer.
    Answer(Answer),
    /// The end of the connection, where it may be.
    End,
}

/// One connection, or the place for one.
#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) state: State,
    /// When its request was sent, or was to be sent.
    pub(crate) begun: Instant,
    socket: Option<OwnedFd>,
    reader: Reader,
    readable: bool,
    writable: bool,
    hung_up: bool,
}

impl Client {
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            state: State::Resting,
            begun: now,
            socket: None,
            reader: Reader::default(),
            readable: false,
            writable: false,
            hung_up: false,
        }
    }

    /// The socket of a new connection, to be registered; `None` where it has one already.
    pub(crate) fn open(&mut self, target: SocketAddr) -> Result<Option<&OwnedFd>, Fault> {
        if self.socket.is_some() {
            return Ok(None);
        }
        self.reader = Reader::default();
        (self.readable, self.writable, self.hung_up) = (false, false, false);
        let socket = socket::connect(target).map_err(|_| Fault::Socket)?;
        Ok(Some(self.socket.insert(socket)))
    }

    /// Drops the connection.
    pub(crate) fn close(&mut self) {
        self.socket = None;
        self.state = State::Resting;
    }

    pub(crate) fn mark(&mut self, flags: EventFlags) {
        let over = flags.intersects(EventFlags::RDHUP | EventFlags::HUP | EventFlags::ERR);
        self.hung_up |= over;
        self.readable |= over || flags.contains(EventFlags::IN);
        self.writable |= over || flags.contains(EventFlags::OUT);
    }

    /// Sends what is left of its message, as far as the kernel takes it.
    pub(crate) fn send(&mut self, messages: &[Vec<u8>]) -> Result<(), Fault> {
        let Some(socket) = &self.socket else { return Ok(()) };
        while let State::Asking { message, sent } = self.state {
            if !self.writable {
                break;
            }
            let rest = &messages[message][sent..];
            match write(socket, rest) {
                Ok(count) if count == rest.len() => self.state = State::Answering,
                Ok(count) => {
                    // A short write found the socket full: an edge comes.
                    self.writable = false;
                    self.state = State::Asking { message, sent: sent + count };
                }
                Err(Errno::AGAIN) => self.writable = false,
                Err(Errno::INTR) => {}
                Err(_) => return Err(Fault::Socket),
            }
        }
        Ok(())
    }

    /// Reads until there is something to tell, or nothing more to read.
    pub(crate) fn receive(&mut self, buffer: &mut [u8], seen: &mut Seen) -> Result<News, Fault> {
        let Some(socket) = &self.socket else { return Ok(News::Nothing) };
        while self.readable {
            let skippable = self.reader.skippable();
            let skips = skippable >= SKIP_BYTES_MIN;
            let room = buffer.len().min(usize::try_from(skippable).unwrap_or(usize::MAX));
            let received = if skips {
                recv(socket, &mut buffer[..room], RecvFlags::TRUNC).map(|(_, count)| count)
            } else {
                read(socket, &mut *buffer)
            };
            let count = match received {
                Ok(count) => count,
                Err(Errno::AGAIN) => {
                    self.readable = false;
                    break;
                }
                Err(Errno::INTR) => continue,
                Err(_) => return Err(Fault::Socket),
            };
            if count == 0 {
                return if self.reader.is_fresh() && matches!(self.state, State::Resting | State::Closing) {
                    Ok(News::End)
                } else {
                    Err(Fault::Cut)
                };
            }
            self.readable = self.hung_up || count == if skips { room } else { buffer.len() };
            if skips {
                self.reader.skipped(count as u64);
                continue;
            }
            match self.reader.take(&buffer[..count], seen) {
                // An answer to a request that is not wholly sent, or to none, or with octets behind it, is none.
                Ok((used, Some(answer))) if used == count && self.state == State::Answering => {
                    return Ok(News::Answer(answer));
                }
                Ok((_, None)) if matches!(self.state, State::Answering | State::Asking { .. }) => {}
                _ => return Err(Fault::Malformed),
            }
        }
        Ok(News::Nothing)
    }
}
