//! What the client sent: its request head judged, routed and written anew, its body moved on.

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

/// Room for what Apex adds to a head of the usual size; where it adds more, the buffer grows.
const ADDED_BYTES: usize = 512;

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
                    // Only content of a known length is waited for, and no more than the bound.
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

    /// Content came from the client. Enough of it begins another span.
    pub(super) fn keep_pace(&mut self, count: usize, env: &Env<'_>) {
        // It waits for no 100 any more.
        self.meta.expects_continue = false;
        if !self.request.sink.ready {
            // It is the backend that takes its time: what a pipe takes meanwhile begins no span of the client's.
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
            self.course.close_client();
            self.refuse(TOO_MANY_EMPTY_LINES, env);
            return;
        }
        self.request.incoming.clear();
        self.scanned = 0;
        self.record.begun = Tick::default();
    }

    /// Reads what there is of a head, decides on it, and writes the head that goes on.
    fn judge_request(&mut self, env: &mut Env<'_>) -> Found {
        // The head stays where it is: the exchange takes its notes meanwhile.
        let incoming = std::mem::take(&mut self.request.incoming);
        let found = self.judge_head(incoming.unread(), env);
        self.request.incoming = incoming;
        found
    }

    fn judge_head(&mut self, bytes: &[u8], env: &mut Env<'_>) -> Found {
        let mut slots = field::slots();
        let judged = head::request(bytes, &mut slots, &env.settings.head);
        // It is large, so it stays where it is.
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

    /// Keeps what is asked for, for the head will be gone.
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

    /// What is done with the request, by its route; or what was found that needs none.
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

    /// RFC 9110 section 7.6.2: a request that goes no further is answered here.
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

    /// Writes the head that goes to a backend.
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
            // No content follows: so much is kept until the answer comes.
            outgoing.open_for(env.buffers, request.head_bytes + ADDED_BYTES)
        } else {
            outgoing.open(env.buffers)
        };
        forward::request(out, request, &edits);
    }

    /// Content beyond the limit is refused, whether its length was told or not (RFC 9110 section 15.5.14).
    pub(super) fn hold_body_limit(&mut self, env: &mut Env<'_>) {
        if self.request.content_bytes > self.meta.body_bytes_max
            && !self.course.is_request_aborted()
            && matches!(self.course.stage(), Stage::Relay | Stage::Dial { .. })
        {
            self.request_broken(BODY_TOO_LONG, env);
        }
    }

    /// The request turned out wrong after its head was taken. A backend that has begun to read it never takes it for complete:
    /// its connection is cut.
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

/// Notes the name that the request goes on with.
fn note_request_id(record: &mut Record, request: &Request<'_, '_>, edits: &RequestEdits<'_>) {
    if let Some(kept) = forward::request_id(request, edits) {
        record.note_request_id(kept);
    } else if let Some(made) = edits.request_id {
        record.note_request_id(&made.text());
    }
}
