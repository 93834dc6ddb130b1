//! What is known of an exchange at its end: the facts of its access line and of the counters.

use super::buffer::Buffers;
use super::step::Asked;
use crate::base::Tick;
use crate::http::head::Request;
use crate::route::table::RouteId;

/// The longest request line, referer or user agent that is noted; a line of the log is not the place for more.
const NOTE_BYTES_MAX: usize = 4 * 1024;

/// Where the status, or the end, of an exchange came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Cause {
    /// The backend: its response was passed on whole.
    #[default]
    Backend,
    /// Apex answered by itself; the case in a few words.
    Apex(&'static str),
    /// It ended short; whose doing that was.
    Cut(&'static str),
}

impl Cause {
    /// As the access line has it.
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
    /// When the first byte of the head was read.
    pub begun: Tick,
    /// When the head was complete.
    pub head_read: Option<Tick>,
    /// When the first octets went to a backend.
    pub connected: Option<Tick>,
    /// When the head of the response was read.
    pub answered: Option<Tick>,
    /// The status sent; 499 where the client was gone first; 0 where there was no exchange to speak of.
    pub status: u16,
    /// Octets of content taken from the client.
    pub request_bytes: u64,
    /// Octets of content given to the client.
    pub response_bytes: u64,
    /// The route that took it.
    pub route: Option<RouteId>,
    /// The endpoint that was asked last.
    pub asked: Option<Asked>,
    /// Backend connections that were tried after the first one.
    pub retries: u32,
    /// Where the status or the cut came from.
    pub cause: Cause,
    access_log: Vec<u8>,
    line_end: usize,
    referer_end: usize,
    agent_end: usize,
}

impl Record {
    /// Notes the parts of the access line while the head is there.
    pub(super) fn note(&mut self, request: &Request<'_, '_>, buffers: &mut Buffers) {
        let mut access_log = buffers.take();
        let line = [request.method_text.as_bytes(), request.target_text];
        for part in line {
            access_log.extend_from_slice(&part[..part.len().min(NOTE_BYTES_MAX)]);
            access_log.push(b' ');
        }
        access_log.extend_from_slice(request.version.as_str().as_bytes());
        self.line_end = access_log.len();
        for field in request.fields {
            if field.name.eq_ignore_ascii_case("referer") {
                access_log.extend_from_slice(&field.value[..field.value.len().min(NOTE_BYTES_MAX)]);
                break;
            }
        }
        self.referer_end = access_log.len();
        if let Some(agent) = request.field("user-agent") {
            access_log.extend_from_slice(&agent[..agent.len().min(NOTE_BYTES_MAX)]);
        }
        self.agent_end = access_log.len();
        self.access_log = access_log;
    }

    /// Notes the first line of a head that could not be read.
    pub(super) fn note_unread(&mut self, bytes: &[u8], buffers: &mut Buffers) {
        let line_end = bytes.iter().position(|&byte| matches!(byte, b'\r' | b'\n')).unwrap_or(bytes.len());
        let mut access_log = buffers.take();
        access_log.extend_from_slice(&bytes[..line_end.min(NOTE_BYTES_MAX)]);
        self.line_end = access_log.len();
        self.referer_end = access_log.len();
        self.agent_end = access_log.len();
        self.access_log = access_log;
    }

    /// Notes the name of the request; behind [`Record::note`].
    pub(super) fn note_request_id(&mut self, id: &[u8]) {
        self.access_log.extend_from_slice(&id[..id.len().min(NOTE_BYTES_MAX)]);
    }

    /// The request line as it came.
    pub fn request_line(&self) -> &[u8] {
        &self.access_log[..self.line_end]
    }

    /// `Referer`; empty: none.
    pub fn referer(&self) -> &[u8] {
        &self.access_log[self.line_end..self.referer_end]
    }

    /// `User-Agent`; empty: none.
    pub fn user_agent(&self) -> &[u8] {
        &self.access_log[self.referer_end..self.agent_end]
    }

    /// `X-Request-Id` as the backend was given it; empty: none.
    pub fn request_id(&self) -> &[u8] {
        &self.access_log[self.agent_end..]
    }

    /// Gives its memory back to the pool.
    pub(super) fn reclaim(&mut self, buffers: &mut Buffers) {
        if self.access_log.capacity() > 0 {
            buffers.give(std::mem::take(&mut self.access_log));
        }
    }
}
