//! The order of steps: which one is next in each stage. This file performs nothing.

use super::body::Body;
use super::ending::LINGER_MAX;
use super::flow::Move;
use super::state::Exchange;
use super::step::{Release, Side, Step};
use super::transitions::{Answer, Stage};
use crate::http::head::Persistence;

impl Exchange {
    /// The next step. The caller performs it and passes its outcome to [`Exchange::apply`] before the next
    /// call.
    pub fn next_step(&mut self) -> Step {
        if self.course.is_client_gone() {
            self.client_lost();
        }
        // Checked first: most steps belong to this stage.
        if self.course.stage() == Stage::Relay {
            if self.course.is_linked() || !self.is_response_read() || !self.response.is_delivered() {
                return self.next_of_relay();
            }
            self.end_answer();
        }
        self.next_beside_relay()
    }

    fn next_beside_relay(&mut self) -> Step {
        if self.course.stage() == Stage::Over {
            self.count_content();
        }
        match self.course.stage() {
            Stage::Head if self.request.source.ready && !self.request.source.ended => {
                Step::Read(Side::Client)
            }
            Stage::Dial { .. } | Stage::Over if self.course.is_linked() => Step::Release(Release::Close),
            Stage::Dial { fresh } => Step::Dial { fresh },
            Stage::Tunnel { client_done, backend_done } => self.next_of_tunnel(client_done, backend_done),
            Stage::Linger { half_closed: false } => Step::Shutdown(Side::Client),
            Stage::Discard | Stage::Linger { half_closed: true } if self.request.source.ready => {
                Step::Read(Side::Client)
            }
            Stage::Head | Stage::Relay | Stage::Discard | Stage::Linger { .. } => Step::Wait,
            Stage::Over => Step::Finish(self.course.client_keeps()),
        }
    }

    /// The whole response was written to the client: decides whether the connection persists.
    fn end_answer(&mut self) {
        let request_read = self.request.body == Body::Done;
        if self.course.client_keeps() == Persistence::KeepAlive {
            if request_read {
                self.course.finish();
            } else {
                // RFC 9112 section 9.3: read the rest of the request, or close the connection.
                self.course.begin_discard(self.active.after(LINGER_MAX));
            }
            return;
        }
        // RFC 9112 section 9.6: a close with unread octets becomes a reset, which can destroy the response in
        // flight. A plain close is safe only if the client said that it sends nothing more.
        let quiet = self.meta.closes
            && request_read
            && self.request.incoming.is_empty()
            && !self.request.source.ready;
        if quiet || self.request.source.ended {
            self.course.finish();
        } else {
            self.course.begin_linger();
        }
    }

    #[inline]
    fn next_of_relay(&self) -> Step {
        // Write before reading: the peer can then work while Apex does the rest.
        if self.course.is_linked()
            && !self.course.is_request_aborted()
            && let Some(step) = to_sink(self.request.move_to_sink(), Side::Backend)
        {
            return step;
        }
        if let Some(step) = to_sink(self.response.move_to_sink(), Side::Client) {
            return step;
        }
        if self.is_response_read() {
            if self.course.is_linked() && self.is_request_delivered() {
                return self.let_go();
            }
            if self.course.is_linked() && (self.course.is_request_aborted() || self.response.is_delivered()) {
                return Step::Release(Release::Close);
            }
        } else if let Some(step) = self.next_from_backend() {
            return step;
        }
        if self.course.is_linked()
            && !self.course.is_request_aborted()
            && let Some(step) = from_source(self.request.move_from_source(), Side::Client)
        {
            return step;
        }
        Step::Wait
    }

    fn next_from_backend(&self) -> Option<Step> {
        if !self.course.is_linked() {
            return None;
        }
        if self.course.answer() == Answer::Begun {
            return from_source(self.response.move_from_source(), Side::Backend);
        }
        // The response head is awaited.
        let source = self.response.source;
        (source.ready && !source.ended && !self.response.has_memory()).then_some(Step::Read(Side::Backend))
    }

    /// A backend connection is reused only if both messages are complete and no octet follows the response
    /// (RFC 9112 sections 9.2, 9.3).
    fn let_go(&self) -> Step {
        let source = self.response.source;
        if self.course.backend_keeps() == Persistence::Close
            || source.closing
            || source.ended
            || self.response.has_surplus()
        {
            Step::Release(Release::Close)
        } else if source.ready {
            // The last read or fill did not drain the socket, so no edge would report octets that are already
            // there. Such octets belong to no response. A peek finds them without memory, which the response
            // may still fill.
            Step::Peek(Side::Backend)
        } else {
            Step::Release(Release::Reuse)
        }
    }

    fn next_of_tunnel(&self, client_done: bool, backend_done: bool) -> Step {
        if let Some(step) = to_sink(self.request.move_to_sink(), Side::Backend) {
            return step;
        }
        if let Some(step) = to_sink(self.response.move_to_sink(), Side::Client) {
            return step;
        }
        if !client_done && self.request.is_delivered() {
            return Step::Shutdown(Side::Backend);
        }
        if !backend_done && self.response.is_delivered() {
            return Step::Shutdown(Side::Client);
        }
        if client_done && backend_done {
            return Step::Release(Release::Close);
        }
        from_source(self.response.move_from_source(), Side::Backend)
            .or_else(|| from_source(self.request.move_from_source(), Side::Client))
            .unwrap_or(Step::Wait)
    }
}

fn to_sink(found: Option<Move>, side: Side) -> Option<Step> {
    found.map(|found| if found == Move::Drain { Step::Drain(side) } else { Step::Write(side) })
}

fn from_source(found: Option<Move>, side: Side) -> Option<Step> {
    found.map(|found| if found == Move::Fill { Step::Fill(side) } else { Step::Read(side) })
}
