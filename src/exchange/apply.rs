//! What the outcome of a step changes, as far as that does not depend on what the bytes mean.

use super::pump::{Body, Source};
use super::rules::Given;
use super::state::{Exchange, Link, Stage, UNREACHABLE};
use super::step::{Outcome, Side, Step};

impl Exchange {
    /// Tells the outcome of the step that [`Exchange::next_step`] named.
    pub fn apply(&mut self, step: Step, outcome: Outcome, given: &mut Given<'_>) {
        match (step, outcome) {
            (Step::Read(Side::Client), outcome) => self.client_read(outcome, given),
            (Step::Read(Side::Backend), outcome) => self.backend_read(outcome, given),
            (Step::Fill(side), outcome) => self.fill(side, outcome, given),
            (Step::Write(side) | Step::Drain(side), Outcome::Moved { count, full }) => {
                self.active = given.now;
                self.gave(step, side, count, full, given);
            }
            (Step::Write(Side::Client) | Step::Drain(Side::Client), Outcome::Blocked) => {
                self.response.sink.ready = false;
            }
            (Step::Write(Side::Backend) | Step::Drain(Side::Backend), Outcome::Blocked) => {
                // From here on it is the backend that takes its time.
                self.pace = None;
                self.request.sink.ready = false;
            }
            (Step::Write(Side::Client) | Step::Drain(Side::Client), _) => self.client_gone = true,
            (Step::Write(Side::Backend) | Step::Drain(Side::Backend), _) => self.backend_refused_bytes(given),
            (Step::Dial { .. }, outcome) => self.dialed(outcome, given),
            (Step::Shutdown(side), _) => self.was_shut_down(side, given),
            (Step::Release(_), _) => self.released(given),
            (Step::Finish(_) | Step::Wait, _) => {}
        }
    }

    /// A sink took octets.
    fn gave(&mut self, step: Step, side: Side, count: usize, full: bool, given: &mut Given<'_>) {
        let pump = match side {
            Side::Client => &mut self.response,
            Side::Backend => &mut self.request,
        };
        if matches!(step, Step::Drain(_)) {
            pump.drained(count);
        } else {
            pump.wrote(count, given.buffers);
        }
        // A short write says that the socket's buffer is full; an edge will tell when it is not.
        if !full && matches!(step, Step::Write(_)) {
            pump.sink.ready = false;
            if side == Side::Backend {
                self.pace = None;
            }
        }
        if side == Side::Backend
            && let Link::Up { reused, connected: false } = self.link
        {
            self.link = Link::Up { reused, connected: true };
            self.account.connected = Some(given.now);
        }
        self.advance(side, given);
    }

    /// Moves on what the direction towards `sink` holds in memory.
    pub(super) fn advance(&mut self, sink: Side, given: &mut Given<'_>) {
        let (pump, from) = match sink {
            Side::Client => (&mut self.response, Side::Backend),
            Side::Backend => (&mut self.request, Side::Client),
        };
        // Nothing is left to be moved on behind most steps.
        let moved =
            if pump.body == Body::Done { Ok(()) } else { pump.advance(&given.rules.head, given.buffers) };
        match (moved, from) {
            (Ok(()), _) => self.hold_body_limit(given),
            (Err(refusal), Side::Client) => self.request_broken(refusal, given),
            (Err(_), Side::Backend) => self.cut("backend_framing"),
        }
    }

    fn fill(&mut self, side: Side, outcome: Outcome, given: &mut Given<'_>) {
        let pump = match side {
            Side::Client => &mut self.request,
            Side::Backend => &mut self.response,
        };
        match outcome {
            Outcome::Moved { count, .. } => {
                self.active = given.now;
                pump.filled(count);
                if side == Side::Client {
                    self.keep_pace(count, given);
                }
                self.hold_body_limit(given);
            }
            Outcome::Blocked => pump.fill_blocked(),
            Outcome::NoPipe => pump.goes_without_pipe(),
            Outcome::Ended => self.source_ended(side, given),
            _ if side == Side::Client => self.client_gone = true,
            _ => self.backend_failed(given),
        }
    }

    fn dialed(&mut self, outcome: Outcome, given: &mut Given<'_>) {
        match outcome {
            Outcome::Dialed { member, reused, bulk } => {
                self.stage = Stage::Relay;
                self.link = Link::Up { reused, connected: false };
                self.account.retries += u32::from(self.account.member.is_some());
                self.account.member = Some(member);
                self.active = given.now;
                self.backend_deaf = false;
                self.request.sink.ready = true;
                self.response.source = Source::default();
                // Where a long response is expected, little of it is to be copied before its head says so.
                self.response.wide = !bulk;
            }
            Outcome::DialFailed { member } => {
                self.account.member = Some(member);
                self.unreachable = UNREACHABLE;
                self.mark_tried(member);
            }
            _ => self.refuse(self.unreachable, given),
        }
    }

    fn was_shut_down(&mut self, side: Side, given: &Given<'_>) {
        match (&mut self.stage, side) {
            (Stage::Tunnel { backend_done, .. }, Side::Client) => *backend_done = true,
            (Stage::Tunnel { client_done, .. }, Side::Backend) => *client_done = true,
            (Stage::Linger { half_closed }, _) => {
                *half_closed = true;
                self.active = given.now;
                // What was read belongs to nobody now.
                self.request.abandon();
            }
            _ => {}
        }
    }

    fn released(&mut self, given: &mut Given<'_>) {
        self.link = Link::None;
        if matches!(self.stage, Stage::Tunnel { .. }) {
            // A client that still sends could lose the end of the tunnel to a reset.
            self.active = given.now;
            self.stage =
                if self.request.source.ended { Stage::Over } else { Stage::Linger { half_closed: true } };
        } else if self.is_response_read() && self.request.body != Body::Done {
            // The rest of the request is for nobody; what of it was read already is thrown away now.
            self.request.discard();
            self.advance(Side::Backend, given);
        }
    }
}
