//! Slow peers: octets that a peer acknowledges count as progress, although its socket has no room yet.
//!
//! The kernel reports a socket as writable once a third of its send buffer is free, and that buffer grows to
//! megabytes: for a client that takes 20 KB a second, that is more than half a minute. So while octets are
//! queued for a peer, the worker asks the kernel a few times within the timeout how much the peer has
//! acknowledged. It does not ask while octets flow.

use super::settings::{Env, Settings};
use super::state::Exchange;
use super::step::Side;
use super::transitions::{Answer, Stage};
use crate::base::Tick;
use crate::http::limits::{ACKNOWLEDGED_BYTES_MIN, LOOKS};

/// What a peer had acknowledged at the last look.
#[derive(Debug, Clone, Copy)]
pub(super) struct Look {
    side: Side,
    /// Octets acknowledged since its connection began, at the start of this span; [`u64::MAX`] if the kernel
    /// does not count them.
    acknowledged: u64,
    at: Tick,
}

impl Exchange {
    /// Called after the deadline: the side whose acknowledgements decide whether the exchange continues;
    /// `None`: neither.
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

    /// The kernel has taken all of a long request, of which much may be unsent, and no octet of the response
    /// has come.
    fn awaits_answer_to_upload(&self) -> bool {
        self.course.stage() == Stage::Relay
            && self.course.answer() != Answer::Begun
            && self.request.is_delivered()
            && self.request.content_bytes >= ACKNOWLEDGED_BYTES_MIN
    }

    /// The time of the next look at what a peer has acknowledged; [`Tick::NEVER`] if none is due.
    #[inline]
    pub(super) fn next_look(&self, settings: &Settings) -> Tick {
        // The case of most exchanges: octets are passed on at once, and the request is short.
        let flows = self.request.sink.ready && self.response.sink.ready;
        if flows && self.request.content_bytes < ACKNOWLEDGED_BYTES_MIN {
            return Tick::NEVER;
        }
        let Some(side) = self.awaits_acknowledgement() else { return Tick::NEVER };
        let since = self.look.filter(|look| look.side == side).map_or(self.active, |look| look.at);
        since.after(self.patience(settings) / LOOKS)
    }

    /// Called after the deadline, perhaps only that of a look. `acknowledged`: octets since the connection of
    /// [`Exchange::awaits_acknowledgement`] began. Returns true if the exchange continues.
    pub(super) fn has_moved(&mut self, acknowledged: Option<u64>, env: &Env<'_>) -> bool {
        let Some(side) = self.awaits_acknowledgement() else { return false };
        let count = acknowledged.unwrap_or(u64::MAX);
        let before = self.look.filter(|look| look.side == side).map(|look| look.acknowledged);
        let has_begun = before.is_none();
        // Queued octets show that the peer took some a moment ago: its pace is measured from this look, which
        // begins a span.
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
