//! The effects of a step's outcome, as far as they do not depend on the meaning of the octets.

use super::body::Body;
use super::ending::LINGER;
use super::flow::Source;
use super::settings::Env;
use super::state::Exchange;
use super::step::{Outcome, Side, Step};
use super::transitions::Stage;
use super::tries::When;
use crate::route::health::Failure;

impl Exchange {
    /// Takes the outcome of the step that [`Exchange::next_step`] named.
    pub fn apply(&mut self, step: Step, outcome: Outcome, env: &mut Env<'_>) {
        match (step, outcome) {
            (Step::Read(Side::Client), outcome) => self.client_read(outcome, env),
            (Step::Read(Side::Backend), outcome) => self.backend_read(outcome, env),
            (Step::Peek(side), outcome) => self.peeked(side, outcome),
            (Step::Fill(side), outcome) => self.fill(side, outcome, env),
            (Step::Write(side) | Step::Drain(side), Outcome::Moved { count, full }) => {
                self.active = env.now;
                self.look = None;
                self.gave(step, side, count, full, env);
            }
            (Step::Write(Side::Client) | Step::Drain(Side::Client), Outcome::Blocked) => {
                self.response.sink.ready = false;
            }
            (Step::Write(Side::Backend) | Step::Drain(Side::Backend), Outcome::Blocked) => {
                // The client's pace is not measured while Apex waits for the backend.
                self.pace = None;
                self.request.sink.ready = false;
            }
            (Step::Write(Side::Client) | Step::Drain(Side::Client), _) => self.course.lose_client(),
            (Step::Write(Side::Backend) | Step::Drain(Side::Backend), outcome) => {
                let failure =
                    if let Outcome::Unconnected(failure) = outcome { failure } else { Failure::Closed };
                self.backend_refused_bytes(failure, env);
            }
            (Step::Dial { .. }, outcome) => self.dialed(outcome, env),
            (Step::Shutdown(side), _) => self.was_shut_down(side, env),
            (Step::Release(_), _) => self.released(env),
            (Step::Finish(_) | Step::Wait, _) => {}
        }
    }

    fn peeked(&mut self, side: Side, outcome: Outcome) {
        let flow = match side {
            Side::Client => &mut self.request,
            Side::Backend => &mut self.response,
        };
        if outcome == Outcome::Blocked {
            flow.source.ready = false;
        } else if side == Side::Backend {
            // RFC 9112 section 9.2: octets after the response, or a close, belong to no exchange: the
            // connection cannot be reused.
            self.course.close_backend();
        }
    }

    /// A sink took octets.
    fn gave(&mut self, step: Step, side: Side, count: usize, full: bool, env: &mut Env<'_>) {
        let flow = match side {
            Side::Client => &mut self.response,
            Side::Backend => &mut self.request,
        };
        if matches!(step, Step::Drain(_)) {
            flow.drained(count);
        } else {
            flow.wrote(count, env.buffers);
        }
        // A short write means that the socket's buffer is full; an edge reports when it has room again.
        if !full && matches!(step, Step::Write(_)) {
            flow.sink.ready = false;
            if side == Side::Backend {
                self.pace = None;
            }
        }
        if side == Side::Backend && self.course.connect() {
            self.record.connected = Some(env.now);
        }
        self.advance(side, env);
    }

    /// Encodes what the direction towards `sink` holds in memory.
    pub(super) fn advance(&mut self, sink: Side, env: &mut Env<'_>) {
        let (flow, from) = match sink {
            Side::Client => (&mut self.response, Side::Backend),
            Side::Backend => (&mut self.request, Side::Client),
        };
        // Most steps leave nothing to encode.
        let moved =
            if flow.body == Body::Done { Ok(()) } else { flow.advance(&env.settings.head, env.buffers) };
        match (moved, from) {
            (Ok(()), _) => self.hold_body_limit(env),
            (Err(reply), Side::Client) => self.request_broken(reply, env),
            (Err(_), Side::Backend) => self.cut("backend_framing"),
        }
    }

    fn fill(&mut self, side: Side, outcome: Outcome, env: &mut Env<'_>) {
        let flow = match side {
            Side::Client => &mut self.request,
            Side::Backend => &mut self.response,
        };
        match outcome {
            Outcome::Moved { count, .. } => {
                self.active = env.now;
                flow.filled(count);
                if side == Side::Client {
                    self.keep_pace(count, env);
                }
                self.hold_body_limit(env);
            }
            Outcome::Blocked => flow.fill_blocked(),
            Outcome::NoPipe => flow.goes_without_pipe(),
            Outcome::Ended => self.source_ended(side, env),
            _ if side == Side::Client => self.course.lose_client(),
            _ => self.backend_failed(env),
        }
    }

    fn dialed(&mut self, outcome: Outcome, env: &mut Env<'_>) {
        match outcome {
            Outcome::Dialed { asked, reused, bulk } => {
                self.course.begin_relay(reused);
                self.record.retries += u32::from(self.record.asked.is_some());
                self.record.asked = Some(asked);
                self.failure = None;
                self.active = env.now;
                self.request.sink.ready = true;
                self.response.source = Source::default();
                // If a long response is expected, read little of it into memory before its head is parsed, so
                // that less is copied.
                self.response.large_reads = !bulk;
            }
            Outcome::DialFailed { asked, failure } => {
                self.record.asked = Some(asked);
                self.blame(failure, When::AtOnce);
                self.try_another(failure, env);
            }
            _ => self.refuse(self.unreachable, env),
        }
    }

    fn was_shut_down(&mut self, side: Side, env: &Env<'_>) {
        match self.course.stage() {
            Stage::Tunnel { .. } => self.course.end_tunnel_to(side),
            Stage::Linger { .. } => {
                self.course.half_close(env.now.after(self.linger_span()));
                self.active = env.now;
                // The octets in memory have no destination any more.
                self.request.abandon();
            }
            _ => {}
        }
    }

    fn released(&mut self, env: &mut Env<'_>) {
        self.course.release();
        if matches!(self.course.stage(), Stage::Tunnel { .. }) {
            self.active = env.now;
            if self.request.source.ended {
                self.course.finish();
            } else {
                // A client that still sends could lose the end of the tunnel to a reset.
                self.course.half_close(env.now.after(LINGER));
            }
        } else if self.is_response_read() && self.request.body != Body::Done {
            // The rest of the request has no destination: discard what was already read.
            self.request.discard();
            self.advance(Side::Backend, env);
        }
    }
}
