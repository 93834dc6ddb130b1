//! The backend's octets: parses, judges and rewrites the response head, handles interim responses and
//! upgrades, relays the body.

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

/// The result of parsing the front of the backend's octets.
enum Found {
    /// The final response; the length of its head in octets.
    Final(usize),
    /// An interim response; its length in octets.
    Interim(usize),
    /// The response to an upgrade; the length of its head in octets.
    Switched(usize),
    Incomplete,
}

impl Exchange {
    /// Takes the outcome of a read from the backend.
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
                    // RFC 9112 section 9.2: octets that came before a request was sent are no response to it,
                    // and are dropped.
                    self.response.incoming.clear();
                    return self.backend_failed(env);
                }
                self.course.hear();
                // An octet of the response was received: the request is never sent again.
                self.request.rewindable = false;
                self.request.outgoing.forget();
                self.read_response_heads(env);
            }
            Outcome::Blocked => self.response.source.ready = false,
            // The response is complete; only the connection failed.
            _ if self.is_response_read() => self.response.source.ended = true,
            Outcome::Ended => self.backend_ended(env),
            _ => self.backend_failed(env),
        }
    }

    /// The backend closed its sending side.
    pub(super) fn backend_ended(&mut self, env: &mut Env<'_>) {
        // The kernel reports a reset once, perhaps to a write; a later read reports an end of stream. After a
        // reset, that end does not complete a response that is framed by the close.
        let reset = self.response.source.reset
            && self.response.body == Body::UntilClose
            && !matches!(self.course.stage(), Stage::Tunnel { .. });
        if self.course.answer() != Answer::Begun || reset {
            self.backend_failed(env);
        } else if self.response.source_ended(env.buffers) == Err(Truncated) {
            self.cut("backend_cut");
        }
    }

    /// Judges the response heads read so far: interim ones, up to a limit, then the final one.
    fn read_response_heads(&mut self, env: &mut Env<'_>) {
        loop {
            match self.judge_response(env) {
                Err(reply) => return self.refuse_response(reply, env),
                // Octets of an incomplete head are no progress: a backend that sends them one by one gains no
                // time.
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
        // Borrowed: the value is large, and a move would copy it.
        let Some(response) = &judged else { return Ok(Found::Incomplete) };
        let head_bytes = response.head_bytes;
        match response.status {
            101 => {
                // RFC 9110 section 7.8: an upgrade only if the client asked for one, and only after a
                // complete request.
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
                // RFC 9110 section 15.2: an HTTP/1.0 client does not know interim responses.
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

    /// The framing of a final response towards this client, and the persistence of the connection after it.
    fn frame_to_client(
        &self,
        response: &Response<'_, '_>,
        serving: Serving,
    ) -> (Body, Encoding, (Persistence, ResponseEdits)) {
        let (body, encoding) = Body::of_response(response.framing);
        let (framing, encoding) = match (response.framing, self.meta.version) {
            // RFC 9112 section 7: no chunked framing to an HTTP/1.0 client; the close ends the response.
            (Framing::Chunked | Framing::UntilClose, Version::Http10) => {
                (Framing::UntilClose, Encoding::AsIs)
            }
            (Framing::UntilClose, Version::Http11) => (Framing::Chunked, Encoding::Chunked),
            (framing, _) => (framing, encoding),
        };
        // A client that never got its 100 (Continue) may send its content or omit it, so its next octets are
        // ambiguous. Content beyond the discard limit is not waited for either. Chunked content may exceed
        // that limit: an HTTP/1.1 client that was not told `close` would send its next request on a
        // connection that closes.
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

    /// Both directions are opaque from here on. Octets read after either head are the first ones of the
    /// tunnel.
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
