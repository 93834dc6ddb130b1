//! The course of an exchange: its stage, its backend connection, and the persistence of both connections.
//! Every change of them is a named transition in this file; no other file changes them.
//!
//! ```text
//!   Head ──begin_dial──▶ Dial ──begin_relay──▶ Relay ──begin_response──▶ Relay ──begin_discard──▶ Discard
//!    │                    ▲  │                  │  │                       │                        │ finish: the
//!    │                    └──┼────dial_again────┘  └──become_tunnel──▶ Tunnel                       │ connection goes on
//!    │                       │                                             │ half_close             │
//!    └──begin_own_answer─────┴──▶ Relay ──begin_linger──▶ Linger ──half_close──▶ Linger ──finish──▶ Over
//! ```
//!
//! The loss of the client, or a response that must be cut by a reset, ends the exchange at any stage.

use super::step::Side;
use crate::base::Tick;
use crate::http::head::Persistence;

/// The stage of an exchange.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// The head of the request is being read.
    Head,
    /// The exchange needs a backend connection.
    Dial {
        /// An idle connection must not be used.
        fresh: bool,
    },
    /// Request and response are relayed; the response may be Apex's own answer.
    Relay,
    /// Both directions are opaque (RFC 9110 section 7.8).
    Tunnel {
        /// The end of the client's octets was passed on.
        client_done: bool,
        /// The end of the backend's octets was passed on.
        backend_done: bool,
    },
    /// The response was sent. The rest of the request is read and discarded; then the connection persists.
    Discard,
    /// The response was sent. The connection is half-closed and read for a bounded time (RFC 9112 section
    /// 9.6).
    Linger {
        /// The sending side has been shut down.
        half_closed: bool,
    },
    /// The exchange is over.
    Over,
}

/// The backend connection, as far as the exchange knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Link {
    None,
    Up {
        /// It served an earlier exchange.
        reused: bool,
        /// Octets have been written to it.
        connected: bool,
    },
}

/// The progress of the response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Answer {
    /// No octet of it has been received.
    Awaited,
    /// Octets have been received, perhaps interim responses.
    Heard,
    /// The final head has been written, or Apex's own answer has begun.
    Begun,
}

/// The course of one exchange.
#[derive(Debug)]
pub(super) struct Course {
    stage: Stage,
    /// The deadline of reading after the response. Not part of the stage, which is compared at every step.
    until: Tick,
    link: Link,
    answer: Answer,
    client_keeps: Persistence,
    backend_keeps: Persistence,
    client_gone: bool,
    ends_in_reset: bool,
    request_aborted: bool,
}

impl Course {
    /// The course of a request that has not begun.
    pub(super) const fn new() -> Self {
        Self {
            stage: Stage::Head,
            until: Tick::NEVER,
            link: Link::None,
            answer: Answer::Awaited,
            client_keeps: Persistence::Close,
            backend_keeps: Persistence::Close,
            client_gone: false,
            ends_in_reset: false,
            request_aborted: false,
        }
    }

    pub(super) fn stage(&self) -> Stage {
        self.stage
    }

    /// The deadline of reading after the response.
    pub(super) fn until(&self) -> Tick {
        self.until
    }

    pub(super) fn link(&self) -> Link {
        self.link
    }

    pub(super) fn answer(&self) -> Answer {
        self.answer
    }

    /// Whether the client connection persists after this exchange.
    pub(super) fn client_keeps(&self) -> Persistence {
        self.client_keeps
    }

    /// Whether the backend connection may persist, according to the response.
    pub(super) fn backend_keeps(&self) -> Persistence {
        self.backend_keeps
    }

    /// The client connection was reset or closed both ways.
    pub(super) fn is_client_gone(&self) -> bool {
        self.client_gone
    }

    /// The response is incomplete, and only a reset can show that to the client.
    pub(super) fn ends_in_reset(&self) -> bool {
        self.ends_in_reset
    }

    /// No more of the request is sent to a backend.
    pub(super) fn is_request_aborted(&self) -> bool {
        self.request_aborted
    }

    pub(super) fn is_linked(&self) -> bool {
        matches!(self.link, Link::Up { .. })
    }

    /// The backend connection is new, and no octet has been written to it.
    pub(super) fn is_connecting(&self) -> bool {
        matches!(self.link, Link::Up { connected: false, .. })
    }

    /// The backend connection served an earlier exchange.
    pub(super) fn is_reused(&self) -> bool {
        matches!(self.link, Link::Up { reused: true, .. })
    }

    // Persistence of the connections.

    /// Sets the persistence of the client connection, according to the request.
    pub(super) fn keep_client(&mut self, keeps: Persistence) {
        self.client_keeps = keeps;
    }

    /// The client connection closes after this exchange, whatever was decided before.
    pub(super) fn close_client(&mut self) {
        self.client_keeps = Persistence::Close;
    }

    /// Sets the persistence of the backend connection, according to the response.
    pub(super) fn keep_backend(&mut self, keeps: Persistence) {
        self.backend_keeps = keeps;
    }

    /// The backend connection must not be reused after this exchange.
    pub(super) fn close_backend(&mut self) {
        self.backend_keeps = Persistence::Close;
    }

    /// No more of the request is sent to a backend: the connection accepts no octets, or the request is
    /// malformed.
    pub(super) fn abort_request(&mut self) {
        self.request_aborted = true;
    }

    /// The client connection was reset or closed both ways; the next step ends the exchange.
    pub(super) fn lose_client(&mut self) {
        self.client_gone = true;
    }

    // Transitions.

    /// The head is complete and routed.
    pub(super) fn begin_dial(&mut self) {
        debug_assert_eq!(self.stage, Stage::Head);
        self.stage = Stage::Dial { fresh: false };
    }

    /// The connection failed, and the request may be sent again.
    pub(super) fn dial_again(&mut self) {
        debug_assert_eq!((self.stage, self.answer), (Stage::Relay, Answer::Awaited));
        self.stage = Stage::Dial { fresh: true };
    }

    /// A backend connection was found.
    pub(super) fn begin_relay(&mut self, reused: bool) {
        debug_assert!(matches!(self.stage, Stage::Dial { .. }) && !self.is_linked(), "{self:?}");
        self.stage = Stage::Relay;
        self.link = Link::Up { reused, connected: false };
        self.request_aborted = false;
    }

    /// Octets were written to the backend. Returns true for the first ones.
    #[inline]
    pub(super) fn connect(&mut self) -> bool {
        let Link::Up { connected, .. } = &mut self.link else { return false };
        !std::mem::replace(connected, true)
    }

    /// The first octets of a response were received.
    pub(super) fn hear(&mut self) {
        debug_assert!(self.stage == Stage::Relay && self.answer != Answer::Begun, "{self:?}");
        self.answer = Answer::Heard;
    }

    /// The head of the backend's response has been written for the client.
    pub(super) fn begin_response(&mut self) {
        debug_assert_eq!((self.stage, self.answer), (Stage::Relay, Answer::Heard));
        self.answer = Answer::Begun;
    }

    /// Apex answers itself. No more is sent to a backend.
    pub(super) fn begin_own_answer(&mut self) {
        let may = matches!(self.stage, Stage::Head | Stage::Dial { .. } | Stage::Relay);
        debug_assert!(may && self.answer != Answer::Begun, "{self:?}");
        self.stage = Stage::Relay;
        self.answer = Answer::Begun;
        self.request_aborted = true;
        self.backend_keeps = Persistence::Close;
    }

    /// The backend agreed to an upgrade.
    pub(super) fn become_tunnel(&mut self) {
        debug_assert_eq!((self.stage, self.answer), (Stage::Relay, Answer::Heard));
        self.stage = Stage::Tunnel { client_done: false, backend_done: false };
        self.answer = Answer::Begun;
        self.client_keeps = Persistence::Close;
    }

    /// Nothing more is sent to that end of the tunnel.
    pub(super) fn end_tunnel_to(&mut self, side: Side) {
        match (&mut self.stage, side) {
            (Stage::Tunnel { backend_done, .. }, Side::Client) => *backend_done = true,
            (Stage::Tunnel { client_done, .. }, Side::Backend) => *client_done = true,
            _ => debug_assert!(false, "no tunnel: {self:?}"),
        }
    }

    /// The backend connection was released.
    pub(super) fn release(&mut self) {
        self.link = Link::None;
    }

    /// The response was sent; the rest of the request is read, at most until the deadline.
    pub(super) fn begin_discard(&mut self, until: Tick) {
        debug_assert!(self.stage == Stage::Relay && self.client_keeps == Persistence::KeepAlive, "{self:?}");
        self.stage = Stage::Discard;
        self.until = until;
    }

    /// The response was sent, and the connection closes: the sending side is to be shut down.
    pub(super) fn begin_linger(&mut self) {
        debug_assert!(matches!(self.stage, Stage::Relay | Stage::Discard), "{self:?}");
        self.stage = Stage::Linger { half_closed: false };
        self.client_keeps = Persistence::Close;
    }

    /// The sending side has been shut down: the client is read at most until the deadline.
    pub(super) fn half_close(&mut self, until: Tick) {
        debug_assert!(matches!(self.stage, Stage::Tunnel { .. } | Stage::Linger { .. }), "{self:?}");
        self.stage = Stage::Linger { half_closed: true };
        self.until = until;
    }

    /// The exchange is over; the persistence of the client connection is decided.
    pub(super) fn finish(&mut self) {
        self.stage = Stage::Over;
    }

    /// The exchange is over, and the client connection closes.
    pub(super) fn finish_and_close(&mut self) {
        self.close_client();
        self.finish();
    }

    /// The response is incomplete and cannot be continued. Only a reset can show that to the client.
    pub(super) fn finish_by_reset(&mut self) {
        self.ends_in_reset = true;
        self.finish_and_close();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The course of an exchange with a new backend connection.
    fn relay() -> Course {
        let mut course = Course::new();
        course.begin_dial();
        course.begin_relay(false);
        course
    }

    #[test]
    fn a_connection_is_new_until_octets_went_by_it() {
        let mut course = relay();
        assert!(course.is_linked() && course.is_connecting() && !course.is_reused());
        assert_eq!([course.connect(), course.connect()], [true, false]);
        assert!(!course.is_connecting());
        course.release();
        assert!(!course.is_linked() && !course.connect());
    }

    #[test]
    fn another_connection_takes_what_the_last_one_did_not() {
        let mut course = relay();
        course.abort_request();
        course.dial_again();
        course.release();
        assert_eq!(course.stage(), Stage::Dial { fresh: true });
        course.begin_relay(false);
        assert!(!course.is_request_aborted());
    }

    #[test]
    fn an_answer_of_apex_ends_the_request_for_its_backend() {
        let mut course = relay();
        course.hear();
        course.keep_backend(Persistence::KeepAlive);
        course.begin_own_answer();
        assert_eq!((course.stage(), course.answer()), (Stage::Relay, Answer::Begun));
        assert!(course.is_request_aborted() && course.backend_keeps() == Persistence::Close);
    }

    #[test]
    fn a_tunnel_ends_one_direction_after_the_other() {
        let mut course = relay();
        course.hear();
        course.become_tunnel();
        course.end_tunnel_to(Side::Client);
        assert_eq!(course.stage(), Stage::Tunnel { client_done: false, backend_done: true });
        course.end_tunnel_to(Side::Backend);
        assert_eq!(course.stage(), Stage::Tunnel { client_done: true, backend_done: true });
    }

    #[test]
    fn whoever_is_heard_out_is_closed() {
        let mut course = relay();
        course.hear();
        course.keep_client(Persistence::KeepAlive);
        course.begin_response();
        course.begin_discard(Tick(7));
        course.begin_linger();
        course.half_close(Tick(9));
        assert_eq!((course.stage(), course.until()), (Stage::Linger { half_closed: true }, Tick(9)));
        course.finish();
        assert_eq!((course.stage(), course.client_keeps()), (Stage::Over, Persistence::Close));
    }

    #[test]
    #[cfg(debug_assertions)]
    fn what_cannot_follow_is_a_bug() {
        let wrong: [(&str, fn()); 5] = [
            ("a response to nothing", || Course::new().begin_response()),
            ("a second dial", || {
                let mut course = relay();
                course.begin_relay(false);
            }),
            ("sent again once it was heard", || {
                let mut course = relay();
                course.hear();
                course.dial_again();
            }),
            ("a second answer", || {
                let mut course = Course::new();
                course.begin_own_answer();
                course.begin_own_answer();
            }),
            ("a tunnel ends that is none", || Course::new().end_tunnel_to(Side::Client)),
        ];
        for (case, run) in wrong {
            assert!(std::panic::catch_unwind(run).is_err(), "{case}");
        }
    }
}
