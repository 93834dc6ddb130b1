//! Peers that take what they are given slowly: what they acknowledge is movement, although their sockets have no room yet.
//!
//! The kernel tells that a socket can be written once a third of its send buffer is free, and that buffer grows to megabytes: a
//! client that takes 20 KB a second has it told after more than half a minute. So while octets wait for a peer, the worker asks a
//! few times within the timeout how much the peer has acknowledged. Nothing is asked while octets flow.

use super::settings::{Env, Settings};
use super::state::Exchange;
use super::step::Side;
use super::transitions::{Answer, Stage};
use crate::base::Tick;
use crate::http::limits::{ACKNOWLEDGED_BYTES_MIN, LOOKS};

/// What a peer had acknowledged when it was last asked about.
#[derive(Debug, Clone, Copy)]
pub(super) struct Look {
    side: Side,
    /// Octets since its connection began, when this span began; [`u64::MAX`] where the kernel does not count them.
    acknowledged: u64,
    at: Tick,
}

impl Exchange {
    /// Asked when the deadline has passed: whose acknowledgements say whether the exchange goes on; none: nobody's.
    pub fn awaits_acknowledgement(&self) -> Option<Side> {
        match self.course.stage() {
            Stage::Relay | Stage::Tunnel { .. } if !self.course.is_connecting() => {}
            _ => return None,
        }
        if self.response.is_blocked() {
            return Some(Side::Client);
        }
        let to_backend = self.course.is_linked() && !self.course.is_request_aborted();
        (to_backend && (self.request.is_blocked() || self.awaits_answer_to_upload())).then_some(Side::Backend)
    }

    /// All of a long request is with the kernel, which may have much of it still to send, and nothing of the answer came.
    fn awaits_answer_to_upload(&self) -> bool {
        self.course.stage() == Stage::Relay
            && self.course.answer() != Answer::Begun
            && self.request.is_delivered()
            && self.request.content_bytes >= ACKNOWLEDGED_BYTES_MIN
    }

    /// The time for the next look at what a peer has acknowledged; [`Tick::NEVER`] where none is due.
    #[inline]
    pub(super) fn next_look(&self, settings: &Settings) -> Tick {
        // So it is for most exchanges: what comes goes on at once, and the request is short.
        let flows = self.request.sink.ready && self.response.sink.ready;
        if flows && self.request.content_bytes < ACKNOWLEDGED_BYTES_MIN {
            return Tick::NEVER;
        }
        let Some(side) = self.awaits_acknowledgement() else { return Tick::NEVER };
        let since = self.look.filter(|look| look.side == side).map_or(self.active, |look| look.at);
        since.after(self.patience(settings) / LOOKS)
    }

    /// The deadline has passed, perhaps only that of a look. `acknowledged`: octets since the connection of
    /// [`Exchange::awaits_acknowledgement`] began. True where the exchange goes on.
    pub(super) fn has_moved(&mut self, acknowledged: Option<u64>, env: &Env<'_>) -> bool {
        let Some(side) = self.awaits_acknowledgement() else { return false };
        let count = acknowledged.unwrap_or(u64::MAX);
        let before = self.look.filter(|look| look.side == side).map(|look| look.acknowledged);
        let has_begun = before.is_none();
        // Octets that wait tell that the peer took some a moment ago: from now on its pace is known. A span begins with this look.
        let took_some = (has_begun && acknowledged.is_some() && !self.awaits_answer_to_upload())
            || before.is_some_and(|before| count.saturating_sub(before) >= ACKNOWLEDGED_BYTES_MIN);
        if took_some {
            self.active = env.now;
        }
        let acknowledged = if took_some { count } else { before.unwrap_or(count) };
        self.look = Some(Look { side, acknowledged, at: env.now });
        env.now < self.active.after(self.patience(env.settings))
    }
}
