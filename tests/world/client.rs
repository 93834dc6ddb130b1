//! A client as its script has it: it sends its requests in any segments, holds what it receives against what was sent to it,
//! and fails where the script says so.

mod answers;

use super::choices::Choices;
use super::content::{self, Way};
use super::pace::{Pace, Rests, START};
use super::record::{Book, Moment};
use super::script::{Abort, AbortAt, Expect, Manner, Scene, Script};
use super::socket::Socket;
use super::wire::{Framing, Reader};

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
    id: usize,
    /// Octets of content that are to come.
    len: usize,
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

/// Where a client stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    /// It has not connected.
    Away,
    /// The kernel has made the connection; Apex may not have accepted it.
    Waits,
    /// Apex has accepted it.
    In {
        /// When.
        since: u64,
        /// There were as many clients as allowed, by a version that may have been in force.
        over_limit: bool,
        /// By any version.
        surely: bool,
    },
}

#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) script: Script,
    pub(crate) standing: Standing,
    pub(crate) socket: usize,
    rests: Rests,
    /// It reads nothing before.
    reads_after: u64,
    eager: bool,
    spans: Vec<Span>,
    out: Vec<u8>,
    sent: usize,
    received: usize,
    /// Responses that were completed.
    pub(crate) answered: usize,
    /// When the last response was completed, or the client connected.
    pub(crate) served_at: u64,
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
    /// How long it may be at rest at the least.
    idle_after: u64,
    /// How long a drip rests.
    drips_every: u64,
}

impl Client {
    pub(crate) fn new(script: Script, scene: &Scene, book: &Book, choices: &mut Choices) -> Self {
        let mut out = Vec::new();
        let mut spans = Vec::new();
        for &id in &script.ids {
            let (bytes, head_len) = book.plans[id].render(choices);
            let start = out.len();
            out.extend(bytes);
            spans.push(Span { id, start, head_end: start + head_len, end: out.len() });
        }
        let mut script = script;
        if let Manner::Drips(at) = &mut script.manner
            && *at >= 400
            && let Some(span) = spans.iter().find(|span: &&Span| span.end > span.head_end)
        {
            *at = span.head_end;
        }
        let mut rests = Rests::new(scene.pauses, scene.rests());
        rests.until = START + script.starts;
        Self {
            standing: Standing::Away,
            socket: 0,
            rests,
            reads_after: 0,
            eager: scene.is_eager(),
            failed: matches!(script.manner, Manner::Drips(_) | Manner::EmptyLines),
            script,
            spans,
            out,
            sent: 0,
            received: 0,
            answered: 0,
            served_at: 0,
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
            idle_after: scene.idle(),
            drips_every: scene.wait - scene.wait / 30,
        }
    }

    /// The request that the client waits for an answer to.
    pub(crate) fn current(&self) -> Option<usize> {
        self.spans.get(self.answered).map(|span| span.id)
    }

    /// It in short, for who looks for what went wrong.
    pub(crate) fn told(&self) -> String {
        let Self {
            socket, standing, sent, received, answered, served_at, closing, half_closed, closed, ..
        } = self;
        let spans: Vec<_> = self.spans.iter().map(|span| (span.id, span.end)).collect();
        format!(
            "socket {socket} {:?} {:?} {standing:?} sent {sent} of {spans:?}, received {received}, answered {answered} \
             at {served_at}, rests until {}; closing {closing}, half-closed {half_closed}, closed {closed}, tunnel {:?}",
            self.script.manner, self.script.abort, self.rests.until, self.tunnel,
        )
    }

    /// It has begun to send a request that was not answered whole.
    pub(crate) fn is_waiting(&self) -> bool {
        self.tunnel.is_some() || self.spans.get(self.answered).is_some_and(|span| self.sent > span.start)
    }

    /// Octets of all its requests.
    pub(crate) fn octets(&self) -> usize {
        self.out.len()
    }

    pub(crate) fn is_in_tunnel(&self) -> bool {
        self.tunnel.is_some()
    }

    /// A client over the limit whose request was not there at once is turned away sooner than others.
    pub(crate) fn is_over_limit(&self) -> bool {
        matches!(self.standing, Standing::In { over_limit: true, .. })
    }

    pub(crate) fn is_surely_over_limit(&self) -> bool {
        matches!(self.standing, Standing::In { surely: true, .. })
    }

    pub(crate) fn is_dripping(&self) -> bool {
        matches!(self.script.manner, Manner::Drips(at) if self.sent >= at)
            || self.script.manner == Manner::EmptyLines
    }

    /// One that drips waits for nothing, and one that reads slowly would read too late that it may go on.
    pub(crate) fn waits_for_continue(&self) -> bool {
        self.script.manner == Manner::Plain
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
            if plan.expect == Expect::Waits && !told && self.waits_for_continue() {
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
        let empty_lines = self.script.manner == Manner::EmptyLines && !self.closed;
        socket.peer_room() > 1 && (self.sendable(book) > self.sent || self.tunnel_left() > 0 || empty_lines)
    }

    fn can_receive(&self, socket: &Socket) -> bool {
        let ended = self.tunnel.is_some_and(|tunnel| tunnel.ended);
        !self.deaf && !self.stalled && !ended && (socket.peer_pending() > 0 || socket.peer_end().is_some())
    }

    /// All is done that it came for.
    fn wants_close(&self) -> bool {
        let ended = self.tunnel.is_some_and(|tunnel| tunnel.ended && self.half_closed);
        let all = self.answered == self.spans.len() && self.script.manner != Manner::EmptyLines;
        (all || ended) && !self.stalled
    }

    /// When it acts next, if it can; never, where it waits for something.
    pub(crate) fn acts_at(&self, sockets: &[Socket], book: &Book) -> u64 {
        if self.closed {
            return u64::MAX;
        }
        if self.standing == Standing::Away {
            return self.rests.until;
        }
        let socket = &sockets[self.socket];
        let at_once =
            self.is_due() || self.can_send(socket, book) || self.wants_half_close(book) || self.wants_close();
        match at_once {
            true => self.rests.until,
            false if self.can_receive(socket) => self.rests.until.max(self.reads_after),
            false => u64::MAX,
        }
    }

    /// The kernel has made its connection.
    pub(crate) fn connected(&mut self, socket: usize, now: u64) {
        self.socket = socket;
        self.standing = Standing::Waits;
        self.served_at = now;
    }

    /// It tries to connect again later, if it is told when; else it goes.
    pub(crate) fn not_connected(&mut self, again: Option<u64>, book: &mut Book) {
        match again {
            Some(at) => self.rests.until = at,
            None => self.give_up(book),
        }
    }

    pub(crate) fn act(&mut self, socket: &mut Socket, moment: &mut Moment<'_>) -> Result<(), String> {
        self.rests.draw(moment.now, moment.choices);
        let can_send = self.can_send(socket, moment.book);
        if self.is_due() {
            self.fail(socket, moment.book);
        } else if self.can_receive(socket)
            && moment.now >= self.reads_after
            && (!can_send || moment.choices.percent(50))
        {
            self.receive(socket, moment)?;
        } else if can_send {
            self.send(socket, moment);
        } else if self.wants_half_close(moment.book) {
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

    /// It goes without another word.
    pub(crate) fn give_up(&mut self, book: &mut Book) {
        self.closed = true;
        self.failed = true;
        for &id in &self.script.ids {
            book.records[id].aborted = true;
        }
    }

    fn send(&mut self, socket: &mut Socket, moment: &mut Moment<'_>) {
        if self.script.manner == Manner::EmptyLines {
            socket.peer_send(b"\r\n");
            let rest = moment.choices.pick(&[self.drips_every, self.drips_every / 3, 900_000]);
            return self.rests.think(moment.now, rest);
        }
        let segment = moment.choices.pick(&[200_000, 1, 20, 300, 1_460, 30_000]);
        let mut max = moment.choices.within(1, segment).min(socket.peer_room());
        if self.eager {
            max = socket.peer_room();
        }
        if self.is_dripping() {
            max = 1;
            self.rests.think(moment.now, self.drips_every);
        } else if let Manner::Drips(at) = self.script.manner {
            max = max.min(at - self.sent);
        }
        let (id, left) = (self.current(), self.tunnel_left());
        if let (Some(tunnel), Some(id)) = (&mut self.tunnel, id) {
            let end = tunnel.sent + max.min(left);
            let mut bytes = Vec::new();
            content::append(id, Way::Up, tunnel.sent, end, &mut bytes);
            socket.peer_send(&bytes);
            tunnel.sent = end;
            return;
        }
        let book = &mut *moment.book;
        let mut end = self.sendable(book).min(self.sent + max);
        if let Some((AbortAt::Sent(at), _)) = self.script.abort {
            end = end.min(at.max(self.sent));
        }
        socket.peer_send(&self.out[self.sent..end]);
        self.sent = end;
        for span in &self.spans {
            let record = &mut book.records[span.id];
            record.sent_whole = span.end <= self.sent && !book.plans[span.id].corrupt;
            if span.start < self.sent && record.begun.is_none() {
                record.begun = Some(book.turns);
            }
        }
    }

    /// The pace at which it reads, where it takes its time.
    pub(crate) fn pace(&self) -> Option<Pace> {
        match self.script.manner {
            Manner::Reads(pace) => Some(pace),
            _ => None,
        }
    }

    fn receive(&mut self, socket: &mut Socket, moment: &mut Moment<'_>) -> Result<(), String> {
        let segment = moment.choices.pick(&[500_000, 1, 50, 1_460, 20_000]);
        let mut max = moment.choices.within(1, segment);
        if let Some(pace) = self.pace() {
            max = pace.octets;
            self.reads_after = moment.now + pace.every;
        }
        if let Some((AbortAt::Received(at), _)) = self.script.abort {
            max = max.min(at - self.received);
        }
        let before = self.reader.bytes.len();
        socket.peer_receive(&mut self.reader.bytes, max);
        let count = self.reader.bytes.len() - before;
        self.received += count;
        if count > 0 {
            if self.script.manner == Manner::EmptyLines {
                self.reader.bytes.clear();
                return Ok(());
            }
            let answered = self.answered;
            self.read(moment.book)?;
            if self.answered > answered {
                self.served_at = moment.now;
                self.rests.think(moment.now, self.script.thinks);
            }
            return Ok(());
        }
        let end = socket.peer_end().ok_or("nothing was received and nothing ended")?;
        self.ended(end, socket, moment.now, moment.book)
    }
}
