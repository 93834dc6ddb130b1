//! Every end of an exchange but the regular one: failures of either peer, deadlines, Apex's own answers.

use super::body::Body;
use super::record::Cause;
use super::settings::{Env, Serving, Settings};
use super::state::{CLIENT_GONE, Exchange};
use super::step::Side;
use super::transitions::{Answer, Link, Stage};
use super::tries::When;
use crate::base::Tick;
use crate::http::head::Version;
use crate::http::local_reply::LocalReply;
use crate::http::reply;
use crate::route::health::Failure;
use std::time::Duration;

/// The time that a client is read after the response to a complete request: octets that it sent meanwhile
/// must not turn the close into a reset.
pub(super) const LINGER: Duration = Duration::from_secs(2);

/// The longest time that the rest of a request is read and discarded after its response (RFC 9112 section
/// 9.6). A client that sends its whole request before it reads needs that to receive the response. As nginx:
/// `lingering_time`.
pub(super) const LINGER_MAX: Duration = Duration::from_secs(30);

/// The longest pause of a client within [`LINGER_MAX`]. As nginx: `lingering_timeout`.
const LINGER_PAUSE: Duration = Duration::from_secs(5);

const UNREACHABLE: LocalReply = LocalReply { status: 502, reason: "the backend cannot be reached" };
const CONNECT_TIMEOUT: LocalReply =
    LocalReply { status: 504, reason: "the backend cannot be reached in time" };
const BACKEND_FAILED: LocalReply =
    LocalReply { status: 502, reason: "the backend closed the connection without an answer" };
const BACKEND_SLOW: LocalReply = LocalReply { status: 504, reason: "the backend did not answer in time" };
const HEAD_SLOW: LocalReply = LocalReply { status: 408, reason: "the request did not arrive in time" };

/// The response to a request that ends with this failure.
const fn reply_for(failure: Failure) -> LocalReply {
    match failure {
        Failure::Refused | Failure::Unreachable => UNREACHABLE,
        Failure::ConnectTimeout => CONNECT_TIMEOUT,
        Failure::Closed | Failure::NotHttp => BACKEND_FAILED,
        Failure::NoAnswer => BACKEND_SLOW,
    }
}

impl Exchange {
    /// The time at which [`Exchange::expire`] is due; [`Tick::NEVER`] at rest.
    pub fn deadline(&self, settings: &Settings) -> Tick {
        match self.course.stage() {
            Stage::Head if self.is_at_rest() => Tick::NEVER,
            Stage::Head => self.record.begun.after(settings.header_timeout),
            Stage::Relay if self.course.is_connecting() => {
                // All connection attempts together share one timeout.
                let policy = self.policy(settings);
                let last = self.record.head_read.unwrap_or(self.active).after(policy.timeout);
                self.active.after(policy.connect_timeout).min(last)
            }
            Stage::Relay | Stage::Dial { .. } | Stage::Tunnel { .. } => {
                let since = match &self.pace {
                    // The client must also keep its pace.
                    Some(pace) if self.course.answer() != Answer::Begun && self.waits_for_client() => {
                        pace.since
                    }
                    _ => self.active,
                };
                since.after(self.patience(settings)).min(self.next_look(settings))
            }
            Stage::Discard | Stage::Linger { .. } => self.active.after(LINGER_PAUSE).min(self.course.until()),
            Stage::Over => self.active,
        }
    }

    /// The time that the exchange waits for progress.
    pub(super) fn patience(&self, settings: &Settings) -> Duration {
        let policy = self.policy(settings);
        match self.course.stage() {
            Stage::Tunnel { client_done, backend_done } => {
                let request_ends = client_done || self.request.source.is_closed();
                let response_ends = backend_done || self.response.source.is_closed();
                // An end that is closed sends nothing new; the other end has the plain timeout to take what
                // is left.
                let is_ending = match (request_ends, response_ends) {
                    (true, true) => true,
                    (true, false) => self.request.holds(),
                    (false, true) => self.response.holds(),
                    (false, false) => false,
                };
                if is_ending { policy.timeout } else { policy.tunnel_timeout }
            }
            _ => policy.timeout,
        }
    }

    /// The deadline has passed. `acknowledged`: the octets that the peer named by
    /// [`Exchange::awaits_acknowledgement`] has acknowledged since its connection began; `None` if the kernel
    /// does not count them, or no peer is named.
    pub fn expire(&mut self, acknowledged: Option<u64>, env: &mut Env<'_>) {
        if self.has_moved(acknowledged, env) {
            return;
        }
        match self.course.stage() {
            Stage::Head => {
                self.note_unread(env);
                self.course.close_client();
                self.refuse(HEAD_SLOW, env);
            }
            Stage::Relay if self.course.is_connecting() && self.course.answer() == Answer::Awaited => {
                let policy = self.policy(env.settings);
                if env.now >= self.active.after(policy.connect_timeout.min(policy.timeout)) {
                    self.backend_unreachable(Failure::ConnectTimeout, env);
                } else {
                    // Earlier tries used up the time of this one.
                    self.refuse(CONNECT_TIMEOUT, env);
                }
            }
            Stage::Relay if self.course.answer() == Answer::Begun => {
                if self.response.holds() {
                    self.record.cause = Cause::Cut("client_slow");
                    self.tear();
                } else {
                    self.cut(if self.waits_for_client() { "client_slow" } else { "backend_slow" });
                }
            }
            Stage::Relay if self.waits_for_client() => {
                self.course.close_client();
                self.refuse(HEAD_SLOW, env);
            }
            Stage::Relay => {
                self.blame(Failure::NoAnswer, When::Later);
                self.refuse(BACKEND_SLOW, env);
            }
            Stage::Dial { .. } => self.refuse(BACKEND_SLOW, env),
            Stage::Tunnel { .. } => {
                self.record.cause = Cause::Cut(if self.response.holds() {
                    "client_slow"
                } else if self.request.holds() {
                    "backend_slow"
                } else {
                    "tunnel_idle"
                });
                self.course.finish_and_close();
            }
            // Octets in flight would turn an immediate close into a reset, which can destroy the response in
            // flight.
            Stage::Discard => {
                self.course.begin_linger();
            }
            Stage::Linger { .. } | Stage::Over => {
                self.course.finish_and_close();
            }
        }
    }

    /// The sending side towards the client was shut down: the time that the client is still read.
    pub(super) fn linger_span(&self) -> Duration {
        let is_whole = self.record.head_read.is_some() && self.request.body == Body::Done;
        // A client that was too slow gains no time.
        if is_whole || self.record.status == HEAD_SLOW.status { LINGER } else { LINGER_MAX }
    }

    /// Everything received of the request was given to the backend, and more is expected; the client does not
    /// wait for a 100 (Continue).
    fn waits_for_client(&self) -> bool {
        let request = &self.request;
        request.body != Body::Done && !request.holds() && !self.meta.expects_continue
    }

    /// A write to the backend failed.
    pub(super) fn backend_refused_bytes(&mut self, failure: Failure, env: &mut Env<'_>) {
        match (self.course.stage(), self.course.link()) {
            (Stage::Tunnel { .. }, _) => {
                // What the backend sent before it closed is still read, to the end.
                self.response.source.ready = true;
                self.response.source.closing = true;
                self.cut_tunnel();
            }
            // A response that has begun cannot be replaced by another one.
            (_, Link::Up { connected: false, reused: false }) if self.course.answer() == Answer::Awaited => {
                self.backend_unreachable(failure, env);
            }
            (_, Link::Up { connected: false, reused: true }) if self.course.answer() == Answer::Awaited => {
                self.backend_failed(env);
            }
            _ => {
                // The backend may have answered before it closed: its octets are read, and their end decides.
                self.course.abort_request();
                self.response.source.reset |= !self.response.source.closing;
                self.response.source.ready = true;
                self.response.source.closing = true;
            }
        }
    }

    /// No connection to that endpoint could be made. Nothing was sent, so another endpoint is tried.
    fn backend_unreachable(&mut self, failure: Failure, env: &mut Env<'_>) {
        self.blame(failure, When::Later);
        let waited_from = self.record.head_read.unwrap_or(env.now);
        if env.now >= waited_from.after(self.policy(env.settings).timeout) {
            self.refuse(reply_for(failure), env);
            return;
        }
        self.try_another(failure, env);
    }

    /// A try failed, and the request can be sent again: tries another endpoint if the retry rule allows.
    pub(super) fn try_another(&mut self, failure: Failure, env: &mut Env<'_>) {
        self.unreachable = reply_for(failure);
        if !self.tries.may_go_on(self.policy(env.settings).retries_max) {
            self.refuse(self.unreachable, env);
        } else if self.course.is_linked() {
            self.dial_again();
        }
    }

    fn dial_again(&mut self) {
        self.request.outgoing.rewind();
        self.course.dial_again();
    }

    /// The backend connection failed or ended before the final response began, or failed during it.
    pub(super) fn backend_failed(&mut self, env: &mut Env<'_>) {
        if matches!(self.course.stage(), Stage::Tunnel { .. }) {
            self.response.end_short();
            self.cut_tunnel();
            return;
        }
        match self.course.answer() {
            Answer::Begun => self.cut("backend_cut"),
            Answer::Awaited if self.may_send_again() => {
                if self.course.is_reused() {
                    // It was closed while it was idle, which is no evidence against the endpoint.
                    self.dial_again();
                } else {
                    self.blame(Failure::Closed, When::Later);
                    self.try_another(Failure::Closed, env);
                }
            }
            Answer::Awaited | Answer::Heard => {
                if self.course.answer() == Answer::Heard || !self.course.is_reused() {
                    self.blame(Failure::Closed, When::Later);
                }
                self.course.close_backend();
                self.response.incoming.clear();
                self.refuse(BACKEND_FAILED, env);
            }
        }
    }

    /// The backend accepts no more octets of a tunnel. Octets that it sent still go to the client.
    fn cut_tunnel(&mut self) {
        self.record.cause = Cause::Cut("backend_cut");
        self.request.abandon();
        self.course.end_tunnel_to(Side::Backend);
    }

    /// RFC 9112 section 9.3.1, RFC 9110 section 9.2.2: a request is sent again only if all of it is still in
    /// memory, and either none of it was sent or its method is idempotent.
    fn may_send_again(&self) -> bool {
        let sent = matches!(self.course.link(), Link::Up { connected: true, .. });
        self.request.rewindable && (!sent || self.meta.method.is_idempotent())
    }

    /// The response cannot be completed. The client can see that: the connection ends before the length or
    /// the last chunk, or by a reset if the close frames the response.
    pub(super) fn cut(&mut self, cause: &'static str) {
        self.record.cause = Cause::Cut(cause);
        let framed = self.meta.version == Version::Http11 || matches!(self.response.body, Body::Length(_));
        if !framed {
            self.tear();
            return;
        }
        self.course.close_client();
        self.course.abort_request();
        self.response.end_short();
    }

    /// The client's response is incomplete and cannot be continued.
    fn tear(&mut self) {
        self.course.finish_by_reset();
    }

    /// The client connection is lost: nothing more can be sent to the client.
    pub(super) fn client_lost(&mut self) {
        if self.course.stage() == Stage::Over {
            return;
        }
        if self.course.answer() != Answer::Begun && self.record.head_read.is_some() {
            self.record.status = CLIENT_GONE;
            self.record.cause = Cause::Cut("client_gone");
        } else if self.course.stage() == Stage::Relay && !self.response.is_delivered() {
            self.record.cause = Cause::Cut("client_gone");
        }
        self.course.finish_and_close();
    }

    /// Apex answers the request itself. If the rest of the request is still to come, the connection closes
    /// after the response.
    pub(super) fn refuse(&mut self, reply: LocalReply, env: &mut Env<'_>) {
        if self.request.body != Body::Done || env.serving != Serving::On {
            self.course.close_client();
        }
        self.record.status = reply.status;
        self.record.cause = Cause::Apex(reply.reason);
        self.course.begin_own_answer();
        self.active = env.now;
        let connection = self.meta.connection(self.course.client_keeps());
        let out = self.response.outgoing.open(env.buffers);
        let length = reply::write(out, reply, self.meta.content(), connection, env.date);
        self.response.holds_message(length);
    }
}
