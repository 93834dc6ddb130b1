//! What the backend sent: its response head judged and written anew, interim responses, upgrades, its body moved on.

use super::body::{Body, Encoding, Truncated};
use super::settings::{Env, Serving};
use super::state::{DISCARD_BYTES_MAX, Exchange};
use super::step::{Outcome, Side};
use super::transitions::{Answer, Stage};
use super::tries::When;
use crate::http::field;
use crate::http::forward::{self, ResponseEdits};
use crate::http::framing::Framing;
use crate::http::head::{self, Persistence, Response, Version};
use crate::http::limits::INTERIM_RESPONSES_MAX;
use crate::http::local_reply::LocalReply;
use crate::route::health::Failure;

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
    pub(super) fn backend_read(&mut self, outcome: Outcome, env: &mut Env<'_>) {
        match outcome {
            Outcome::Moved { full, .. } => {
                self.response.read(full);
                if self.course.answer() == Answer::Begun {
                    self.active = env.now;
                    self.advance(Side::Client, env);
                    return;
                }
                if self.course.is_connecting() {
                    // RFC 9112 section 9.2: what comes before a request was sent is no response to it, and goes to nobody.
                    self.response.incoming.clear();
                    return self.backend_failed(env);
                }
                self.course.hear();
                // A byte of the response was seen: the request is never sent again.
                self.request.rewindable = false;
                self.request.outgoing.forget();
                self.read_response_heads(env);
            }
            Outcome::Blocked => self.response.source.ready = false,
            // The response is whole; only its connection is not.
            _ if self.is_response_read() => self.response.source.ended = true,
            Outcome::Ended => self.backend_ended(env),
            _ => self.backend_failed(env),
        }
    }

    /// The backend closed its sending side.
    pub(super) fn backend_ended(&mut self, env: &mut Env<'_>) {
        // The kernel tells of a reset once, perhaps to a write; a read then finds an end. It is not the end of a response that
        // ends with its connection.
        let reset = self.response.source.reset
            && self.response.body == Body::UntilClose
            && !matches!(self.course.stage(), Stage::Tunnel { .. });
        if self.course.answer() != Answer::Begun || reset {
            self.backend_failed(env);
        } else if self.response.source_ended(env.buffers) == Err(Truncated) {
            self.cut("backend_cut");
        }
    }

    /// Judges what there is of response heads: any number of interim ones within bounds, then the final one.
    fn read_response_heads(&mut self, env: &mut Env<'_>) {
        loop {
            match self.judge_response(env) {
                Err(reply) => return self.refuse_response(reply, env),
                // Octets of a head that is not complete are no progress: a backend that drips one has no more time for it.
                Ok(Found::Incomplete) => return,
                Ok(Found::Interim(head_bytes)) => {
                    self.active = env.now;
                    self.response.incoming.take(head_bytes);
                    self.response.incoming.forget();
                    self.interim_responses += 1;
                    if self.interim_responses > INTERIM_RESPONSES_MAX {
                        return self
                            .refuse_response(LocalReply::bad_gateway("too many interim responses"), env);
                    }
                }
                Ok(Found::Switched(head_bytes)) => {
                    self.active = env.now;
                    self.response.incoming.take(head_bytes);
                    self.response.incoming.forget();
                    return self.become_tunnel(env);
                }
                Ok(Found::Final(head_bytes)) => {
                    self.active = env.now;
                    self.response.incoming.take(head_bytes);
                    self.response.incoming.forget();
                    self.course.begin_response();
                    self.record.answered = Some(env.now);
                    return self.advance(Side::Client, env);
                }
            }
        }
    }

    fn refuse_response(&mut self, reply: LocalReply, env: &mut Env<'_>) {
        self.blame(Failure::NotHttp, When::Later);
        self.course.close_backend();
        self.response.incoming.clear();
        self.refuse(reply, env);
    }

    fn judge_response(&mut self, env: &mut Env<'_>) -> Result<Found, LocalReply> {
        let mut slots = field::slots();
        let bytes = self.response.incoming.unread();
        let judged = head::response(bytes, &mut slots, &env.settings.head, self.meta.method)?;
        // It is large, so it stays where it is.
        let Some(response) = &judged else { return Ok(Found::Incomplete) };
        let head_bytes = response.head_bytes;
        match response.status {
            101 => {
                // RFC 9110 section 7.8: only an upgrade that was asked for, and only behind a whole request.
                if !self.meta.upgrades || self.request.body != Body::Done {
                    return Err(LocalReply::bad_gateway("the backend switched protocols unasked"));
                }
                self.record.status = 101;
                let edits = ResponseEdits { framing: Framing::None, connection: None, upgrades: true };
                forward::response(self.response.outgoing.open(env.buffers), response, &edits);
                Ok(Found::Switched(head_bytes))
            }
            100..=199 => {
                if response.status == 100 {
                    self.meta.expects_continue = false;
                }
                // RFC 9110 section 15.2: a 1.0 client knows no interim responses.
                if self.meta.version == Version::Http11 {
                    let edits = ResponseEdits { framing: Framing::None, connection: None, upgrades: false };
                    forward::response(self.response.outgoing.open(env.buffers), response, &edits);
                }
                Ok(Found::Interim(head_bytes))
            }
            status => {
                self.record.status = status;
                self.course.keep_backend(response.persistence);
                let (body, encoding, edits) = self.frame_to_client(response, env.serving);
                self.course.keep_client(edits.0);
                forward::response_dated(
                    self.response.outgoing.open(env.buffers),
                    response,
                    &edits.1,
                    env.date,
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
        let (body, encoding) = Body::of_response(response.framing);
        let (framing, encoding) = match (response.framing, self.meta.version) {
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
            Body::Length(left) if left <= DISCARD_BYTES_MAX => self.meta.expects_continue,
            _ => true,
        };
        let keeps = if framing == Framing::UntilClose || serving != Serving::On || undecided {
            Persistence::Close
        } else {
            self.course.client_keeps()
        };
        let connection = self.meta.connection(keeps);
        (body, encoding, (keeps, ResponseEdits { framing, connection, upgrades: false }))
    }

    /// Both directions are opaque from here on; what was read behind either head is their first bytes.
    fn become_tunnel(&mut self, env: &mut Env<'_>) {
        self.course.become_tunnel();
        self.record.answered = Some(env.now);
        for flow in [&mut self.request, &mut self.response] {
            (flow.body, flow.encoding) = (Body::UntilClose, Encoding::AsIs);
        }
        self.advance(Side::Backend, env);
        self.advance(Side::Client, env);
    }
}
