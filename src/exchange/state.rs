//! The state of one exchange, and the questions that the worker asks of it between two steps.
//!
//! `next` names the next step, `apply` takes its outcome. The meaning of the octets is decided in `request`
//! (from the client), `response` (from the backend) and `ending` (failures, deadlines, Apex's own answers).

use super::body::Body;
use super::buffer::Buffers;
use super::flow::Flow;
use super::progress::Look;
use super::record::{Cause, Record};
use super::settings::{Env, Settings};
use super::step::{Readiness, Side};
use super::transitions::{Answer, Course, Stage};
use super::tries::{Tries, When};
use crate::base::Tick;
use crate::http::framing::Framing;
use crate::http::head::{Method, Persistence, Request, Version};
use crate::http::local_reply::LocalReply;
use crate::http::reply::Content;
use crate::route::endpoint::Try;
use crate::route::health::Failure;
use crate::route::policy::Policy;

/// The most octets of request content that are read and discarded after an early response to keep the
/// connection open.
pub(super) const DISCARD_BYTES_MAX: u64 = 256 * 1024;

/// The logged status of a request whose client closed the connection before a response began.
pub(super) const CLIENT_GONE: u16 = 499;

/// Sent if the pool has no endpoint that can be tried.
const NO_BACKEND: LocalReply = LocalReply { status: 503, reason: "no usable backend" };

/// The facts of the request that are needed after its head has been consumed.
#[derive(Debug, Clone, Copy)]
pub(super) struct RequestMeta {
    pub(super) method: Method,
    pub(super) version: Version,
    pub(super) expects_continue: bool,
    pub(super) upgrades: bool,
    /// The client sent `Connection: close` or its equivalent: no further request follows.
    pub(super) closes: bool,
    pub(super) body_bytes_max: u64,
}

impl RequestMeta {
    /// The facts of a request, without the limits of its route.
    pub(super) fn by(request: &Request<'_, '_>) -> Self {
        Self {
            method: request.method,
            version: request.version,
            expects_continue: request.expects_continue && request.framing != Framing::None,
            upgrades: request.upgrades,
            closes: request.persistence == Persistence::Close,
            body_bytes_max: u64::MAX,
        }
    }

    /// Whether the response carries content (RFC 9110 section 9.3.2).
    pub(super) fn content(&self) -> Content {
        if self.method == Method::Head { Content::HeadOnly } else { Content::Full }
    }

    /// The `Connection` option to send: `close` always, `keep-alive` only to an HTTP/1.0 client, whose
    /// default is to close (RFC 9112 section 9.3).
    pub(super) fn connection(&self, keeps: Persistence) -> Option<Persistence> {
        (keeps == Persistence::Close || self.version == Version::Http10).then_some(keeps)
    }
}

/// The request content that the client has sent since a point in time; each span of the timeout must bring a
/// minimum.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pace {
    pub(super) since: Tick,
    pub(super) bytes: u64,
}

/// One request and its response.
#[derive(Debug)]
pub struct Exchange {
    /// The stage and the connections; only its transitions change it.
    pub(super) course: Course,
    pub(super) request: Flow,
    pub(super) response: Flow,
    pub(super) meta: RequestMeta,
    /// The limits of the route; `None`: the server's.
    pub(super) policy: Option<Policy>,
    /// The response to send if no backend can be reached.
    pub(super) unreachable: LocalReply,
    /// Octets at the front of the buffer that are known to hold no complete head.
    pub(super) scanned: usize,
    /// Empty lines before the request, counted across idle periods of the connection.
    pub(super) empty_lines: u8,
    pub(super) interim_responses: u8,
    /// The failed tries.
    pub(super) tries: Tries,
    /// The failure of the endpoint that was asked last, if it is to blame.
    pub(super) failure: Option<Failure>,
    /// The time of the last progress.
    pub(super) active: Tick,
    /// What a peer with unsent octets had acknowledged; `None` while octets flow.
    pub(super) look: Option<Look>,
    /// The client's pace; `None` while Apex waits for the backend.
    pub(super) pace: Option<Pace>,
    pub(super) record: Record,
}

impl Default for Exchange {
    fn default() -> Self {
        Self::new()
    }
}

impl Exchange {
    /// An exchange whose request has not begun.
    pub fn new() -> Self {
        Self {
            course: Course::new(),
            request: Flow::new(),
            response: Flow::new(),
            meta: RequestMeta {
                method: Method::Other,
                version: Version::Http11,
                expects_continue: false,
                upgrades: false,
                closes: false,
                body_bytes_max: u64::MAX,
            },
            policy: None,
            unreachable: NO_BACKEND,
            scanned: 0,
            empty_lines: 0,
            interim_responses: 0,
            tries: Tries::default(),
            failure: None,
            active: Tick::default(),
            look: None,
            pace: None,
            record: Record::default(),
        }
    }

    /// Begins the next exchange on the same client connection. Octets that were already read are the start of
    /// its request and are parsed at once: call [`Exchange::next_step`] afterwards.
    pub fn renew(&mut self, env: &mut Env<'_>) {
        self.record.reclaim(env.buffers);
        // Content that no backend took must not be parsed as the next request.
        self.request.discard();
        let mut request = Flow::new();
        std::mem::swap(&mut request.incoming, &mut self.request.incoming);
        request.source = self.request.source;
        let mut response = Flow::new();
        response.sink = self.response.sink;
        self.request.reclaim(env.buffers);
        self.response.reclaim(env.buffers);
        *self = Self { request, response, ..Self::new() };
        self.active = env.now;
        if !self.request.incoming.is_empty() {
            self.record.begun = env.now;
            self.read_request_head(env);
        }
    }

    /// Resets to an exchange that has not begun, for another client; returns memory to the pool.
    pub fn reset(&mut self, buffers: &mut Buffers) {
        self.record.reclaim(buffers);
        self.request.reclaim(buffers);
        self.response.reclaim(buffers);
        *self = Self::new();
    }

    /// The limits that hold for the request.
    pub(super) fn policy<'a>(&'a self, settings: &'a Settings) -> &'a Policy {
        self.policy.as_ref().unwrap_or(&settings.policy)
    }

    pub(super) fn count_content(&mut self) {
        self.record.request_bytes = self.request.content_bytes;
        self.record.response_bytes = self.response.content_given();
    }

    /// The process exits now: notes it in the record. Returns true if that cuts a request or a response
    /// short.
    pub fn abort(&mut self) -> bool {
        let cuts = !self.is_at_rest() && self.course.stage() != Stage::Over;
        if cuts {
            self.record.cause = Cause::Cut("shutdown");
            self.count_content();
            if self.course.answer() != Answer::Begun {
                self.record.status = 503;
            }
        }
        cuts
    }

    /// Continues after an idle period of the client connection. `empty_lines`: the empty lines received
    /// before it.
    pub fn resume(&mut self, readiness: Readiness, empty_lines: u8) {
        self.empty_lines = empty_lines;
        self.ready(Side::Client, readiness);
    }

    /// Octets read from the client are discarded.
    pub fn throws_away(&self) -> bool {
        matches!(self.course.stage(), Stage::Discard | Stage::Linger { .. })
    }

    /// Valid at rest: empty lines received since the last request, to pass to [`Exchange::resume`].
    pub fn empty_lines(&self) -> u8 {
        self.empty_lines
    }

    /// No octet of a request has been received: the client connection is idle and needs no exchange.
    pub fn is_at_rest(&self) -> bool {
        self.course.stage() == Stage::Head && self.request.incoming.is_empty()
    }

    /// Valid with `Step::Finish`: no octet after the request is known of, so the connection can be idle until
    /// the next event.
    pub fn may_rest(&self) -> bool {
        self.request.incoming.is_empty() && !self.request.source.ready
    }

    /// The request head is incomplete, or has not begun.
    pub fn reads_head(&self) -> bool {
        self.course.stage() == Stage::Head
    }

    /// The facts for the access line and the counters.
    pub fn record(&self) -> &Record {
        &self.record
    }

    /// The response was long enough to be spliced through a pipe.
    pub fn had_bulk(&self) -> bool {
        self.response.spliced
    }

    /// The failed tries, in order. No endpoint is tried twice.
    pub fn tries(&self) -> &[Try] {
        self.tries.failed()
    }

    /// Valid with `Step::Release`: the endpoint's failure. `None`: it answered, or the end of the exchange is
    /// no evidence against it.
    pub fn failure(&self) -> Option<Failure> {
        self.failure
    }

    /// Valid with `Step::Finish`: the client connection must be closed by a reset, because a plain close
    /// would look like the end of the response, which was cut short (RFC 9112 section 8).
    pub fn ends_in_reset(&self) -> bool {
        self.course.ends_in_reset()
    }

    /// The readiness of the client's socket, to keep while the connection is idle without an exchange.
    pub fn client_readiness(&self) -> Readiness {
        Readiness {
            readable: self.request.source.ready,
            writable: self.response.sink.ready,
            read_closed: self.request.source.closing,
            gone: self.course.is_client_gone(),
        }
    }

    /// Records an event of that side's socket.
    pub fn ready(&mut self, side: Side, readiness: Readiness) {
        let (source, sink) = match side {
            Side::Client => (&mut self.request.source, &mut self.response.sink),
            Side::Backend => (&mut self.response.source, &mut self.request.sink),
        };
        // A peer that closed its sending side first resets the connection only in response to a write.
        source.reset |= readiness.gone && !source.closing;
        source.ready |= readiness.readable || readiness.read_closed || readiness.gone;
        source.closing |= readiness.read_closed || readiness.gone;
        sink.ready |= readiness.writable || readiness.gone;
        // After Apex has shut down its sending side, a plain close by the client looks the same as a reset:
        // read what the client sent before the close first.
        let may_be_half_closed = matches!(
            self.course.stage(),
            Stage::Tunnel { backend_done: true, .. } | Stage::Linger { half_closed: true }
        );
        if side == Side::Client && readiness.gone && !may_be_half_closed {
            self.course.lose_client();
        }
    }

    /// The memory that a `Step::Read` of `side` appends to; its spare capacity is the room to read into.
    pub fn incoming(&mut self, side: Side, buffers: &mut Buffers, settings: &Settings) -> &mut Vec<u8> {
        let len_max = settings.head.head_bytes_max + 1;
        match side {
            Side::Client => self.request.open_for_read(buffers, len_max),
            Side::Backend => self.response.open_for_read(buffers, len_max),
        }
    }

    /// The memory that a `Step::Write` to `side` sends, in order; pieces may be empty.
    pub fn outgoing(&self, side: Side) -> [&[u8]; 3] {
        match side {
            Side::Client => self.response.memory(),
            Side::Backend => self.request.memory(),
        }
    }

    /// Content was taken from that side since the last wait, or there is none.
    pub fn was_asked(&self, side: Side) -> bool {
        match side {
            Side::Client => self.request.was_asked(),
            Side::Backend => self.response.was_asked(),
        }
    }

    /// Called when a wait begins: the octets of that side to wait for, at first; `None` if Apex waits for the
    /// other side to take octets. `before`: the result for the previous wait.
    pub fn waits_for(&mut self, side: Side, before: usize) -> Option<usize> {
        match side {
            Side::Client => self.request.waits_for(before),
            Side::Backend => self.response.waits_for(before),
        }
    }

    /// A drain follows a `Step::Write` to that side at once, unless the source stalls.
    pub fn more_follows(&self, side: Side) -> bool {
        match side {
            Side::Client => self.response.more_follows(),
            Side::Backend => self.request.more_follows(),
        }
    }

    /// Octets that a `Step::Fill` from `side` may move, never 0.
    pub fn fill_max(&self, side: Side) -> usize {
        match side {
            Side::Client => self.request.fill_max(),
            Side::Backend => self.response.fill_max(),
        }
    }

    /// Octets that a `Step::Drain` to `side` may move, never 0.
    pub fn drain_max(&self, side: Side) -> usize {
        match side {
            Side::Client => self.response.piped(),
            Side::Backend => self.request.piped(),
        }
    }

    /// Returns unused memory to the pool. Called before a wait, so that an idle exchange holds none, and one
    /// with an incomplete head little.
    pub fn settle(&mut self, buffers: &mut Buffers) {
        self.request.settle(buffers);
        self.response.settle(buffers);
        // Thousands of clients may never finish their heads.
        if self.course.stage() == Stage::Head {
            self.request.incoming.shrink(buffers);
        }
        // Thousands of tunnels may carry little.
        if matches!(self.course.stage(), Stage::Tunnel { .. }) {
            self.record.shrink(buffers);
        }
    }

    /// The whole request was written to the backend.
    pub(super) fn is_request_delivered(&self) -> bool {
        self.request.is_delivered() && !self.course.is_request_aborted()
    }

    /// The whole response was read from the backend.
    pub(super) fn is_response_read(&self) -> bool {
        self.course.answer() == Answer::Begun && self.response.body == Body::Done
    }

    /// Blames the endpoint that was asked last.
    pub(super) fn blame(&mut self, failure: Failure, when: When) {
        self.failure = Some(failure);
        if let Some(asked) = self.record.asked {
            self.tries.note(asked, failure, when);
        }
    }
}
