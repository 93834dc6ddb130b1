//! The account of an exchange at its end: the facts for its access log line and the counters.

use super::buffer::{Buffers, SMALL_BYTES};
use super::step::Asked;
use crate::base::Tick;
use crate::http::head::Request;
use crate::route::table::RouteId;

/// The longest request line, referer or user agent that is kept, in octets; the log is no place for longer
/// ones.
const NOTE_BYTES_MAX: usize = 4 * 1024;

/// Room for what is kept besides those: spaces, the version, and a request id as Apex generates it.
const LINE_SPARE_BYTES: usize = 64;

/// Why the exchange ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Cause {
    /// The backend's response was passed on completely.
    #[default]
    Backend,
    /// Apex answered itself; the case in a few words.
    Apex(&'static str),
    /// The exchange was cut short; by whom.
    Cut(&'static str),
}

impl Cause {
    /// The text for the access log line.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Backend => "-",
            Self::Apex(case) | Self::Cut(case) => case,
        }
    }
}

/// The account of one exchange.
#[derive(Debug, Default)]
pub struct Record {
    /// When the first octet of the head was read.
    pub begun: Tick,
    /// When the head was complete.
    pub head_read: Option<Tick>,
    /// When the first octets were written to a backend.
    pub connected: Option<Tick>,
    /// When the head of the response was read.
    pub answered: Option<Tick>,
    /// The status sent; 499 if the client closed the connection first; 0 if there was no exchange.
    pub status: u16,
    /// Octets of content taken from the client.
    pub request_bytes: u64,
    /// Octets of content given to the client.
    pub response_bytes: u64,
    /// The route that matched.
    pub route: Option<RouteId>,
    /// The endpoint that was asked last.
    pub asked: Option<Asked>,
    /// The number of backend connections tried after the first one.
    pub retries: u32,
    /// Why the exchange ended.
    pub cause: Cause,
    access_log: Vec<u8>,
    line_end: usize,
    referer_end: usize,
    agent_end: usize,
}

impl Record {
    /// Keeps the parts of the access log line while the head is in memory.
    pub(super) fn note(&mut self, request: &Request<'_, '_>, buffers: &mut Buffers) {
        let noted = |part: &'_ [u8]| part.len().min(NOTE_BYTES_MAX);
        let line = [request.method_text.as_bytes(), request.target_text];
        let [referer, agent] = ["referer", "user-agent"].map(|name| request.field(name).unwrap_or_default());
        let parts_bytes = noted(line[0]) + noted(line[1]) + noted(referer) + noted(agent);
        let mut access_log = buffers.take_for(parts_bytes + LINE_SPARE_BYTES);
        for part in line {
            access_log.extend_from_slice(&part[..noted(part)]);
            access_log.push(b' ');
        }
        access_log.extend_from_slice(request.version.as_str().as_bytes());
        self.line_end = access_log.len();
        access_log.extend_from_slice(&referer[..noted(referer)]);
        self.referer_end = access_log.len();
        access_log.extend_from_slice(&agent[..noted(agent)]);
        self.agent_end = access_log.len();
        self.access_log = access_log;
    }

    /// Keeps the first line of a head that could not be parsed.
    pub(super) fn note_unread(&mut self, bytes: &[u8], buffers: &mut Buffers) {
        let line_end = bytes.iter().position(|&byte| matches!(byte, b'\r' | b'\n')).unwrap_or(bytes.len());
        let line_end = line_end.min(NOTE_BYTES_MAX);
        let mut access_log = buffers.take_for(line_end);
        access_log.extend_from_slice(&bytes[..line_end]);
        self.line_end = access_log.len();
        self.referer_end = access_log.len();
        self.agent_end = access_log.len();
        self.access_log = access_log;
    }

    /// Keeps the request id; called after [`Record::note`].
    pub(super) fn note_request_id(&mut self, id: &[u8]) {
        self.access_log.extend_from_slice(&id[..id.len().min(NOTE_BYTES_MAX)]);
    }

    /// The request line as received.
    pub fn request_line(&self) -> &[u8] {
        &self.access_log[..self.line_end]
    }

    /// `Referer`; empty if there is none.
    pub fn referer(&self) -> &[u8] {
        &self.access_log[self.line_end..self.referer_end]
    }

    /// `User-Agent`; empty if there is none.
    pub fn user_agent(&self) -> &[u8] {
        &self.access_log[self.referer_end..self.agent_end]
    }

    /// `X-Request-Id` as sent to the backend; empty if there is none.
    pub fn request_id(&self) -> &[u8] {
        &self.access_log[self.agent_end..]
    }

    /// Shrinks the memory of what is kept to its length: the exchange may last long.
    pub(super) fn shrink(&mut self, buffers: &mut Buffers) {
        if self.access_log.capacity() >= SMALL_BYTES.max(2 * self.access_log.len()) {
            let noted = self.access_log.as_slice().to_vec();
            buffers.give(std::mem::replace(&mut self.access_log, noted));
        }
    }

    /// Returns its memory to the pool.
    pub(super) fn reclaim(&mut self, buffers: &mut Buffers) {
        if self.access_log.capacity() > 0 {
            buffers.give(std::mem::take(&mut self.access_log));
        }
    }
}
