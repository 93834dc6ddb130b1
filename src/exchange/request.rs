//! What the client sent: its request head judged, routed and written anew, its body moved on.

use super::body::{Body, Truncated};
use super::ending::LINGERS;
use super::record::{Cause, Record};
use super::settings::{AccessLog, Env, RequestIds, Serving};
use super::state::{Answer, CLIENT_GONE, Exchange, Pace, RequestMeta, Stage};
use super::step::{Outcome, Side};
use crate::base::Tick;
use crate::http::field;
use crate::http::forward::{self, RequestEdits, RequestId};
use crate::http::framing::Framing;
use crate::http::head::{self, Method, Persistence, Request};
use crate::http::limits::{CONTENT_PACE_BYTES_MIN, EMPTY_LINES_MAX};
use crate::http::local_reply::LocalReply;
use crate::http::reply;
use crate::route::decision::Action;

/// What was found at the front of the client's bytes.
enum Found {
    /// A request for a backend; its head took so many octets.
    Request(usize),
    /// A request that Apex answers itself, and the answer was written; its head took so many octets.
    Answered(usize),
    /// More is needed.
    Incomplete,
    /// An answer of Apex's own; the head took so many octets where the end of the request is known.
    Refused(LocalReply, Option<usize>),
}

const NO_ROUTE: LocalReply = LocalReply { status: 404, reason: "no route for this host and path" };
const TOO_MANY_CLIENTS: LocalReply = LocalReply { status: 503, reason: "too many connections" };
const TOO_MANY_EMPTY_LINES: LocalReply = LocalReply::bad_request("too many empty lines before the request");
const BODY_TOO_LONG: LocalReply =
    LocalReply { status: 413, reason: "the request content is longer than allowed" };
const CUT_SHORT: LocalReply = LocalReply::bad_request("the request ended before its content did");

impl Exchange {
    /// A read from the client came back.
    pub(super) fn client_read(&mut self, outcome: Outcome, env: &mut Env<'_>) {
        match outcome {
            Outcome::Moved { count, full } => {
                self.request.read(full);
                match self.stage {
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
                    // Only content of a known length is waited for, and no more than the bound.
                    Stage::Discard { .. } => {
                        self.active = env.now;
                        self.advance(Side::Backend, env);
                        if self.request.body == Body::Done {
                            self.stage = Stage::Over;
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
            _ => self.client_gone = true,
        }
    }

    /// Content came from the client. Enough of it begins another span.
    pub(super) fn keep_pace(&mut self, count: usize, env: &Env<'_>) {
        // It waits for no 100 any more.
        self.meta.expects_continue = false;
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
        if self.stage == Stage::Head {
            self.client_left_before_request(env);
            return;
        }
        let whole = self.request.source_ended(env.buffers);
        match self.stage {
            Stage::Discard { .. } | Stage::Linger { .. } => {
                self.client_keeps = Persistence::Close;
                self.stage = Stage::Over;
            }
            _ if whole == Err(Truncated) => self.request_broken(CUT_SHORT, env),
            _ => {}
        }
    }

    fn client_left_before_request(&mut self, env: &mut Env<'_>) {
        self.request.source.ended = true;
        self.client_keeps = Persistence::Close;
        self.stage = Stage::Over;
        if !self.request.incoming.is_empty() {
            self.record.status = CLIENT_GONE;
            self.record.cause = Cause::Cut("client_gone");
            self.note_unread(env);
        }
    }

    /// The head is not whole, or cannot be read: what there is of it is noted.
    pub(super) fn note_unread(&mut self, env: &mut Env<'_>) {
        // RFC 9110 section 9.3.2: an answer to HEAD has no content, and so much of the request can be told mostly.
        if head::begins_as_head(self.request.incoming.unread()) {
            self.meta.method = Method::Head;
        }
        if env.settings.access_log == AccessLog::On {
            self.record.note_unread(self.request.incoming.unread(), env.buffers);
        }
    }

    /// Judges what there is of a request head, and begins the exchange when it is complete.
    pub(super) fn read_request_head(&mut self, env: &mut Env<'_>) {
        let bytes = self.request.incoming.unread();
        // A head ends with a line end: without a new one there is nothing to judge again, unless a limit is reached.
        let limit = env.settings.head.head_bytes_max.min(env.settings.head.target_bytes_max);
        if bytes.len() <= limit && self.scanned > 0 && memchr::memchr(b'\n', &bytes[self.scanned..]).is_none()
        {
            self.scanned = bytes.len();
            return;
        }
        let found = self.judge_request(env);
        if !matches!(found, Found::Incomplete) {
            // The next request may have as many.
            self.empty_lines = 0;
        }
        match found {
            Found::Incomplete => self.skip_empty_lines(env),
            Found::Request(head_bytes) => {
                self.request.incoming.take(head_bytes);
                self.request.incoming.forget();
                self.request.rewindable = true;
                // Content came with the head: the client waits for no 100.
                self.meta.expects_continue &= self.request.incoming.is_empty();
                self.active = env.now;
                self.stage = Stage::Dial { fresh: false };
                self.advance(Side::Backend, env);
            }
            Found::Answered(head_bytes) => {
                self.request.incoming.take(head_bytes);
                self.request.incoming.forget();
                self.active = env.now;
                self.answer = Answer::Begun;
                self.stage = Stage::Relay;
            }
            Found::Refused(reply, head_bytes) => {
                if let Some(head_bytes) = head_bytes {
                    self.request.incoming.take(head_bytes);
                    self.request.incoming.forget();
                } else {
                    self.note_unread(env);
                    self.client_keeps = Persistence::Close;
                }
                self.refuse(reply, env);
            }
        }
    }

    /// RFC 9112 section 2.2: some clients send an empty line behind content. That begins no request, so nobody waits for one.
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
            self.client_keeps = Persistence::Close;
            self.refuse(TOO_MANY_EMPTY_LINES, env);
            return;
        }
        self.request.incoming.clear();
        self.scanned = 0;
        self.record.begun = Tick::default();
    }

    fn judge_request(&mut self, env: &mut Env<'_>) -> Found {
        let mut slots = field::slots();
        let judged = head::request(self.request.incoming.unread(), &mut slots, &env.settings.head);
        // It is large, so it stays where it is.
        let request = match &judged {
            Ok(Some(request)) => request,
            Ok(None) => return Found::Incomplete,
            Err(reply) => return Found::Refused(*reply, None),
        };
        let record = &mut self.record;
        record.head_read = Some(env.now);
        if env.settings.access_log == AccessLog::On {
            record.note(request, env.buffers);
        }
        self.client_keeps = request.persistence;
        if env.serving != Serving::On {
            self.client_keeps = Persistence::Close;
        }
        (self.request.body, self.request.encoding) = Body::of_request(request.framing);
        self.meta = RequestMeta::by(request);
        if env.serving == Serving::Full {
            return Found::Refused(TOO_MANY_CLIENTS, Some(request.head_bytes));
        }
        if request.max_forwards == Some(0) {
            if request.framing != Framing::None {
                self.client_keeps = Persistence::Close;
            }
            let connection = self.meta.connection(self.client_keeps);
            let out = self.response.outgoing.open(env.buffers);
            record.cause = Cause::Apex("the last hop that was asked for");
            record.status = reply::at_last_hop(out, request, connection, env.date);
            return Found::Answered(request.head_bytes);
        }
        let Some(decision) = env.table.decide(request, &env.settings.policy) else {
            return Found::Refused(NO_ROUTE, Some(request.head_bytes));
        };
        record.route = Some(decision.route);
        self.policy = decision.policy;
        self.meta.body_bytes_max = decision.policy.unwrap_or(env.settings.policy).body_bytes_max;
        if let Framing::Length(length) = request.framing
            && length > self.meta.body_bytes_max
        {
            return Found::Refused(BODY_TOO_LONG, Some(request.head_bytes));
        }
        let Action::Proxy(proxy) = decision.action;
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
            note_request_id(record, request, &edits);
        }
        let outgoing = &mut self.request.outgoing;
        let out = if request.framing == Framing::None {
            // No content follows: so much is kept until the answer comes.
            outgoing.open_for(env.buffers, forward::request_bytes_max(request, &edits))
        } else {
            outgoing.open(env.buffers)
        };
        forward::request(out, request, &edits);
        Found::Request(request.head_bytes)
    }

    /// Content beyond the limit is refused, whether its length was told or not (RFC 9110 section 15.5.14).
    pub(super) fn hold_body_limit(&mut self, env: &mut Env<'_>) {
        if self.request.content_bytes > self.meta.body_bytes_max
            && !self.request_aborted
            && matches!(self.stage, Stage::Relay | Stage::Dial { .. })
        {
            self.request_broken(BODY_TOO_LONG, env);
        }
    }

    /// The request turned out wrong after its head was taken. A backend that has begun to read it never takes it for complete:
    /// its connection is cut.
    pub(super) fn request_broken(&mut self, reply: LocalReply, env: &mut Env<'_>) {
        self.request_aborted = true;
        self.client_keeps = Persistence::Close;
        match (self.stage, self.answer) {
            (Stage::Discard { .. }, _) => self.stage = LINGERS,
            (_, Answer::Begun) => {}
            _ => self.refuse(reply, env),
        }
    }
}

/// Notes the name that the request goes on with.
fn note_request_id(record: &mut Record, request: &Request<'_, '_>, edits: &RequestEdits<'_>) {
    if let Some(kept) = forward::request_id(request, edits) {
        record.note_request_id(kept);
    } else if let Some(made) = edits.request_id {
        record.note_request_id(&made.text());
    }
}
