//! What is known of one exchange: its states, its facts, and what the worker asks of it between two steps.
//!
//! `next` says the next step, `apply` takes its outcome; what the bytes mean is decided in `request` (what the client sent),
//! `response` (what the backend sent) and `ending` (failures, deadlines, answers of Apex's own).

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

/// The longest rest of a request that is read to its end behind an early response, so that the connection goes on.
pub(super) const DISCARD_BYTES_MAX: u64 = 256 * 1024;

/// The status in the log where a client was gone before it was answered.
pub(super) const CLIENT_GONE: u16 = 499;

/// No endpoint of the pool can be tried.
const NO_BACKEND: LocalReply = LocalReply { status: 503, reason: "no usable backend" };

/// What the request asked for, kept while its head is gone.
#[derive(Debug, Clone, Copy)]
pub(super) struct RequestMeta {
    pub(super) method: Method,
    pub(super) version: Version,
    pub(super) expects_continue: bool,
    pub(super) upgrades: bool,
    /// The client said that nothing follows its request.
    pub(super) closes: bool,
    pub(super) body_bytes_max: u64,
}

impl RequestMeta {
    /// What a request asks for, whatever its route allows.
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

    /// Whether the answer carries content (RFC 9110 section 9.3.2).
    pub(super) fn content(&self) -> Content {
        if self.method == Method::Head { Content::HeadOnly } else { Content::Full }
    }

    /// What is said of the connection: `close` always, `keep-alive` to a 1.0 client, which does not take it for granted
    /// (RFC 9112 section 9.3).
    pub(super) fn connection(&self, keeps: Persistence) -> Option<Persistence> {
        (keeps == Persistence::Close || self.version == Version::Http10).then_some(keeps)
    }
}

/// What a client has sent of its content since when: it must be enough within each span of the timeout.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pace {
    pub(super) since: Tick,
    pub(super) bytes: u64,
}

/// One request and its response.
#[derive(Debug)]
pub struct Exchange {
    /// How far it has come; changed by its transitions alone.
    pub(super) course: Course,
    pub(super) request: Flow,
    pub(super) response: Flow,
    pub(super) meta: RequestMeta,
    /// The limits that hold for it; none: the server's.
    pub(super) policy: Option<Policy>,
    /// What is told to the client if no backend can be reached.
    pub(super) unreachable: LocalReply,
    /// Octets at the front of the buffer that hold no complete head.
    pub(super) scanned: usize,
    /// Empty lines that came before the request, over rests of its connection.
    pub(super) empty_lines: u8,
    pub(super) interim_responses: u8,
    /// What was tried in vain.
    pub(super) tries: Tries,
    /// Why the endpoint that was asked last is to blame, if it is.
    pub(super) failure: Option<Failure>,
    /// When something last moved.
    pub(super) active: Tick,
    /// What a peer for which octets wait had acknowledged; none while they flow.
    pub(super) look: Option<Look>,
    /// The client's pace; none while it is the backend that takes its time.
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

    /// Begins the next exchange on the same client connection; bytes that were already read are its first. They are judged at
    /// once: ask for [`Exchange::next_step`] afterwards.
    pub fn renew(&mut self, env: &mut Env<'_>) {
        self.record.reclaim(env.buffers);
        // Content that no backend took is not the next request.
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

    /// Back to an exchange that has not begun, for another client; memory goes back to the pool.
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

    /// The process ends now, whatever goes on. True where that cuts something short.
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

    /// Goes on behind a rest of the client connection, before which so many empty lines had come.
    pub fn resume(&mut self, readiness: Readiness, empty_lines: u8) {
        self.empty_lines = empty_lines;
        self.ready(Side::Client, readiness);
    }

    /// What is read from the client is thrown away.
    pub fn throws_away(&self) -> bool {
        matches!(self.course.stage(), Stage::Discard | Stage::Linger { .. })
    }

    /// Asked at rest: empty lines that have come since the last request, to be told by [`Exchange::resume`].
    pub fn empty_lines(&self) -> u8 {
        self.empty_lines
    }

    /// Nothing of a request was seen: the client connection is at rest and needs no exchange.
    pub fn is_at_rest(&self) -> bool {
        self.course.stage() == Stage::Head && self.request.incoming.is_empty()
    }

    /// Asked with `Step::Finish`: nothing came behind the request, as far as is known, so that the connection is at rest until an
    /// event tells otherwise.
    pub fn may_rest(&self) -> bool {
        self.request.incoming.is_empty() && !self.request.source.ready
    }

    /// The request head is still being read, or nothing of it was seen yet.
    pub fn reads_head(&self) -> bool {
        self.course.stage() == Stage::Head
    }

    /// The facts for the access line and the counters.
    pub fn record(&self) -> &Record {
        &self.record
    }

    /// The response was long enough for a pipe.
    pub fn had_bulk(&self) -> bool {
        self.response.spliced
    }

    /// The tries that failed, in their order. No endpoint is asked a second time.
    pub fn tries(&self) -> &[Try] {
        self.tries.failed()
    }

    /// Asked with `Step::Release`: why the endpoint at the other end is to blame. `None`: it answered, or the end of the exchange says
    /// nothing of it.
    pub fn failure(&self) -> Option<Failure> {
        self.failure
    }

    /// Asked with `Step::Finish`: the client connection is to be closed by a reset, since a plain close would pass for the end
    /// of a response that was cut short (RFC 9112 section 8).
    pub fn ends_in_reset(&self) -> bool {
        self.course.ends_in_reset()
    }

    /// The client side's readiness, to carry over a rest without an exchange.
    pub fn client_readiness(&self) -> Readiness {
        Readiness {
            readable: self.request.source.ready,
            writable: self.response.sink.ready,
            read_closed: self.request.source.closing,
            gone: self.course.is_client_gone(),
        }
    }

    /// An event told of that side's socket.
    pub fn ready(&mut self, side: Side, readiness: Readiness) {
        let (source, sink) = match side {
            Side::Client => (&mut self.request.source, &mut self.response.sink),
            Side::Backend => (&mut self.response.source, &mut self.request.sink),
        };
        // What closed its sending side first is reset only because it was written to.
        source.reset |= readiness.gone && !source.closing;
        source.ready |= readiness.readable || readiness.read_closed || readiness.gone;
        source.closing |= readiness.read_closed || readiness.gone;
        sink.ready |= readiness.writable || readiness.gone;
        // Where Apex has shut down its sending side, a plain close by the client looks the same as a reset: what the client
        // sent before is read first.
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

    /// Content was taken from that side since the last wait, or there was none.
    pub fn was_asked(&self, side: Side) -> bool {
        match side {
            Side::Client => self.request.was_asked(),
            Side::Backend => self.response.was_asked(),
        }
    }

    /// Asked when a wait begins: how many octets of that side it is for, at first; `None` where it is for the other side to take
    /// what there is. `before`: what the last wait was for.
    pub fn waits_for(&mut self, side: Side, before: usize) -> Option<usize> {
        match side {
            Side::Client => self.request.waits_for(before),
            Side::Backend => self.response.waits_for(before),
        }
    }

    /// A `Step::Write` to that side is followed by a drain at once, if its other end has what it promised.
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

    /// Gives memory that holds nothing back to the pool; for a wait, so that an idle exchange owns none, and one whose head is
    /// still coming little.
    pub fn settle(&mut self, buffers: &mut Buffers) {
        self.request.settle(buffers);
        self.response.settle(buffers);
        // Clients that never finish their heads come by the thousand.
        if self.course.stage() == Stage::Head {
            self.request.incoming.shrink(buffers);
        }
        // So do tunnels that say little.
        if matches!(self.course.stage(), Stage::Tunnel { .. }) {
            self.record.shrink(buffers);
        }
    }

    /// The whole request was given to the backend.
    pub(super) fn is_request_delivered(&self) -> bool {
        self.request.is_delivered() && !self.course.is_request_aborted()
    }

    /// The whole response was taken from the backend.
    pub(super) fn is_response_read(&self) -> bool {
        self.course.answer() == Answer::Begun && self.response.body == Body::Done
    }

    /// The endpoint that was asked last is to blame.
    pub(super) fn blame(&mut self, failure: Failure, when: When) {
        self.failure = Some(failure);
        if let Some(asked) = self.record.asked {
            self.tries.note(asked, failure, when);
        }
    }
}
