//! The course of an exchange: every change of its stage, of its backend connection and of what becomes of its connections stands
//! here, as a transition with a name. What is here changes nowhere else.
//!
//! ```text
//!   Head ──begin_dial──▶ Dial ──begin_relay──▶ Relay ──begin_response──▶ Relay ──begin_discard──▶ Discard
//!    │                    ▲  │                  │  │                       │                        │ finish: the
//!    │                    └──┼────dial_again────┘  └──become_tunnel──▶ Tunnel                       │ connection goes on
//!    │                       │                                             │ half_close             │
//!    └──begin_own_answer─────┴──▶ Relay ──begin_linger──▶ Linger ──half_close──▶ Linger ──finish──▶ Over
//! ```
//!
//! A client that is lost, and a response that can only be cut by a reset, finish at any stage.

use super::step::Side;
use crate::base::Tick;
use crate::http::head::Persistence;

/// Where an exchange stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// The head of the request is being read.
    Head,
    /// A backend connection is wanted.
    Dial {
        /// No idle one.
        fresh: bool,
    },
    /// Request and response are on their way; the response may be an answer of Apex's own.
    Relay,
    /// Both directions are opaque (RFC 9110 section 7.8).
    Tunnel {
        /// The end of what the client sent was passed on.
        client_done: bool,
        /// The end of what the backend sent was passed on.
        backend_done: bool,
    },
    /// The answer was given; the rest of the request is read and thrown away, and then the connection goes on.
    Discard,
    /// The answer was given; the connection is half-closed and read for a bounded time (RFC 9112 section 9.6).
    Linger {
        /// The sending side was shut down.
        half_closed: bool,
    },
    /// Nothing more happens.
    Over,
}

/// The backend connection, as far as the exchange knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Link {
    None,
    Up {
        /// It had served before this exchange.
        reused: bool,
        /// Octets were written to it.
        connected: bool,
    },
}

/// How far the response has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Answer {
    /// Nothing was seen of it.
    Awaited,
    /// Some bytes came, and perhaps interim responses.
    Heard,
    /// The final head went out, or an answer of Apex's own did.
    Begun,
}

/// The course of one exchange.
#[derive(Debug)]
pub(super) struct Course {
    stage: Stage,
    /// When reading behind the answer is over at the latest; apart from the stage, which is looked at all the time.
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
    /// The request has not begun.
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

    /// When reading behind the answer is over at the latest.
    pub(super) fn until(&self) -> Tick {
        self.until
    }

    pub(super) fn link(&self) -> Link {
        self.link
    }

    pub(super) fn answer(&self) -> Answer {
        self.answer
    }

    /// Whether the client connection goes on behind this exchange.
    pub(super) fn client_keeps(&self) -> Persistence {
        self.client_keeps
    }

    /// Whether the backend connection can, by what the response said.
    pub(super) fn backend_keeps(&self) -> Persistence {
        self.backend_keeps
    }

    /// The client connection was reset or closed both ways.
    pub(super) fn is_client_gone(&self) -> bool {
        self.client_gone
    }

    /// Only a reset tells the client that its response is not whole.
    pub(super) fn ends_in_reset(&self) -> bool {
        self.ends_in_reset
    }

    /// The request goes to no backend any more.
    pub(super) fn is_request_aborted(&self) -> bool {
        self.request_aborted
    }

    pub(super) fn is_linked(&self) -> bool {
        matches!(self.link, Link::Up { .. })
    }

    /// The backend connection is new, and no octet was written to it yet.
    pub(super) fn is_connecting(&self) -> bool {
        matches!(self.link, Link::Up { connected: false, .. })
    }

    /// The backend connection had served before this exchange.
    pub(super) fn is_reused(&self) -> bool {
        matches!(self.link, Link::Up { reused: true, .. })
    }

    // What becomes of the connections.

    /// What the request says of the client connection.
    pub(super) fn keep_client(&mut self, keeps: Persistence) {
        self.client_keeps = keeps;
    }

    /// The client connection ends behind this exchange, whatever was said before.
    pub(super) fn close_client(&mut self) {
        self.client_keeps = Persistence::Close;
    }

    /// What the response says of the backend connection.
    pub(super) fn keep_backend(&mut self, keeps: Persistence) {
        self.backend_keeps = keeps;
    }

    /// The backend connection is used no more behind this exchange.
    pub(super) fn close_backend(&mut self) {
        self.backend_keeps = Persistence::Close;
    }

    /// The request goes to no backend any more: its connection takes nothing, or the request is broken.
    pub(super) fn abort_request(&mut self) {
        self.request_aborted = true;
    }

    /// The client connection was reset or closed both ways; the next step ends the exchange.
    pub(super) fn lose_client(&mut self) {
        self.client_gone = true;
    }

    // Transitions.

    /// The head is complete and was routed.
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

    /// Octets were written to the backend. True for the first ones.
    #[inline]
    pub(super) fn connect(&mut self) -> bool {
        let Link::Up { connected, .. } = &mut self.link else { return false };
        !std::mem::replace(connected, true)
    }

    /// The first octets of a response came.
    pub(super) fn hear(&mut self) {
        debug_assert!(self.stage == Stage::Relay && self.answer != Answer::Begun, "{self:?}");
        self.answer = Answer::Heard;
    }

    /// The head of the backend's response was written anew for the client.
    pub(super) fn begin_response(&mut self) {
        debug_assert_eq!((self.stage, self.answer), (Stage::Relay, Answer::Heard));
        self.answer = Answer::Begun;
    }

    /// Apex answers by itself. No backend is given anything more.
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

    /// Nothing more goes to that end of the tunnel.
    pub(super) fn end_tunnel_to(&mut self, side: Side) {
        match (&mut self.stage, side) {
            (Stage::Tunnel { backend_done, .. }, Side::Client) => *backend_done = true,
            (Stage::Tunnel { client_done, .. }, Side::Backend) => *client_done = true,
            _ => debug_assert!(false, "no tunnel: {self:?}"),
        }
    }

    /// The backend connection was let go.
    pub(super) fn release(&mut self) {
        self.link = Link::None;
    }

    /// The answer was given; the rest of the request is read, until then at the latest.
    pub(super) fn begin_discard(&mut self, until: Tick) {
        debug_assert!(self.stage == Stage::Relay && self.client_keeps == Persistence::KeepAlive, "{self:?}");
        self.stage = Stage::Discard;
        self.until = until;
    }

    /// The answer was given, and the connection ends: the client is to be told so.
    pub(super) fn begin_linger(&mut self) {
        debug_assert!(matches!(self.stage, Stage::Relay | Stage::Discard), "{self:?}");
        self.stage = Stage::Linger { half_closed: false };
        self.client_keeps = Persistence::Close;
    }

    /// The client was told that nothing more comes: it is heard until then at the latest.
    pub(super) fn half_close(&mut self, until: Tick) {
        debug_assert!(matches!(self.stage, Stage::Tunnel { .. } | Stage::Linger { .. }), "{self:?}");
        self.stage = Stage::Linger { half_closed: true };
        self.until = until;
    }

    /// Nothing more happens; what becomes of the client connection was said.
    pub(super) fn finish(&mut self) {
        self.stage = Stage::Over;
    }

    /// Nothing more happens, and the client connection ends.
    pub(super) fn finish_and_close(&mut self) {
        self.close_client();
        self.finish();
    }

    /// What the client has had is not whole, which only a reset can tell, and nothing more will come.
    pub(super) fn finish_by_reset(&mut self) {
        self.ends_in_reset = true;
        self.finish_and_close();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An exchange whose backend connection is new.
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
