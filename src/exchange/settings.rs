//! What an exchange is given from outside: the settings that hold for it, and with each call the time, the table and the pool
//! of buffers.

use super::buffer::Buffers;
use crate::base::{Random, Tick};
use crate::http::limits::HeadLimits;
use crate::route::policy::Policy;
use crate::route::table::Table;
use std::time::Duration;

/// The settings of one table version, as exchanges need them.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Limits of heads and trailer sections.
    pub head: HeadLimits,
    /// The whole head of a request, from its first byte.
    pub header_timeout: Duration,
    /// Limits and timeouts of a request whose route sets none.
    pub policy: Policy,
    /// The name by which Apex adds itself to Via, if it does.
    pub via: Option<String>,
    /// Whether each request has an X-Request-Id.
    pub request_ids: RequestIds,
    /// Whether the parts of an access line are noted.
    pub access_log: AccessLog,
}

/// Whether each request has an X-Request-Id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RequestIds {
    /// One is made where none that is believed came.
    Made,
    /// What came is passed on.
    Passed,
}

/// Whether an exchange notes what an access line is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AccessLog {
    /// Request line, referer and user agent are kept until the end.
    On,
    /// No line will be written.
    Off,
}

/// Whether new exchanges are welcome on a connection behind the one under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Serving {
    /// Connections persist.
    On,
    /// The process is leaving: every response says `Connection: close`.
    Leaving,
    /// There are more clients than allowed: this one is told so.
    Full,
}

/// What comes with every call.
#[derive(Debug)]
pub struct Env<'a> {
    /// Now.
    pub now: Tick,
    /// Now as an IMF-fixdate (RFC 9110 section 5.6.7).
    pub date: &'a str,
    /// The table that routes this exchange, the same for all of it.
    pub table: &'a Table,
    /// The settings that came with that table.
    pub settings: &'a Settings,
    /// The worker's buffers.
    pub buffers: &'a mut Buffers,
    /// The worker's random numbers.
    pub random: &'a mut Random,
    /// The client's address as text; none of a client of a Unix socket.
    pub client: Option<&'a [u8]>,
    /// Whether the client's own X-Forwarded-* are believed.
    pub client_trusted: bool,
    /// Whether the process is leaving.
    pub serving: Serving,
}
