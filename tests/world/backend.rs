//! A backend's end of one connection: it reads requests with a reader of its own, holds them against what their clients sent,
//! and answers, or fails, as their plan says.

use super::content::{self, Way};
use super::pace::{Pace, Rests};
use super::record::{Book, Moment};
use super::script::{Answer, Behind, Expect, Failure, Shape, When};
use super::socket::{End, Socket};
use super::wire::{Event, Framing, Head, Reader};

/// Octets behind an answer that would pass for the next one.
const SURPLUS: &[u8] = b"HTTP/1.1 200 Surplus\r\nContent-Length: 0\r\n\r\n";

/// Octets that come later, and are no answer.
const LATE: &[u8] = b"nobody asked\r\n\r\n";

/// Times that a request may be sent: the first, as many as there are retries, and one because a pooled connection was stale.
const TRIES_MAX: usize = 5;

/// The request under way.
#[derive(Debug)]
struct Current {
    id: usize,
    attempt: usize,
    answer: Answer,
    checked: usize,
    /// All of the request was received.
    received: bool,
    /// Where in `out` the final answer begins and ends.
    answer_at: Option<(usize, usize)>,
}

#[derive(Debug, Clone, Copy)]
struct Tunnel {
    id: usize,
    received: usize,
    receive_len: usize,
    ended: bool,
}

#[derive(Debug)]
pub(crate) struct Backend {
    pub(crate) socket: usize,
    /// The endpoint that it stands for.
    pub(crate) endpoint: usize,
    rests: Rests,
    /// It sends whatever there is room for.
    eager: bool,
    reader: Reader,
    current: Option<Current>,
    out: Vec<u8>,
    sent: usize,
    tunnel: Option<Tunnel>,
    /// The connection is closed when `out` was sent.
    closes: bool,
    /// The idle connection is closed at any time.
    closes_idle: bool,
    served: usize,
    /// Its sending side is closed.
    finished: bool,
    /// Octets behind the last answer were sent: the connection must not be used again.
    unclean: bool,
    /// From that octet of `out` on, what it sends belongs to nothing, and leaves after the answer.
    late_from: Option<usize>,
    /// Polls of the worker that had ended when it sent that.
    pub(crate) late_at: Option<usize>,
    /// It reads nothing any more.
    ignores: bool,
    pub(crate) stalled: bool,
    pub(crate) closed: bool,
    pub(crate) closed_idle: bool,
}

impl Backend {
    pub(crate) fn new(socket: usize, endpoint: usize, closes_idle: bool, eager: bool, rests: Rests) -> Self {
        Self {
            socket,
            endpoint,
            rests,
            eager,
            reader: Reader::new(),
            current: None,
            out: Vec::new(),
            sent: 0,
            tunnel: None,
            closes: false,
            closes_idle,
            served: 0,
            finished: false,
            unclean: false,
            late_from: None,
            late_at: None,
            ignores: false,
            stalled: false,
            closed: false,
            closed_idle: false,
        }
    }

    /// It in short, for who looks for what went wrong.
    pub(crate) fn told(&self) -> String {
        let Self { socket, endpoint, current, sent, tunnel, closes, closed, stalled, .. } = self;
        format!(
            "socket {socket} of endpoint {endpoint}: {current:?}, sent {sent} of {}, tunnel {tunnel:?}, rests until {}; \
             closes {closes}, closed {closed}, stalled {stalled}",
            self.out.len(),
            self.rests.until,
        )
    }

    /// Requests of which it has read a part of the head at most.
    pub(crate) fn unread_requests(&self, socket: &Socket) -> Vec<usize> {
        let [near, far] = socket.unread_by_peer();
        super::wire::requests_in(&[&self.reader.bytes, near, far].concat())
    }

    fn reads(&self) -> bool {
        // The rest of a request may be left unread until its early answer is given, or for ever.
        let left = self.current.as_ref().is_some_and(|current| {
            let answered = self.sent == self.out.len() && !self.closes;
            current.answer_at.is_some() && !current.received && !current.answer.reads_rest && !answered
        });
        // What follows an answer behind which it closes comes too late.
        let over = self.closes && self.current.as_ref().is_some_and(|current| current.received);
        !left && !over && !self.ignores && !self.tunnel.is_some_and(|tunnel| tunnel.ended)
    }

    fn can_send(&self, socket: &Socket) -> bool {
        self.sent < self.out.len() && socket.peer_room() > 0 && !self.finished
    }

    fn can_receive(&self, socket: &Socket) -> bool {
        let end = socket.peer_end();
        end == Some(End::Reset) || (self.reads() && (socket.peer_pending() > 0 || end.is_some()))
    }

    fn is_idle(&self) -> bool {
        self.current.is_none()
            && self.reader.is_at_boundary()
            && self.sent == self.out.len()
            && self.served > 0
    }

    /// It will go on by itself: close, or end its side of a tunnel.
    fn wants_end(&self) -> bool {
        let all_sent = self.sent == self.out.len() && !self.finished;
        (all_sent && (self.closes || self.tunnel.is_some())) || (self.closes_idle && self.is_idle())
    }

    /// When it acts next, if it can; never, where it waits for something.
    pub(crate) fn acts_at(&self, socket: &Socket) -> u64 {
        let can_act = !self.closed
            && !self.stalled
            && socket.connecting.is_none()
            && (self.can_send(socket) || self.can_receive(socket) || self.wants_end());
        if can_act { self.rests.until } else { u64::MAX }
    }

    pub(crate) fn act(&mut self, socket: &mut Socket, moment: &mut Moment<'_>) -> Result<(), String> {
        self.rests.draw(moment.now, moment.choices);
        if let Some(from) = self.late_from {
            if self.late_at.is_none() && !self.can_receive(socket) && self.can_send(socket) {
                self.late_at = Some(moment.book.polls);
            } else if self.late_at.is_none() {
                // It was asked meanwhile: what would come now came too early for the answer.
                self.out.truncate(from);
                self.late_from = None;
            } else if self.can_receive(socket) {
                // It was used again within the very turn, which the worker could not know.
                for id in self.unread_requests(socket) {
                    if let Some(record) = moment.book.records.get_mut(id) {
                        record.failed = true;
                    }
                }
                self.closed = true;
                socket.be_reset();
                return Ok(());
            }
        }
        if self.can_receive(socket) && (moment.choices.percent(50) || !self.can_send(socket)) {
            return self.receive(socket, moment);
        }
        if self.can_send(socket) {
            self.send(socket, moment);
        } else {
            self.end(socket, moment.book);
        }
        Ok(())
    }

    fn send(&mut self, socket: &mut Socket, moment: &mut Moment<'_>) {
        let book = &mut *moment.book;
        let room = socket.peer_room();
        let segment = moment.choices.pick(&[200_000, 1, 50, 1_460, 20_000]);
        let count = if self.eager { room } else { moment.choices.within(1, segment).min(room) };
        let mut end = (self.sent + count).min(self.out.len());
        let mut failure = None;
        if let Some(Current { answer, answer_at: Some((start, whole)), .. }) = &self.current {
            if let Some((at, kind)) = answer.fails_behind
                && start + at < *whole
                && end >= start + at
            {
                end = self.sent.max(start + at);
                failure = Some(kind);
            } else if end >= *whole && end < self.out.len() {
                // What follows the answer leaves with its last octet, or not at all.
                self.out.truncate(if self.out.len() - self.sent <= room { self.out.len() } else { *whole });
                self.unclean = self.out.len() > *whole;
                end = self.out.len();
            } else {
                self.unclean |= end > *whole;
            }
        }
        socket.peer_send(&self.out[self.sent..end]);
        self.sent = end;
        if let Some(kind) = failure {
            self.fail(kind, socket, book);
        } else {
            self.look(book);
        }
    }

    /// Notes an answer that was sent whole, and goes on to the next request where this one is over.
    fn look(&mut self, book: &mut Book) {
        let Some(current) = &self.current else { return };
        let Some((_, whole)) = current.answer_at else { return };
        if self.sent < whole || self.tunnel.is_some() {
            return;
        }
        let until_close =
            current.answer.shape == Shape::UntilClose && book.plans[current.id].method != "HEAD";
        book.records[current.id].answered[current.attempt] |= !until_close && !current.answer.corrupt;
        if current.received && !self.closes {
            if current.answer.late
                && !self.unclean
                && self.sent == self.out.len()
                && self.reader.is_at_boundary()
            {
                self.late_from = Some(self.sent);
                self.out.extend_from_slice(LATE);
            }
            self.current = None;
            self.served += 1;
        }
    }

    /// Ends its side, as it is due.
    fn end(&mut self, socket: &mut Socket, book: &mut Book) {
        if let Some(tunnel) = self.tunnel {
            self.finished = true;
            book.records[tunnel.id].tunnel_closed |= self.closes;
            if self.closes || tunnel.ended {
                self.close(socket);
            } else {
                socket.peer_finish();
            }
            return;
        }
        let mut half = false;
        if let Some(current) = &self.current {
            book.records[current.id].answered[current.attempt] |= !current.answer.corrupt;
            // To close with octets unread is a reset, and no end that could be told from a failure.
            half =
                !current.received && (current.answer.shape == Shape::UntilClose || current.answer.reads_rest);
        }
        self.closed_idle = !half;
        if half {
            self.finished = true;
            socket.peer_finish();
        } else {
            self.close(socket);
        }
    }

    fn close(&mut self, socket: &mut Socket) {
        self.closed = true;
        socket.peer_close();
    }

    fn fail(&mut self, kind: Failure, socket: &mut Socket, book: &mut Book) {
        let Some(current) = &mut self.current else { return };
        book.records[current.id].failed = true;
        current.answer.fails_at = None;
        current.answer.fails_behind = None;
        match kind {
            Failure::Stall => self.stalled = true,
            Failure::Fin => self.close(socket),
            Failure::Garbage if current.answer_at.is_none() => {
                self.out.extend_from_slice(b"SSH-2.0-sim\r\nthis is no HTTP\r\n\r\n");
                self.current = None;
                self.closes = true;
                self.ignores = true;
            }
            Failure::Reset | Failure::Garbage => {
                self.closed = true;
                socket.be_reset();
            }
        }
    }

    /// The pace at which it reads, where it takes its time.
    fn pace(&self) -> Option<Pace> {
        self.current.as_ref().filter(|current| !current.received).and_then(|current| current.answer.reads_at)
    }

    fn receive(&mut self, socket: &mut Socket, moment: &mut Moment<'_>) -> Result<(), String> {
        if socket.peer_end() == Some(End::Reset) || socket.peer_pending() == 0 {
            return self.ended(socket, moment.book);
        }
        let segment = moment.choices.pick(&[500_000, 1, 50, 1_460, 20_000]);
        let mut max = moment.choices.within(1, segment);
        if let Some(pace) = self.pace() {
            // All that its kernel has acknowledged: else a part of its time is silence for who sends.
            max = pace.octets.max(socket.peer_pending());
            self.rests.think(moment.now, pace.every);
        }
        socket.peer_receive(&mut self.reader.bytes, max);
        if let Some(tunnel) = &mut self.tunnel {
            let bytes = std::mem::take(&mut self.reader.bytes);
            let end = tunnel.received + bytes.len();
            if end > tunnel.receive_len || !content::is_content(tunnel.id, Way::Up, tunnel.received, &bytes) {
                return Err(format!("request {}: the tunnel gave the backend what was not sent", tunnel.id));
            }
            tunnel.received = end;
            return Ok(());
        }
        self.read(socket, moment)
    }

    fn ended(&mut self, socket: &mut Socket, book: &mut Book) -> Result<(), String> {
        if let Some(tunnel) = &mut self.tunnel {
            let record = &book.records[tunnel.id];
            if tunnel.received < tunnel.receive_len && !record.aborted && !record.failed {
                return Err(format!("request {}: the tunnel lost what the client sent", tunnel.id));
            }
            tunnel.ended = true;
            if !self.finished && socket.peer_end() == Some(End::Fin) {
                return Ok(());
            }
        }
        self.close(socket);
        Ok(())
    }

    fn read(&mut self, socket: &mut Socket, moment: &mut Moment<'_>) -> Result<(), String> {
        loop {
            if self.current.as_ref().is_some_and(|current| current.received) {
                if self.tunnel.is_none() && !self.closes && !self.reader.bytes.is_empty() {
                    return Err("octets behind a request that was not answered yet".into());
                }
                return Ok(());
            }
            let event = self.reader.next()?;
            if self.reader.is_in_body() || matches!(event, Some(Event::End(_))) {
                self.check_content()?;
            }
            match event {
                Some(Event::Head(head)) => self.head(&head, moment)?,
                Some(Event::End(trailers)) => self.whole(&trailers, moment)?,
                None => return Ok(()),
            }
            if let Some(Current { answer: Answer { fails_at: Some((at, kind)), .. }, .. }) = &self.current
                && self.reader.body.len() >= *at
            {
                let kind = *kind;
                self.fail(kind, socket, moment.book);
                return Ok(());
            }
        }
    }

    fn head(&mut self, head: &Head, moment: &mut Moment<'_>) -> Result<(), String> {
        let book = &mut *moment.book;
        if self.unclean {
            return Err("a backend connection was used again although octets were left in it".into());
        }
        let mut words = head.start.split(' ');
        let (method, target) = (words.next().unwrap_or(""), words.next().unwrap_or(""));
        let (path, id) =
            target.rsplit_once('/').ok_or_else(|| format!("{:?} is none of ours", head.start))?;
        let id: usize = id.parse().map_err(|_| format!("{:?} is none of ours", head.start))?;
        let plan = book.plans.get(id).ok_or_else(|| format!("request {id} is none of ours"))?;
        let framing = match plan.shape {
            Shape::Length => Some(Framing::Length(plan.len)),
            Shape::Chunked => Some(Framing::Chunked),
            Shape::None | Shape::UntilClose => None,
        };
        let truthful = method == plan.method
            && path == plan.path
            && words.next() == Some("HTTP/1.1")
            && head.framing()? == framing
            && head.field("host") == Some("sim.example")
            && head.says("upgrade") == plan.upgrades
            && head.field("expect").is_some() == (plan.expect != Expect::No);
        if !truthful {
            return Err(format!("request {id} came as {head:?}"));
        }
        if book.is_gone_for(self.endpoint, id) {
            return Err(format!("request {id} went to endpoint {}, which is no more", self.endpoint));
        }
        let record = &mut book.records[id];
        record.tries += 1;
        if record.tries > if plan.is_idempotent() { TRIES_MAX } else { 1 } {
            return Err(format!("request {id} ({method}) was sent {} times", record.tries));
        }
        record.answered.push(false);
        record.interims.push(0);
        let attempt = record.tries - 1;
        let answer = plan.answers[attempt.min(plan.answers.len() - 1)].clone();
        let early = answer.when == When::Head;
        let told = (plan.expect == Expect::Waits || answer.reads_rest) && !answer.withholds;
        record.failed |= plan.expect == Expect::Waits && answer.withholds;
        if plan.expect != Expect::No && !early && told {
            record.interims[attempt] = 1;
            self.out
                .extend_from_slice(format!("HTTP/1.1 100 Continue\r\nX-Interim: {id}\r\n\r\n").as_bytes());
        }
        self.current = Some(Current { id, attempt, answer, checked: 0, received: false, answer_at: None });
        self.reader.begin(framing.unwrap_or(Framing::None));
        if early {
            self.answer(moment);
        }
        Ok(())
    }

    fn check_content(&mut self) -> Result<(), String> {
        let Some(current) = &mut self.current else { return Ok(()) };
        let body = &self.reader.body;
        if !content::is_content(current.id, Way::Up, current.checked, &body[current.checked..]) {
            return Err(format!("request {}: the backend got what its client did not send", current.id));
        }
        current.checked = body.len();
        Ok(())
    }

    fn whole(&mut self, trailers: &[(String, String)], moment: &mut Moment<'_>) -> Result<(), String> {
        let book = &mut *moment.book;
        let Some(current) = &mut self.current else { return Err("the end of no request".into()) };
        let (id, plan) = (current.id, &book.plans[current.id]);
        if !book.records[id].sent_whole || self.reader.body.len() != plan.len {
            return Err(format!(
                "request {id}: the backend takes for whole what its client did not complete"
            ));
        }
        if plan.own.is_some() {
            return Err(format!("request {id} came through although it is not for a backend"));
        }
        let expected = [("x-sum".to_owned(), id.to_string())];
        if trailers != if plan.trailers { &expected[..] } else { &[] } {
            return Err(format!("request {id}: the backend got the trailers {trailers:?}"));
        }
        book.records[id].received_whole = true;
        current.received = true;
        if current.answer_at.is_none() {
            self.rests.think(moment.now, current.answer.thinks);
            self.answer(moment);
        }
        self.look(moment.book);
        Ok(())
    }

    /// Puts the answer into `out`.
    fn answer(&mut self, moment: &mut Moment<'_>) {
        let book = &mut *moment.book;
        let Some(current) = &mut self.current else { return };
        let plan = &book.plans[current.id];
        let answer = &current.answer;
        let interims = [102, 103, 199];
        let interims = &interims[..answer.interim];
        book.records[current.id].interims[current.attempt] += interims.len();
        book.records[current.id].failed |= answer.corrupt;
        let start = self.out.len();
        self.out.extend(answer.render(moment.choices, plan, current.attempt, interims));
        current.answer_at = Some((start, self.out.len()));
        self.closes = answer.behind != Behind::Keeps;
        if answer.switches {
            self.closes = answer.closes_tunnel;
            let receive_len = answer.up_len();
            self.tunnel = Some(Tunnel { id: current.id, received: 0, receive_len, ended: false });
        } else if answer.surplus {
            self.out.extend_from_slice(SURPLUS);
        }
    }
}
