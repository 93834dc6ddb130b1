//! The client's octets: parses, judges, routes and rewrites the request head, and relays the body.

use super::body::{Body, Truncated};
use super::record::{Cause, Record};
use super::settings::{AccessLog, Env, RequestIds, Serving};
use super::state::{CLIENT_GONE, Exchange, Pace, RequestMeta};
use super::step::{Outcome, Side};
use super::transitions::{Answer, Stage};
use crate::base::Tick;
use crate::http::field;
use crate::http::forward::{self, RequestEdits, RequestId};
use crate::http::framing::Framing;
use crate::http::head::{self, Method, Request};
use crate::http::limits::{CONTENT_PACE_BYTES_MIN, EMPTY_LINES_MAX};
use crate::http::local_reply::LocalReply;
use crate::http::reply;
use crate::route::decision::{Action, Proxy};

/// The result of parsing the front of the client's octets.
enum Found {
    /// A request for a backend; the length of its head in octets.
    Request(usize),
    /// A request that Apex answered itself; the answer has been written. The length of its head in octets.
    Answered(usize),
    /// The head is incomplete.
    Incomplete,
    /// The request is refused; the length of its head in octets if the end of the request is known.
    Refused(LocalReply, Option<usize>),
}

/// Room for what Apex adds to a head of the usual size; the buffer grows if it adds more.
const ADDED_BYTES: usize = 512;

const NO_ROUTE: LocalReply = LocalReply { status: 404, reason: "no route for this host and path" };
const TOO_MANY_CLIENTS: LocalReply = LocalReply { status: 503, reason: "too many connections" };
const TOO_MANY_EMPTY_LINES: LocalReply = LocalReply::bad_request("too many empty lines before the request");
const BODY_TOO_LONG: LocalReply =
    LocalReply { status: 413, reason: "the request content is longer than allowed" };
const CUT_SHORT: LocalReply = LocalReply::bad_request("the request ended before its content did");

impl Exchange {
    /// Takes the outcome of a read from the client.
    pub(super) fn client_read(&mut self, outcome: Outcome, env: &mut Env<'_>) {
        match outcome {
            Outcome::Moved { count, full } => {
                self.request.read(full);
                match self.course.stage() {
                    Stage::Head => {
                        if self.record.begun == Tick::default() {
                            self.record.begun = env.now;
                        }
                        self.read_request_head(env);
                    }
                    Stage::Linger { .. } => {
                        self.active = env.now;
                        self.request.incoming.clear();
                    }
                    // Only content of a known length is read to its end, and at most [`DISCARD_BYTES_MAX`]
                    // octets of it.
                    Stage::Discard => {
                        self.active = env.now;
                        self.advance(Side::Backend, env);
                        if self.request.body == Body::Done {
                            self.course.finish();
                        }
                    }
                    _ => {
                        self.active = env.now;
                        self.keep_pace(count, env);
                        self.advance(Side::Backend, env);
                    }
                }
            }
            Outcome::Blocked => self.request.source.ready = false,
            Outcome::Ended => self.source_ended(Side::Client, env),
            _ => self.course.lose_client(),
        }
    }

    /// The client sent content. A minimum of it begins a new span.
    pub(super) fn keep_pace(&mut self, count: usize, env: &Env<'_>) {
        // The client no longer waits for a 100 (Continue).
        self.meta.expects_continue = false;
        if !self.request.sink.ready {
            // Apex waits for the backend: content that a pipe takes meanwhile begins no span of the client's
            // pace.
            self.pace = None;
            return;
        }
        let pace = self.pace.get_or_insert(Pace { since: env.now, bytes: 0 });
        pace.bytes += count as u64;
        if pace.bytes >= CONTENT_PACE_BYTES_MIN {
            *pace = Pace { since: env.now, bytes: 0 };
        }
    }

    /// A peer closed its sending side.
    pub(super) fn source_ended(&mut self, side: Side, env: &mut Env<'_>) {
        if side == Side::Backend {
            self.backend_ended(env);
            return;
        }
        if self.course.stage() == Stage::Head {
            self.client_left_before_request(env);
            return;
        }
        let whole = self.request.source_ended(env.buffers);
        match self.course.stage() {
            Stage::Discard | Stage::Linger { .. } => {
                self.course.finish_and_close();
            }
            _ if whole == Err(Truncated) => self.request_broken(CUT_SHORT, env),
            _ => {}
        }
    }

    fn client_left_before_request(&mut self, env: &mut Env<'_>) {
        self.request.source.ended = true;
        self.course.finish_and_close();
        if !self.request.incoming.is_empty() {
            self.record.status = CLIENT_GONE;
            self.record.cause = Cause::Cut("client_gone");
            self.note_unread(env);
        }
    }

    /// Notes the part of a head that is incomplete or malformed.
    pub(super) fn note_unread(&mut self, env: &mut Env<'_>) {
        // RFC 9110 section 9.3.2: a response to HEAD has no content; the method can mostly be read even here.
        if head::begins_as_head(self.request.incoming.unread()) {
            self.meta.method = Method::Head;
        }
        if env.settings.access_log == AccessLog::On {
            self.record.note_unread(self.request.incoming.unread(), env.buffers);
        }
    }

    /// Judges the request head read so far, and begins the exchange once the head is complete.
    pub(super) fn read_request_head(&mut self, env: &mut Env<'_>) {
        let bytes = self.request.incoming.unread();
        // A head ends with a line end: without a new one there is nothing to judge again, unless a limit is
        // reached.
        let limit = env.settings.head.head_bytes_max.min(env.settings.head.target_bytes_max);
        if bytes.len() <= limit && self.scanned > 0 && memchr::memchr(b'\n', &bytes[self.scanned..]).is_none()
        {
            self.scanned = bytes.len();
            return;
        }
        let found = self.judge_request(env);
        if !matches!(found, Found::Incomplete) {
            // The count begins anew for the next request.
            self.empty_lines = 0;
        }
        match found {
            Found::Incomplete => self.skip_empty_lines(env),
            Found::Request(head_bytes) => {
                self.request.incoming.take(head_bytes);
                self.request.incoming.forget();
                self.request.rewindable = true;
                // Content came with the head: the client does not wait for a 100 (Continue).
                self.meta.expects_continue &= self.request.incoming.is_empty();
                self.active = env.now;
                self.course.begin_dial();
                self.advance(Side::Backend, env);
            }
            Found::Answered(head_bytes) => {
                self.request.incoming.take(head_bytes);
                self.request.incoming.forget();
                self.active = env.now;
                self.course.begin_own_answer();
            }
            Found::Refused(reply, head_bytes) => {
                if let Some(head_bytes) = head_bytes {
                    self.request.incoming.take(head_bytes);
                    self.request.incoming.forget();
                } else {
                    self.note_unread(env);
                    self.course.close_client();
                }
                self.refuse(reply, env);
            }
        }
    }

    /// RFC 9112 section 2.2: some clients send an empty line after content. It does not begin a request and
    /// starts no timeout.
    fn skip_empty_lines(&mut self, env: &mut Env<'_>) {
        let bytes = self.request.incoming.unread();
        self.scanned = bytes.len();
        if bytes.len() % 2 == 1 || !bytes.chunks_exact(2).all(|pair| pair == b"\r\n") {
            return;
        }
        let empty_lines = usize::from(self.empty_lines) + bytes.len() / 2;
        self.empty_lines = u8::try_from(empty_lines).unwrap_or(u8::MAX);
        if empty_lines > EMPTY_LINES_MAX {
            self.note_unread(env);
            self.course.close_client();
            self.refuse(TOO_MANY_EMPTY_LINES, env);
            return;
        }
        self.request.incoming.clear();
        self.scanned = 0;
        self.record.begun = Tick::default();
    }

    /// Parses the head read so far, decides on the request, and writes the head to forward.
    fn judge_request(&mut self, env: &mut Env<'_>) -> Found {
        // Taken out, so that the head can be borrowed while the exchange is written to.
        let incoming = std::mem::take(&mut self.request.incoming);
        let found = self.judge_head(incoming.unread(), env);
        self.request.incoming = incoming;
        found
    }

    fn judge_head(&mut self, bytes: &[u8], env: &mut Env<'_>) -> Found {
        let mut slots = field::slots();
        let judged = head::request(bytes, &mut slots, &env.settings.head);
        // Borrowed: the value is large, and a move would copy it.
        let request = match &judged {
            Ok(Some(request)) => request,
            Ok(None) => return Found::Incomplete,
            Err(reply) => return Found::Refused(*reply, None),
        };
        self.note_request(request, env);
        match self.decide(request, env) {
            Ok(Action::Proxy(proxy)) => {
                self.write_request(request, &proxy, env);
                Found::Request(request.head_bytes)
            }
            Err(found) => found,
        }
    }

    /// Keeps the facts of the request that are needed after its head is consumed.
    fn note_request(&mut self, request: &Request<'_, '_>, env: &mut Env<'_>) {
        self.record.head_read = Some(env.now);
        if env.settings.access_log == AccessLog::On {
            self.record.note(request, env.buffers);
        }
        self.course.keep_client(request.persistence);
        if env.serving != Serving::On {
            self.course.close_client();
        }
        (self.request.body, self.request.encoding) = Body::of_request(request.framing);
        self.meta = RequestMeta::by(request);
    }

    /// Decides the action for the request by its route, or refuses it without one.
    fn decide<'t>(&mut self, request: &Request<'_, '_>, env: &mut Env<'t>) -> Result<Action<'t>, Found> {
        let refused = |reply| Err(Found::Refused(reply, Some(request.head_bytes)));
        if env.serving == Serving::Full {
            return refused(TOO_MANY_CLIENTS);
        }
        if request.max_forwards == Some(0) {
            return Err(self.answer_as_last_hop(request, env));
        }
        let Some(decision) = env.table.decide(request) else { return refused(NO_ROUTE) };
        self.record.route = Some(decision.route);
        self.policy = decision.policy.map(|own| own.over(&env.settings.policy));
        self.meta.body_bytes_max = self.policy(env.settings).body_bytes_max;
        if let Framing::Length(length) = request.framing
            && length > self.meta.body_bytes_max
        {
            return refused(BODY_TOO_LONG);
        }
        Ok(decision.action)
    }

    /// RFC 9110 section 7.6.2: Apex answers a request whose `Max-Forwards` is used up.
    fn answer_as_last_hop(&mut self, request: &Request<'_, '_>, env: &mut Env<'_>) -> Found {
        if request.framing != Framing::None {
            self.course.close_client();
        }
        let connection = self.meta.connection(self.course.client_keeps());
        let out = self.response.outgoing.open(env.buffers);
        self.record.cause = Cause::Apex("the last hop that was asked for");
        self.record.status = reply::at_last_hop(out, request, connection, env.date);
        Found::Answered(request.head_bytes)
    }

    /// Writes the head to send to a backend.
    fn write_request(&mut self, request: &Request<'_, '_>, proxy: &Proxy<'_>, env: &mut Env<'_>) {
        let edits = RequestEdits {
            strip_bytes: proxy.strip_bytes,
            client_address: env.client,
            client_trusted: env.client_trusted,
            host_fallback: match (request.authority, proxy.pool.members.first()) {
                (None, Some((backend, _))) => backend.host_field(),
                _ => "",
            },
            via: env.settings.via.as_deref(),
            request_id: (env.settings.request_ids == RequestIds::Made).then(|| RequestId::draw(env.random)),
        };
        if env.settings.access_log == AccessLog::On && edits.request_id.is_some() {
            note_request_id(&mut self.record, request, &edits);
        }
        let outgoing = &mut self.request.outgoing;
        let out = if request.framing == Framing::None {
            // No content follows: the buffer holds only the head until the response comes.
            outgoing.open_for(env.buffers, request.head_bytes + ADDED_BYTES)
        } else {
            outgoing.open(env.buffers)
        };
        forward::request(out, request, &edits);
    }

    /// Refuses content beyond the limit, whether its length was declared or not (RFC 9110 section 15.5.14).
    pub(super) fn hold_body_limit(&mut self, env: &mut Env<'_>) {
        if self.request.content_bytes > self.meta.body_bytes_max
            && !self.course.is_request_aborted()
            && matches!(self.course.stage(), Stage::Relay | Stage::Dial { .. })
        {
            self.request_broken(BODY_TOO_LONG, env);
        }
    }

    /// The request turned out to be malformed after its head was forwarded. The backend connection is cut, so
    /// that the backend never takes the request for complete.
    pub(super) fn request_broken(&mut self, reply: LocalReply, env: &mut Env<'_>) {
        self.course.abort_request();
        self.course.close_client();
        match (self.course.stage(), self.course.answer()) {
            (Stage::Discard, _) => self.course.begin_linger(),
            (_, Answer::Begun) => {}
            _ => self.refuse(reply, env),
        }
    }
}

/// Notes the request id that the request is forwarded with.
fn note_request_id(record: &mut Record, request: &Request<'_, '_>, edits: &RequestEdits<'_>) {
    if let Some(kept) = forward::request_id(request, edits) {
        record.note_request_id(kept);
    } else if let Some(made) = edits.request_id {
        record.note_request_id(&made.text());
    }
}
