//! The inputs of an exchange: its settings and, with each call, the time, the route table and the buffer
//! pool.

use super::buffer::Buffers;
use crate::base::{Random, Tick};
use crate::http::limits::HeadLimits;
use crate::route::policy::Policy;
use crate::route::table::Table;
use std::time::Duration;

/// The settings of one configuration snapshot that exchanges use.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Limits of heads and trailer sections.
    pub head: HeadLimits,
    /// The time for a whole request head, from its first octet.
    pub header_timeout: Duration,
    /// Limits and timeouts of a request whose route sets none.
    pub policy: Policy,
    /// The name that Apex adds to `Via`; `None`: it adds none.
    pub via: Option<String>,
    /// Whether requests carry an X-Request-Id.
    pub request_ids: RequestIds,
    /// Whether exchanges keep the parts of an access log line.
    pub access_log: AccessLog,
}

/// Whether requests carry an X-Request-Id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RequestIds {
    /// Apex generates one, unless a trusted client sent one.
    Made,
    /// A received one is passed on; none is generated.
    Passed,
}

/// Whether an exchange keeps the parts of an access log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AccessLog {
    /// Request line, referer and user agent are kept until the end.
    On,
    /// No line will be written.
    Off,
}

/// Whether a connection may persist after the exchange under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Serving {
    /// Connections persist.
    On,
    /// The process is leaving: every response says `Connection: close`.
    Leaving,
    /// There are more clients than allowed: this client is answered so.
    Full,
}

/// The environment of each call.
#[derive(Debug)]
pub struct Env<'a> {
    /// The current time.
    pub now: Tick,
    /// The current time as an IMF-fixdate (RFC 9110 section 5.6.7).
    pub date: &'a str,
    /// The table that routes this exchange; the same during the whole exchange.
    pub table: &'a Table,
    /// The settings of the snapshot that the table belongs to.
    pub settings: &'a Settings,
    /// The worker's buffers.
    pub buffers: &'a mut Buffers,
    /// The worker's random numbers.
    pub random: &'a mut Random,
    /// The client's address as text; `None` for a client of a Unix socket.
    pub client: Option<&'a [u8]>,
    /// Whether the client's own X-Forwarded-* fields are trusted.
    pub client_trusted: bool,
    /// Whether connections may persist.
    pub serving: Serving,
}
