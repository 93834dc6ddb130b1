//! What a client makes of the answers it gets: each is held against what its backend has sent, and what Apex answers by itself
//! against what went wrong.

use super::super::content::{self, Way};
use super::super::pace::SECOND;
use super::super::record::Book;
use super::super::script::{Expect, Shape, When};
use super::super::socket::{End, Socket};
use super::super::wire::{Event, Framing, Head};
use super::{Client, DISCARD_BYTES_MAX, Incoming, Tunnel};

impl Client {
    /// Reads what was received.
    pub(super) fn read(&mut self, book: &mut Book) -> Result<(), String> {
        loop {
            let id = self.current();
            if let (Some(tunnel), Some(id)) = (&mut self.tunnel, id) {
                let bytes = std::mem::take(&mut self.reader.bytes);
                let end = tunnel.received + bytes.len();
                let is_its_own = content::is_content(id, Way::Down, tunnel.received, &bytes);
                if end > tunnel.receive_len || !is_its_own {
                    return Err(format!(
                        "request {id}: the tunnel gave the client octets that were not sent"
                    ));
                }
                tunnel.received = end;
                return Ok(());
            }
            match self.reader.next()? {
                None => return self.check_content(),
                Some(Event::Head(head)) => self.head(&head, book)?,
                Some(Event::End(trailers)) => {
                    self.check_content()?;
                    self.complete(&trailers, book)?;
                }
            }
        }
    }

    fn head(&mut self, head: &Head, book: &mut Book) -> Result<(), String> {
        let id = self.current().ok_or_else(|| format!("a response to nothing: {head:?}"))?;
        let span = &self.spans[self.answered];
        if self.sent < span.head_end.min(span.start + 1) {
            return Err(format!("request {id} was answered before it was sent: {head:?}"));
        }
        let plan = &book.plans[id];
        let status: u16 = head.start.get(9..12).and_then(|text| text.parse().ok()).ok_or("no status")?;
        if !head.start.starts_with("HTTP/1.1 ") {
            return Err(format!("bad status line {:?}", head.start));
        }
        if status < 200 && status != 101 {
            if plan.http10 {
                return Err(format!("request {id}: an interim response to a 1.0 client"));
            }
            if head.number("x-interim") != Some(id) || head.framing()?.is_some() {
                return Err(format!("request {id} got a foreign interim response: {head:?}"));
            }
            self.interims += 1;
            self.got_continue |= status == 100;
            self.reader.begin(Framing::None);
            // It has no content: the reader's end of it is not an answer.
            return self.reader.next().map(|_| ());
        }
        self.final_head(head, status, id, book)
    }

    fn final_head(&mut self, head: &Head, status: u16, id: usize, book: &mut Book) -> Result<(), String> {
        let plan = &book.plans[id];
        let attempt = head.number("x-try");
        let said = head.framing()?;
        if let Some(attempt) = attempt {
            let answer = &plan.answers[attempt.min(plan.answers.len() - 1)];
            if head.number("x-id") != Some(id) || answer.status != status {
                return Err(format!("request {id} got a foreign response: {head:?}"));
            }
            if attempt + 1 != book.records[id].tries {
                return Err(format!("request {id} was sent again after it was answered"));
            }
            if !plan.http10 && self.interims != book.records[id].interims[attempt] {
                return Err(format!("request {id}: {} interim responses came through", self.interims));
            }
            if answer.switches {
                self.tunnel = Some(Tunnel {
                    sent: 0,
                    send_len: answer.up_len(),
                    received: 0,
                    receive_len: answer.len,
                    ended: false,
                });
                return Ok(());
            }
            let len = answer.content_len(plan);
            let bodyless = plan.method == "HEAD" || matches!(status, 204 | 304);
            let framing = if bodyless { Framing::None } else { said.unwrap_or(Framing::UntilClose) };
            self.incoming = Some(Incoming { status, attempt: Some(attempt), id, len, framing, checked: 0 });
        } else {
            self.own(head, status, id, book)?;
            let framing = match (plan.method, said) {
                ("HEAD", Some(_)) => Framing::None,
                (_, Some(framing @ Framing::Length(_))) => framing,
                _ => return Err(format!("request {id}: an answer without a length: {head:?}")),
            };
            self.incoming = Some(Incoming { status, attempt: None, id, len: 0, framing, checked: 0 });
        }
        let framing = self.incoming.as_ref().map_or(Framing::None, |incoming| incoming.framing);
        self.check_persistence(head, framing, id, book)?;
        self.reader.begin(framing);
        Ok(())
    }

    /// An answer of Apex's own needs a reason.
    fn own(&self, head: &Head, status: u16, id: usize, book: &Book) -> Result<(), String> {
        let plan = &book.plans[id];
        let expected = plan.own == Some(status);
        let failed = matches!(status, 502 | 504) && (book.excuses_refusal(id) || self.failed)
            || matches!(status, 400 | 408) && self.failed
            || status == 400 && plan.corrupt
            || status == 503
                && (self.is_over_limit() || book.descriptor_faults > 0 || book.excuses_refusal(id));
        if !expected && !failed {
            return Err(format!("request {id} ({plan:?}) was refused without a reason: {head:?}"));
        }
        Ok(())
    }

    /// The connection ends only for a reason, and a 1.0 client is told that it does not.
    fn check_persistence(
        &mut self,
        head: &Head,
        framing: Framing,
        id: usize,
        book: &Book,
    ) -> Result<(), String> {
        let plan = &book.plans[id];
        let closes = head.says("close");
        let keeps = head.says("keep-alive");
        let untold = plan.expect != Expect::No && !self.got_continue;
        let incoming = self.incoming.as_ref().ok_or("no response")?;
        // Of chunks that are still to come nobody knows how many, and only so many are thrown away.
        let chunks = plan.shape == Shape::Chunked && incoming.attempt.is_some();
        if chunks && !book.records[id].sent_whole && !closes {
            return Err(format!("request {id}: its rest is not read, and the client was not told: {head:?}"));
        }
        // Nor is more than the bound, of whatever length.
        let long = chunks || plan.len > DISCARD_BYTES_MAX;
        let early = |attempt: usize| {
            let answer = &plan.answers[attempt.min(plan.answers.len() - 1)];
            long && answer.when == When::Head
        };
        let reason = plan.closes
            || incoming.attempt.is_some_and(early)
            || untold
            || book.leaving
            || self.is_over_limit()
            || framing == Framing::UntilClose
            || (incoming.attempt.is_none() && plan.shape != Shape::None)
            || plan.corrupt
            || self.failed;
        if plan.http10 && !closes && !keeps {
            return Err(format!("request {id}: a 1.0 client was not told how the connection goes on"));
        }
        if closes && !reason {
            return Err(format!("request {id}: the connection ends without a reason: {head:?}"));
        }
        if (plan.closes || framing == Framing::UntilClose) && !closes {
            return Err(format!("request {id}: the end of the connection was not said: {head:?}"));
        }
        if !closes && plan.expect == Expect::Waits && untold && self.waits_for_continue() {
            return Err(format!("request {id}: nobody can tell whether its content comes: {head:?}"));
        }
        self.closing |= closes;
        Ok(())
    }

    fn check_content(&mut self) -> Result<(), String> {
        let Some(incoming) = &mut self.incoming else { return Ok(()) };
        if incoming.attempt.is_none() {
            return Ok(());
        }
        let (id, body) = (incoming.id, &self.reader.body);
        let is_its_own = content::is_content(id, Way::Down, incoming.checked, &body[incoming.checked..]);
        if body.len() > incoming.len || !is_its_own {
            return Err(format!("request {id}: the client got content that the backend did not send"));
        }
        incoming.checked = body.len();
        Ok(())
    }

    fn complete(&mut self, trailers: &[(String, String)], book: &mut Book) -> Result<(), String> {
        let Some(incoming) = self.incoming.take() else { return Err("the end of no response".into()) };
        let id = self.current().ok_or("the end of no response")?;
        let plan = &book.plans[id];
        if let Some(attempt) = incoming.attempt {
            if !book.records[id].answered[attempt] {
                return Err(format!(
                    "request {id}: the client takes a response for whole that is not: {plan:?}"
                ));
            }
            if self.reader.body.len() != incoming.len {
                return Err(format!(
                    "request {id}: octets of the response ({}) are missing",
                    incoming.status
                ));
            }
            let answer = &plan.answers[attempt.min(plan.answers.len() - 1)];
            let carries = answer.trailers && incoming.framing == Framing::Chunked;
            let expected = [("x-sum".to_owned(), id.to_string())];
            if trailers != if carries { &expected[..] } else { &[] } {
                return Err(format!("request {id}: trailers {trailers:?}"));
            }
            book.records[id].given = self.reader.body.len();
        }
        book.records[id].served = Some(incoming.status);
        self.answered += 1;
        self.interims = 0;
        self.got_continue = false;
        Ok(())
    }

    /// What Apex sends has ended.
    pub(super) fn ended(
        &mut self,
        end: End,
        socket: &mut Socket,
        now: u64,
        book: &mut Book,
    ) -> Result<(), String> {
        if self.tunnel.is_some() {
            return self.tunnel_ended(end, socket, book);
        }
        if end == End::Fin && self.reader.finish() {
            self.complete(&[], book)?;
        } else if let Some(id) = self.current() {
            let record = &book.records[id];
            let cut = self.incoming.is_some() || self.reader.is_in_body() || !self.reader.bytes.is_empty();
            let begun = self.answered.checked_sub(1).map_or(0, |place| self.spans[place].end);
            let behind = self.sent.saturating_sub(begun);
            let lost = end == End::Reset && behind > DISCARD_BYTES_MAX;
            // The rest of a request that is broken, or longer than allowed, may show only behind its response.
            let previous = self.answered.checked_sub(1).map(|place| &book.plans[self.spans[place].id]);
            let late = previous.is_some_and(|plan| plan.corrupt || plan.own == Some(413)) && !cut;
            let broken = late || book.plans[id].corrupt;
            let told = (self.closing && !cut) || broken;
            let unasked = !cut && self.sent == self.spans[self.answered].start;
            // Its request may cross the end of a connection of which Apex cannot know when the last answer was read.
            let crosses = !cut && self.pace().is_some();
            // Nor is the rest of a request that was answered early waited for while the process is frozen.
            let early =
                previous.is_some_and(|plan| plan.answers.iter().any(|answer| answer.when == When::Head));
            let crosses = crosses || (!cut && book.frozen > 0 && early);
            // Nor one that comes when the last call of a process that leaves is over.
            let crosses = crosses || (!cut && book.leaving && now >= book.left_at + SECOND);
            // At rest for long, or turned away before it has asked.
            let idle =
                unasked && (book.leaving || now >= self.served_at + self.idle_after || self.is_over_limit());
            if !(told
                || idle
                || crosses
                || lost
                || self.failed
                || record.failed
                || record.reset
                || book.ending)
            {
                let plan = &book.plans[id];
                return Err(format!(
                    "request {id}: the connection ended ({end:?}) without a reason: {plan:?}"
                ));
            }
        }
        self.closed = true;
        socket.peer_close();
        Ok(())
    }

    /// One direction of a tunnel ended, or all of it by a reset.
    fn tunnel_ended(&mut self, end: End, socket: &mut Socket, book: &mut Book) -> Result<(), String> {
        let id = self.current().ok_or("a tunnel of no request")?;
        let Some(tunnel) = &mut self.tunnel else { return Ok(()) };
        let record = &mut book.records[id];
        // What a backend that goes without waiting leaves behind may be lost.
        let is_left = end == End::Reset && record.tunnel_closed;
        let is_excused = record.failed || self.failed || book.ending || is_left;
        if tunnel.received < tunnel.receive_len && !is_excused {
            return Err(format!("request {id}: the tunnel lost what the backend sent"));
        }
        tunnel.ended = true;
        record.given = tunnel.received;
        if end == End::Reset || self.half_closed || record.tunnel_closed {
            self.closed = true;
            socket.peer_close();
        }
        Ok(())
    }
}
