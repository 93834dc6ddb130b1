//! A client as its script has it: it sends its requests in any segments, holds what it receives against what was sent to it,
//! and fails where the script says so.

use super::kernel::{End, Socket};
use super::random::{Random, Way, content};
use super::record::Book;
use super::script::{Abort, AbortAt, Expect, Script, Shape, When};
use super::wire::{Event, Framing, Head, Reader};

/// Octets that Apex reads and throws away behind an answer; a client that has sent more may lose the answer to a reset.
const DISCARD_BYTES_MAX: usize = 256 * 1024;

/// Where a request lies in the stream that the client sends.
#[derive(Debug)]
struct Span {
    id: usize,
    start: usize,
    head_end: usize,
    end: usize,
}

/// The response under way.
#[derive(Debug)]
struct Incoming {
    status: u16,
    /// The backend's try that it comes from; none: Apex's own.
    attempt: Option<usize>,
    expected: Vec<u8>,
    framing: Framing,
    checked: usize,
}

/// Both directions behind an upgrade.
#[derive(Debug, Clone, Copy)]
struct Tunnel {
    sent: usize,
    send_len: usize,
    received: usize,
    receive_len: usize,
    /// Nothing more comes.
    ended: bool,
}

#[derive(Debug)]
pub(crate) struct Client {
    script: Script,
    spans: Vec<Span>,
    out: Vec<u8>,
    sent: usize,
    received: usize,
    /// Responses that were completed.
    pub(crate) answered: usize,
    reader: Reader,
    incoming: Option<Incoming>,
    interims: usize,
    got_continue: bool,
    tunnel: Option<Tunnel>,
    /// The connection ends behind the last response; nothing is sent any more.
    closing: bool,
    half_closed: bool,
    pub(crate) closed: bool,
    pub(crate) stalled: bool,
    deaf: bool,
    /// It has failed on purpose.
    pub(crate) failed: bool,
}

impl Client {
    pub(crate) fn new(script: Script, book: &Book, random: &mut Random) -> Self {
        let mut out = Vec::new();
        let mut spans = Vec::new();
        for &id in &script.ids {
            let (bytes, head_len) = book.plans[id].render(random);
            let start = out.len();
            out.extend(bytes);
            spans.push(Span { id, start, head_end: start + head_len, end: out.len() });
        }
        Self {
            script,
            spans,
            out,
            sent: 0,
            received: 0,
            answered: 0,
            reader: Reader::new(),
            incoming: None,
            interims: 0,
            got_continue: false,
            tunnel: None,
            closing: false,
            half_closed: false,
            closed: false,
            stalled: false,
            deaf: false,
            failed: false,
        }
    }

    /// The request that the client waits for an answer to.
    pub(crate) fn current(&self) -> Option<usize> {
        self.spans.get(self.answered).map(|span| span.id)
    }

    /// The request that is at that place in the order of the connection.
    pub(crate) fn id_at(&self, place: usize) -> Option<usize> {
        self.spans.get(place).map(|span| span.id)
    }

    /// How far the client may send now.
    fn sendable(&self, book: &Book) -> usize {
        if self.closed || self.stalled || self.half_closed || self.closing {
            return self.sent;
        }
        let mut end = self.spans.len();
        if !self.script.pipelines {
            end = end.min(self.answered + 1);
        }
        for (place, span) in self.spans.iter().enumerate().take(end) {
            let plan = &book.plans[span.id];
            let told = place < self.answered || (place == self.answered && self.got_continue);
            if plan.expect == Expect::Waits && !told {
                return span.head_end.max(self.sent);
            }
            // Behind its last request a client sends nothing.
            if plan.closes {
                return span.end.max(self.sent);
            }
        }
        end.checked_sub(1).map_or(0, |last| self.spans[last].end)
    }

    fn tunnel_left(&self) -> usize {
        match self.tunnel {
            Some(tunnel) if !self.half_closed && !self.stalled && !self.closed => {
                tunnel.send_len - tunnel.sent
            }
            _ => 0,
        }
    }

    fn wants_half_close(&self, book: &Book) -> bool {
        if self.half_closed || self.closed || self.stalled {
            return false;
        }
        match self.tunnel {
            Some(_) => self.tunnel_left() == 0,
            None => self.script.half_closes && self.sent == self.out.len() && !self.last_upgrades(book),
        }
    }

    fn last_upgrades(&self, book: &Book) -> bool {
        self.spans.last().is_some_and(|span| book.plans[span.id].upgrades)
    }

    fn is_due(&self) -> bool {
        match self.script.abort {
            Some((AbortAt::Sent(at), _)) => self.sent >= at.min(self.out.len()),
            Some((AbortAt::Received(at), _)) => self.received >= at,
            None => false,
        }
    }

    fn can_send(&self, socket: &Socket, book: &Book) -> bool {
        socket.peer_room() > 0 && (self.sendable(book) > self.sent || self.tunnel_left() > 0)
    }

    fn can_receive(&self, socket: &Socket) -> bool {
        let ended = self.tunnel.is_some_and(|tunnel| tunnel.ended);
        !self.deaf && !self.stalled && !ended && (socket.peer_pending() > 0 || socket.peer_end().is_some())
    }

    /// All is done that it came for.
    fn wants_close(&self) -> bool {
        let ended = self.tunnel.is_some_and(|tunnel| tunnel.ended && self.half_closed);
        (self.answered == self.spans.len() || ended) && !self.stalled
    }

    pub(crate) fn can_act(&self, socket: &Socket, book: &Book) -> bool {
        !self.closed
            && (self.is_due()
                || self.can_send(socket, book)
                || self.can_receive(socket)
                || self.wants_half_close(book)
                || self.wants_close())
    }

    pub(crate) fn act(
        &mut self,
        socket: &mut Socket,
        book: &mut Book,
        random: &mut Random,
    ) -> Result<(), String> {
        if self.is_due() {
            self.fail(socket, book);
        } else if self.can_receive(socket) && (random.percent(50) || !self.can_send(socket, book)) {
            self.receive(socket, book, random)?;
        } else if self.can_send(socket, book) {
            self.send(socket, book, random);
        } else if self.wants_half_close(book) {
            self.half_closed = true;
            socket.peer_finish();
        } else if self.wants_close() {
            self.closed = true;
            socket.peer_close();
        }
        Ok(())
    }

    fn fail(&mut self, socket: &mut Socket, book: &mut Book) {
        let Some((_, kind)) = self.script.abort.take() else { return };
        self.failed = true;
        for &id in &self.script.ids {
            book.records[id].aborted = true;
        }
        match kind {
            Abort::Reset => {
                self.closed = true;
                socket.be_reset();
            }
            Abort::Close => {
                self.closed = true;
                socket.peer_close();
            }
            Abort::HalfClose => {
                self.half_closed = true;
                socket.peer_finish();
            }
            Abort::Stall => self.stalled = true,
            Abort::Deaf => self.deaf = true,
        }
    }

    /// It goes without another word; its connection was reset.
    pub(crate) fn give_up(&mut self, book: &mut Book) {
        self.closed = true;
        self.failed = true;
        for &id in &self.script.ids {
            book.records[id].aborted = true;
        }
    }

    fn send(&mut self, socket: &mut Socket, book: &mut Book, random: &mut Random) {
        let segment = random.pick(&[1, 20, 300, 1_460, 30_000, 200_000]);
        let max = random.within(1, segment).min(socket.peer_room());
        let (id, left) = (self.current(), self.tunnel_left());
        if let (Some(tunnel), Some(id)) = (&mut self.tunnel, id) {
            let end = tunnel.sent + max.min(left);
            socket.peer_send(&content(id, Way::Up, end)[tunnel.sent..]);
            tunnel.sent = end;
            return;
        }
        let mut end = self.sendable(book).min(self.sent + max);
        if let Some((AbortAt::Sent(at), _)) = self.script.abort {
            end = end.min(at.max(self.sent));
        }
        socket.peer_send(&self.out[self.sent..end]);
        self.sent = end;
        for span in &self.spans {
            book.records[span.id].sent_whole = span.end <= self.sent && !book.plans[span.id].corrupt;
        }
    }

    fn receive(&mut self, socket: &mut Socket, book: &mut Book, random: &mut Random) -> Result<(), String> {
        let segment = random.pick(&[1, 50, 1_460, 20_000, 500_000]);
        let mut max = random.within(1, segment);
        if let Some((AbortAt::Received(at), _)) = self.script.abort {
            max = max.min(at - self.received);
        }
        let before = self.reader.bytes.len();
        socket.peer_receive(&mut self.reader.bytes, max);
        let count = self.reader.bytes.len() - before;
        self.received += count;
        if count > 0 {
            return self.read(book);
        }
        let end = socket.peer_end().ok_or("nothing was received and nothing ended")?;
        self.ended(end, socket, book)
    }

    /// Reads what was received.
    fn read(&mut self, book: &mut Book) -> Result<(), String> {
        loop {
            let id = self.current();
            if let (Some(tunnel), Some(id)) = (&mut self.tunnel, id) {
                let bytes = std::mem::take(&mut self.reader.bytes);
                let end = tunnel.received + bytes.len();
                if end > tunnel.receive_len || content(id, Way::Down, end)[tunnel.received..] != bytes[..] {
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
            let expected = content(id, Way::Down, answer.content_len(plan));
            let bodyless = plan.method == "HEAD" || matches!(status, 204 | 304);
            let framing = if bodyless { Framing::None } else { said.unwrap_or(Framing::UntilClose) };
            self.incoming = Some(Incoming { status, attempt: Some(attempt), expected, framing, checked: 0 });
        } else {
            self.own(head, status, id, book)?;
            let framing = match (plan.method, said) {
                ("HEAD", Some(_)) => Framing::None,
                (_, Some(framing @ Framing::Length(_))) => framing,
                _ => return Err(format!("request {id}: an answer without a length: {head:?}")),
            };
            self.incoming =
                Some(Incoming { status, attempt: None, expected: Vec::new(), framing, checked: 0 });
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
            || status == 400 && plan.corrupt;
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
        if !closes && plan.expect == Expect::Waits && untold {
            return Err(format!("request {id}: nobody can tell whether its content comes: {head:?}"));
        }
        self.closing |= closes;
        Ok(())
    }

    fn check_content(&mut self) -> Result<(), String> {
        let id = self.current();
        let Some(incoming) = &mut self.incoming else { return Ok(()) };
        if incoming.attempt.is_none() {
            return Ok(());
        }
        let body = &self.reader.body;
        if body.len() > incoming.expected.len()
            || body[incoming.checked..] != incoming.expected[incoming.checked..body.len()]
        {
            return Err(format!("request {id:?}: the client got content that the backend did not send"));
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
            if self.reader.body.len() != incoming.expected.len() {
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
            book.records[id].served = true;
            book.records[id].given = self.reader.body.len();
        }
        self.answered += 1;
        self.interims = 0;
        self.got_continue = false;
        Ok(())
    }

    /// What Apex sends has ended.
    fn ended(&mut self, end: End, socket: &mut Socket, book: &mut Book) -> Result<(), String> {
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
            let idle = book.leaving && !cut && self.sent == self.spans[self.answered].start;
            if !(told || idle || lost || self.failed || record.failed) {
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
        if tunnel.received < tunnel.receive_len && !record.failed && !self.failed {
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
