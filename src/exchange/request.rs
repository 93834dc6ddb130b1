//! What the client sent: its request head judged, routed and written anew, its body moved on.

use super::account::{Account, Cause};
use super::pump::{Body, Truncated};
use super::rules::{Given, Notes, RequestIds, Serving};
use super::state::{Answer, Asked, CLIENT_GONE, Exchange, Pace, Stage};
use super::step::{Outcome, Side};
use crate::base::Tick;
use crate::http::field;
use crate::http::forward::{self, RequestEdits, RequestId};
use crate::http::framing::Framing;
use crate::http::head::{self, Method, Persistence, Request};
use crate::http::limits::{CONTENT_PACE_BYTES_MIN, EMPTY_LINES_MAX};
use crate::http::refusal::Refusal;
use crate::http::reply;

/// What was found at the front of the client's bytes.
enum Found {
    /// A request for a backend; its head took so many octets.
    Request(usize),
    /// A request that Apex answers itself, and the answer was written; its head took so many octets.
    Answered(usize),
    /// More is needed.
    Incomplete,
    /// An answer of Apex's own; the head took so many octets where the end of the request is known.
    Refused(Refusal, Option<usize>),
}

const NO_ROUTE: Refusal = Refusal { status: 404, case: "no route for this host and path" };
const TOO_MANY_CLIENTS: Refusal = Refusal { status: 503, case: "too many connections" };
const TOO_MANY_EMPTY_LINES: Refusal = Refusal::bad_request("too many empty lines before the request");
const BODY_TOO_LONG: Refusal = Refusal { status: 413, case: "the request content is longer than allowed" };
const CUT_SHORT: Refusal = Refusal::bad_request("the request ended before its content did");

impl Exchange {
    /// A read from the client came back.
    pub(super) fn client_read(&mut self, outcome: Outcome, given: &mut Given<'_>) {
        match outcome {
            Outcome::Moved { count, full } => {
                self.request.read(full);
                match self.stage {
                    Stage::Head => {
                        if self.account.begun == Tick::default() {
                            self.account.begun = given.now;
                        }
                        self.read_request_head(given);
                    }
                    Stage::Linger { .. } => self.threw_away(count),
                    // Only content of a known length is waited for, and no more than the bound.
                    Stage::Discard => {
                        self.advance(Side::Backend, given);
                        if self.request.body == Body::Done {
                            self.stage = Stage::Over;
                        }
                    }
                    _ => {
                        self.active = given.now;
                        self.keep_pace(count, given);
                        self.advance(Side::Backend, given);
                    }
                }
            }
            Outcome::Blocked => self.request.source.ready = false,
            Outcome::Ended => self.source_ended(Side::Client, given),
            _ => self.client_gone = true,
        }
    }

    /// Content came from the client. Enough of it begins another span.
    pub(super) fn keep_pace(&mut self, count: usize, given: &Given<'_>) {
        let pace = self.pace.get_or_insert(Pace { since: given.now, bytes: 0 });
        pace.bytes += count as u64;
        if pace.bytes >= CONTENT_PACE_BYTES_MIN {
            *pace = Pace { since: given.now, bytes: 0 };
        }
    }

    /// Bytes behind the last answer are read, and belong to nobody.
    fn threw_away(&mut self, count: usize) {
        self.discarded += count as u64;
        self.request.incoming.clear();
    }

    /// A peer closed its sending side.
    pub(super) fn source_ended(&mut self, side: Side, given: &mut Given<'_>) {
        if side == Side::Backend {
            self.backend_ended(given);
            return;
        }
        if self.stage == Stage::Head {
            self.client_left_before_request(given);
            return;
        }
        let whole = self.request.source_ended(given.buffers);
        match self.stage {
            Stage::Discard | Stage::Linger { .. } => {
                self.client_keeps = Persistence::Close;
                self.stage = Stage::Over;
            }
            _ if whole == Err(Truncated) => self.request_broken(CUT_SHORT, given),
            _ => {}
        }
    }

    fn client_left_before_request(&mut self, given: &mut Given<'_>) {
        self.request.source.ended = true;
        self.client_keeps = Persistence::Close;
        self.stage = Stage::Over;
        if !self.request.incoming.is_empty() {
            self.account.status = CLIENT_GONE;
            self.account.cause = Cause::Cut("client_gone");
            self.note_unread(given);
        }
    }

    /// The head is not whole, or cannot be read: what there is of it is noted.
    pub(super) fn note_unread(&mut self, given: &mut Given<'_>) {
        // RFC 9110 section 9.3.2: an answer to HEAD has no content, and so much of the request can be told mostly.
        if head::begins_as_head(self.request.incoming.unread()) {
            self.asked.method = Method::Head;
        }
        if given.rules.notes == Notes::Kept {
            self.account.note_unread(self.request.incoming.unread(), given.buffers);
        }
    }

    /// Judges what there is of a request head, and begins the exchange when it is complete.
    pub(super) fn read_request_head(&mut self, given: &mut Given<'_>) {
        let bytes = self.request.incoming.unread();
        // A head ends with a line end: without a new one there is nothing to judge again, unless a limit is reached.
        let limit = given.rules.head.head_bytes_max.min(given.rules.head.target_bytes_max);
        if bytes.len() <= limit && self.scanned > 0 && memchr::memchr(b'\n', &bytes[self.scanned..]).is_none()
        {
            self.scanned = bytes.len();
            return;
        }
        match self.judge_request(given) {
            Found::Incomplete => self.skip_empty_lines(given),
            Found::Request(head_bytes) => {
                self.request.incoming.take(head_bytes);
                self.request.incoming.forget();
                self.request.rewindable = true;
                self.active = given.now;
                self.stage = Stage::Dial { fresh: false };
                self.advance(Side::Backend, given);
            }
            Found::Answered(head_bytes) => {
                self.request.incoming.take(head_bytes);
                self.request.incoming.forget();
                self.active = given.now;
                self.answer = Answer::Begun;
                self.stage = Stage::Relay;
            }
            Found::Refused(refusal, head_bytes) => {
                if let Some(head_bytes) = head_bytes {
                    self.request.incoming.take(head_bytes);
                    self.request.incoming.forget();
                } else {
                    self.note_unread(given);
                    self.client_keeps = Persistence::Close;
                }
                self.refuse(refusal, given);
            }
        }
    }

    /// RFC 9112 section 2.2: some clients send an empty line behind content. That begins no request, so nobody waits for one.
    fn skip_empty_lines(&mut self, given: &mut Given<'_>) {
        let bytes = self.request.incoming.unread();
        self.scanned = bytes.len();
        if bytes.len() % 2 == 1 || !bytes.chunks_exact(2).all(|pair| pair == b"\r\n") {
            return;
        }
        self.empty_lines += bytes.len() / 2;
        if self.empty_lines > EMPTY_LINES_MAX {
            self.note_unread(given);
            self.client_keeps = Persistence::Close;
            self.refuse(TOO_MANY_EMPTY_LINES, given);
            return;
        }
        self.request.incoming.clear();
        self.scanned = 0;
        self.account.begun = Tick::default();
    }

    fn judge_request(&mut self, given: &mut Given<'_>) -> Found {
        let mut slots = field::slots();
        let judged = head::request(self.request.incoming.unread(), &mut slots, &given.rules.head);
        // It is large, so it stays where it is.
        let request = match &judged {
            Ok(Some(request)) => request,
            Ok(None) => return Found::Incomplete,
            Err(refusal) => return Found::Refused(*refusal, None),
        };
        let account = &mut self.account;
        account.head_read = Some(given.now);
        if given.rules.notes == Notes::Kept {
            account.note(request, given.buffers);
        }
        self.client_keeps = request.persistence;
        if given.serving != Serving::On {
            self.client_keeps = Persistence::Close;
        }
        (self.request.body, self.request.encoding) = Body::framed_by(request.framing);
        self.asked = Asked::by(request);
        if given.serving == Serving::Full {
            return Found::Refused(TOO_MANY_CLIENTS, Some(request.head_bytes));
        }
        if request.max_forwards == Some(0) {
            if request.framing != Framing::None {
                self.client_keeps = Persistence::Close;
            }
            let connection = self.asked.connection(self.client_keeps);
            let out = self.response.outgoing.open(given.buffers);
            account.cause = Cause::Apex("the last hop that was asked for");
            account.status = reply::at_last_hop(out, request, connection, given.date);
            return Found::Answered(request.head_bytes);
        }
        let Some(id) =
            given.table.find(request.authority.map(|authority| authority.host), request.target.path())
        else {
            return Found::Refused(NO_ROUTE, Some(request.head_bytes));
        };
        account.route = Some(id);
        let route = given.table.route(id);
        self.asked.body_bytes_max = route.body_bytes_max.unwrap_or(u64::MAX);
        if let Framing::Length(length) = request.framing
            && length > self.asked.body_bytes_max
        {
            return Found::Refused(BODY_TOO_LONG, Some(request.head_bytes));
        }
        let edits = RequestEdits {
            strip_bytes: route.strip_bytes,
            client_address: given.client,
            client_trusted: given.client_trusted,
            host_fallback: match (request.authority, route.pool.members.first()) {
                (None, Some((backend, _))) => &backend.authority,
                _ => "",
            },
            via: given.rules.via.as_deref(),
            request_id: (given.rules.request_ids == RequestIds::Made).then(|| RequestId::draw(given.random)),
        };
        if given.rules.notes == Notes::Kept {
            note_request_id(account, request, &edits);
        }
        forward::request(self.request.outgoing.open(given.buffers), request, &edits);
        Found::Request(request.head_bytes)
    }

    /// Content beyond the limit is refused, whether its length was told or not (RFC 9110 section 15.5.14).
    pub(super) fn hold_body_limit(&mut self, given: &mut Given<'_>) {
        if self.request.content_bytes > self.asked.body_bytes_max
            && !self.backend_deaf
            && matches!(self.stage, Stage::Relay | Stage::Dial { .. })
        {
            self.request_broken(BODY_TOO_LONG, given);
        }
    }

    /// The request turned out wrong after its head was taken. A backend that has begun to read it never takes it for complete:
    /// its connection is cut.
    pub(super) fn request_broken(&mut self, refusal: Refusal, given: &mut Given<'_>) {
        self.backend_deaf = true;
        self.client_keeps = Persistence::Close;
        match (self.stage, self.answer) {
            (Stage::Discard, _) => self.stage = Stage::Linger { half_closed: false },
            (_, Answer::Begun) => {}
            _ => self.refuse(refusal, given),
        }
    }
}

/// Notes the name that the request goes on with.
fn note_request_id(account: &mut Account, request: &Request<'_, '_>, edits: &RequestEdits<'_>) {
    if let Some(kept) = forward::request_id(request, edits) {
        account.note_request_id(kept);
    } else if let Some(made) = edits.request_id {
        account.note_request_id(&made.text());
    }
}
