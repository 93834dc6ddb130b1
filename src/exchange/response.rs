//! What the backend sent: its response head judged and written anew, interim responses, upgrades, its body moved on.

use super::pump::{Body, Encoding, Truncated};
use super::rules::{Given, Serving};
use super::state::{Answer, DISCARD_BYTES_MAX, Exchange, Link, Stage};
use super::step::{Outcome, Side};
use crate::http::field;
use crate::http::forward::{self, ResponseEdits};
use crate::http::framing::Framing;
use crate::http::head::{self, Persistence, Response, Version};
use crate::http::limits::INTERIM_RESPONSES_MAX;
use crate::http::refusal::Refusal;

/// What was found at the front of the backend's bytes.
enum Found {
    /// The final response's head, so many octets.
    Final(usize),
    /// An interim response, so many octets.
    Interim(usize),
    /// The answer to an upgrade, so many octets.
    Switched(usize),
    Incomplete,
}

impl Exchange {
    /// A read from the backend came back.
    pub(super) fn backend_read(&mut self, outcome: Outcome, given: &mut Given<'_>) {
        match outcome {
            Outcome::Moved { full, .. } => {
                self.response.read(full);
                if self.answer == Answer::Begun {
                    self.active = given.now;
                    self.advance(Side::Client, given);
                    return;
                }
                if matches!(self.link, Link::Up { connected: false, .. }) {
                    // RFC 9112 section 9.2: what comes before a request was sent is no response to it, and goes to nobody.
                    self.response.incoming.clear();
                    return self.backend_failed(given);
                }
                self.answer = Answer::Heard;
                // A byte of the response was seen: the request is never sent again.
                self.request.rewindable = false;
                self.request.outgoing.forget();
                self.read_response_heads(given);
            }
            Outcome::Blocked => self.response.source.ready = false,
            // The response is whole; only its connection is not.
            _ if self.is_response_read() => self.response.source.ended = true,
            Outcome::Ended => self.backend_ended(given),
            _ => self.backend_failed(given),
        }
    }

    /// The backend closed its sending side.
    pub(super) fn backend_ended(&mut self, given: &mut Given<'_>) {
        // The kernel tells of a reset once, perhaps to a write; a read then finds an end. It is not the end of a response that
        // ends with its connection.
        let reset = self.response.source.reset
            && self.response.body == Body::UntilClose
            && !matches!(self.stage, Stage::Tunnel { .. });
        if self.answer != Answer::Begun || reset {
            self.backend_failed(given);
        } else if self.response.source_ended(given.buffers) == Err(Truncated) {
            self.cut("backend_cut");
        }
    }

    /// Judges what there is of response heads: any number of interim ones within bounds, then the final one.
    fn read_response_heads(&mut self, given: &mut Given<'_>) {
        loop {
            match self.judge_response(given) {
                Err(refusal) => return self.refuse_response(refusal, given),
                // Octets of a head that is not complete are no progress: a backend that drips one has no more time for it.
                Ok(Found::Incomplete) => return,
                Ok(Found::Interim(head_bytes)) => {
                    self.active = given.now;
                    self.response.incoming.take(head_bytes);
                    self.response.incoming.forget();
                    self.interim_responses += 1;
                    if self.interim_responses > INTERIM_RESPONSES_MAX {
                        return self
                            .refuse_response(Refusal::bad_gateway("too many interim responses"), given);
                    }
                }
                Ok(Found::Switched(head_bytes)) => {
                    self.active = given.now;
                    self.response.incoming.take(head_bytes);
                    self.response.incoming.forget();
                    return self.become_tunnel(given);
                }
                Ok(Found::Final(head_bytes)) => {
                    self.active = given.now;
                    self.response.incoming.take(head_bytes);
                    self.response.incoming.forget();
                    self.answer = Answer::Begun;
                    self.account.answered = Some(given.now);
                    return self.advance(Side::Client, given);
                }
            }
        }
    }

    fn refuse_response(&mut self, refusal: Refusal, given: &mut Given<'_>) {
        self.backend_keeps = Persistence::Close;
        self.response.incoming.clear();
        self.refuse(refusal, given);
    }

    fn judge_response(&mut self, given: &mut Given<'_>) -> Result<Found, Refusal> {
        let mut slots = field::slots();
        let bytes = self.response.incoming.unread();
        let judged = head::response(bytes, &mut slots, &given.rules.head, self.asked.method)?;
        // It is large, so it stays where it is.
        let Some(response) = &judged else { return Ok(Found::Incomplete) };
        let head_bytes = response.head_bytes;
        match response.status {
            101 => {
                // RFC 9110 section 7.8: only an upgrade that was asked for, and only behind a whole request.
                if !self.asked.upgrades || self.request.body != Body::Done {
                    return Err(Refusal::bad_gateway("the backend switched protocols unasked"));
                }
                self.account.status = 101;
                let edits = ResponseEdits { framing: Framing::None, connection: None, upgrades: true };
                forward::response(self.response.outgoing.open(given.buffers), response, &edits);
                Ok(Found::Switched(head_bytes))
            }
            100..=199 => {
                if response.status == 100 {
                    self.asked.expects_continue = false;
                }
                // RFC 9110 section 15.2: a 1.0 client knows no interim responses.
                if self.asked.version == Version::Http11 {
                    let edits = ResponseEdits { framing: Framing::None, connection: None, upgrades: false };
                    forward::response(self.response.outgoing.open(given.buffers), response, &edits);
                }
                Ok(Found::Interim(head_bytes))
            }
            status => {
                self.account.status = status;
                self.backend_keeps = response.persistence;
                let (body, encoding, edits) = self.frame_to_client(response, given.serving);
                self.client_keeps = edits.0;
                forward::response_dated(
                    self.response.outgoing.open(given.buffers),
                    response,
                    &edits.1,
                    given.date,
                );
                (self.response.body, self.response.encoding) = (body, encoding);
                Ok(Found::Final(head_bytes))
            }
        }
    }

    /// How a final response is framed towards this client, and whether the connection persists behind it.
    fn frame_to_client(
        &self,
        response: &Response<'_, '_>,
        serving: Serving,
    ) -> (Body, Encoding, (Persistence, ResponseEdits)) {
        let (body, encoding) = Body::framed_by(response.framing);
        let (framing, encoding) = match (response.framing, self.asked.version) {
            // RFC 9112 section 7: no chunked to a 1.0 client; its end is the connection's.
            (Framing::Chunked | Framing::UntilClose, Version::Http10) => {
                (Framing::UntilClose, Encoding::AsIs)
            }
            (Framing::UntilClose, Version::Http11) => (Framing::Chunked, Encoding::Chunked),
            (framing, _) => (framing, encoding),
        };
        // A client that was never told to go on may send its content or not: what it sends next cannot be told. And more than
        // is thrown away behind an answer is not waited for. Chunks may be more than that: a client that was not told would
        // send its next request on a connection that closes.
        let undecided = match self.request.body {
            Body::Done => false,
            Body::Length(left) if left <= DISCARD_BYTES_MAX => self.asked.expects_continue,
            _ => true,
        };
        let keeps = if framing == Framing::UntilClose || serving != Serving::On || undecided {
            Persistence::Close
        } else {
            self.client_keeps
        };
        let connection = self.asked.connection(keeps);
        (body, encoding, (keeps, ResponseEdits { framing, connection, upgrades: false }))
    }

    /// Both directions are opaque from here on; what was read behind either head is their first bytes.
    fn become_tunnel(&mut self, given: &mut Given<'_>) {
        self.stage = Stage::Tunnel { client_done: false, backend_done: false };
        self.answer = Answer::Begun;
        self.account.answered = Some(given.now);
        self.client_keeps = Persistence::Close;
        for pump in [&mut self.request, &mut self.response] {
            (pump.body, pump.encoding) = (Body::UntilClose, Encoding::AsIs);
        }
        self.advance(Side::Backend, given);
        self.advance(Side::Client, given);
    }
}
