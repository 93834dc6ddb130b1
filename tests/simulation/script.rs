//! What is going to happen: every request that a client will send, how the backend will answer each try of it, and which peer
//! will fail where. It is settled before the first octet moves.

use super::random::{Random, Way, content};

/// Octets of content that requests to `/s` may have.
pub(crate) const SMALL_BYTES_MAX: usize = 1_000;

/// What may go wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mood {
    /// Nothing: every request is answered, and no deadline passes.
    Clean,
    /// Idle backend connections are closed at any time.
    Stale,
    /// Everything.
    Faulty,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    None,
    Length,
    Chunked,
    /// Ends with its connection; responses only.
    UntilClose,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Expect {
    No,
    /// The content follows a 100.
    Waits,
    /// The content follows at once.
    Impatient,
}

/// One request of a client.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) id: usize,
    pub(crate) method: &'static str,
    pub(crate) http10: bool,
    /// `Connection: close`, or a 1.0 request without keep-alive.
    pub(crate) closes: bool,
    pub(crate) shape: Shape,
    pub(crate) len: usize,
    pub(crate) trailers: bool,
    pub(crate) expect: Expect,
    pub(crate) upgrades: bool,
    /// Its last chunk is none: the end of the request never comes.
    pub(crate) corrupt: bool,
    /// The status of an answer that Apex gives by itself.
    pub(crate) own: Option<u16>,
    pub(crate) path: &'static str,
    /// The answers of the backend, one for each try; the last stands for all that follow.
    pub(crate) answers: Vec<Answer>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum When {
    /// Behind the whole request.
    Whole,
    /// Behind its head.
    Head,
}

/// What the backend does with its connection behind an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Behind {
    /// It serves on.
    Keeps,
    /// It says close and closes.
    SaysClose,
    /// It closes without a word.
    Closes,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Failure {
    Fin,
    Reset,
    Stall,
    /// Octets that are no HTTP instead of the answer.
    Garbage,
}

/// One answer of the backend.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) http10: bool,
    pub(crate) shape: Shape,
    pub(crate) len: usize,
    pub(crate) trailers: bool,
    pub(crate) when: When,
    pub(crate) behind: Behind,
    pub(crate) interim: usize,
    /// The rest of the request is read while an early answer is given; else behind it, or not at all.
    pub(crate) reads_rest: bool,
    /// Its last chunk is none.
    pub(crate) corrupt: bool,
    /// Octets that belong to nothing follow the answer.
    pub(crate) surplus: bool,
    /// The upgrade is accepted.
    pub(crate) switches: bool,
    /// A tunnel is closed as soon as everything was sent.
    pub(crate) closes_tunnel: bool,
    /// It fails when so many octets of the answer were sent.
    pub(crate) fails_behind: Option<(usize, Failure)>,
    /// It fails when so many octets of the request's content were received.
    pub(crate) fails_at: Option<(usize, Failure)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Abort {
    Reset,
    /// It closes its socket.
    Close,
    /// It closes its sending side.
    HalfClose,
    /// It neither sends nor receives any more.
    Stall,
    /// It receives nothing any more.
    Deaf,
}

/// How a client fails: when it has sent, or received, so many octets in all.
#[derive(Debug, Clone, Copy)]
pub(crate) enum AbortAt {
    Sent(usize),
    Received(usize),
}

/// All that one client connection will do.
#[derive(Debug)]
pub(crate) struct Script {
    pub(crate) ids: Vec<usize>,
    pub(crate) pipelines: bool,
    /// Its sending side is closed behind the last request.
    pub(crate) half_closes: bool,
    pub(crate) abort: Option<(AbortAt, Abort)>,
}

impl Plan {
    pub(crate) fn draw(random: &mut Random, id: usize, mood: Mood, last: bool) -> Self {
        let method = random.pick(&[
            "GET", "GET", "GET", "GET", "HEAD", "POST", "POST", "POST", "PUT", "PUT", "DELETE", "OPTIONS",
        ]);
        let http10 = random.percent(12);
        let has_content = matches!(method, "POST" | "PUT") || random.percent(3);
        let shape = match (has_content, http10) {
            (false, _) => Shape::None,
            (true, true) => Shape::Length,
            (true, false) => random.pick(&[Shape::Length, Shape::Chunked]),
        };
        let len = if shape == Shape::None { 0 } else { random.content_len() };
        let expects = shape != Shape::None && !http10 && len > 0 && random.percent(15);
        let upgrades = last && shape == Shape::None && !http10 && method == "GET" && random.percent(40);
        let (path, own) = own_answer(random, method, shape, len);
        let mut plan = Self {
            id,
            method,
            http10,
            closes: if http10 { random.percent(50) } else { !upgrades && random.percent(6) },
            shape,
            len,
            trailers: shape == Shape::Chunked && random.percent(30),
            expect: if expects {
                random.pick(&[Expect::Waits, Expect::Waits, Expect::Impatient])
            } else {
                Expect::No
            },
            upgrades,
            corrupt: mood == Mood::Faulty && shape == Shape::Chunked && random.percent(6),
            own,
            path,
            answers: Vec::new(),
        };
        let answers = if mood == Mood::Faulty { 3 } else { 1 };
        plan.answers = (0..answers).map(|_| Answer::draw(random, &plan, mood)).collect();
        plan
    }

    /// May be sent a second time (RFC 9110 section 9.2.2).
    pub(crate) fn is_idempotent(&self) -> bool {
        self.method != "POST"
    }

    /// Head and content as they go out, and the length of the head.
    pub(crate) fn render(&self, random: &mut Random) -> (Vec<u8>, usize) {
        use std::fmt::Write as _;
        let version = if self.http10 { "1.0" } else { "1.1" };
        let mut head =
            format!("{} {}/{} HTTP/{version}\r\nHost: sim.example\r\n", self.method, self.path, self.id);
        let mut line = |text: &str| write!(head, "{text}\r\n").expect("a string takes everything");
        match self.shape {
            Shape::Length => line(&format!("Content-Length: {}", self.len)),
            Shape::Chunked => line("Transfer-Encoding: chunked"),
            Shape::None | Shape::UntilClose => {}
        }
        if self.expect != Expect::No {
            line("Expect: 100-continue");
        }
        if self.upgrades {
            line("Connection: upgrade\r\nUpgrade: sim");
        } else if self.http10 && !self.closes {
            line("Connection: keep-alive");
        } else if self.closes && !self.http10 {
            line("Connection: close");
        }
        if self.method == "OPTIONS" {
            line("Max-Forwards: 0");
        }
        line("");
        let mut bytes = head.into_bytes();
        let head_len = bytes.len();
        let body = content(self.id, Way::Up, self.len);
        encode(random, self.shape, &body, &last_chunk(self.corrupt, self.trailers, self.id), &mut bytes);
        (bytes, head_len)
    }
}

/// A path, and the status where Apex answers by itself.
fn own_answer(random: &mut Random, method: &str, shape: Shape, len: usize) -> (&'static str, Option<u16>) {
    if method == "OPTIONS" {
        return ("/i", Some(200));
    }
    match random.below(100) {
        0..4 => ("/none", Some(404)),
        4..14 if shape != Shape::None => ("/s", (len > SMALL_BYTES_MAX).then_some(413)),
        _ => ("/i", None),
    }
}

impl Answer {
    fn draw(random: &mut Random, plan: &Plan, mood: Mood) -> Self {
        let switches = plan.upgrades && random.percent(80);
        let status = match (switches, random.below(10)) {
            (true, _) => 101,
            (_, 0) => 204,
            (_, 1) => 304,
            (_, 2) => 500,
            _ => 200,
        };
        let http10 = !switches && random.percent(10);
        let shape = match (status, http10) {
            (101 | 204 | 304, _) => Shape::None,
            (_, true) => random.pick(&[Shape::Length, Shape::UntilClose]),
            (_, false) => random.pick(&[
                Shape::Length,
                Shape::Length,
                Shape::Chunked,
                Shape::Chunked,
                Shape::UntilClose,
            ]),
        };
        let behind = if shape == Shape::UntilClose || http10 {
            Behind::SaysClose
        } else {
            // A request that meets a close without a word may be lost.
            let last = if mood == Mood::Clean { Behind::Keeps } else { Behind::Closes };
            random.pick(&[Behind::Keeps, Behind::Keeps, Behind::Keeps, Behind::SaysClose, last])
        };
        let early = plan.shape != Shape::None && random.percent(20);
        let mut answer = Self {
            status,
            http10,
            shape,
            len: if shape == Shape::None && !switches { 0 } else { random.content_len() },
            trailers: shape == Shape::Chunked && random.percent(30),
            when: if early { When::Head } else { When::Whole },
            behind,
            interim: if random.percent(15) { random.within(1, 3) } else { 0 },
            reads_rest: random.percent(50),
            corrupt: false,
            surplus: shape != Shape::UntilClose && !switches && random.percent(4),
            switches,
            closes_tunnel: random.percent(40),
            fails_behind: None,
            fails_at: None,
        };
        if mood == Mood::Faulty && random.percent(35) {
            answer.draw_failure(random, plan);
        } else if mood == Mood::Faulty && shape == Shape::Chunked && plan.method != "HEAD" {
            answer.corrupt = random.percent(8);
        }
        answer
    }

    fn draw_failure(&mut self, random: &mut Random, plan: &Plan) {
        let failure =
            random.pick(&[Failure::Fin, Failure::Reset, Failure::Reset, Failure::Stall, Failure::Garbage]);
        // The end of a content that ends with its connection cannot be told from a FIN in it.
        let fin = failure == Failure::Fin && self.shape == Shape::UntilClose;
        let failure = if fin { Failure::Reset } else { failure };
        if random.percent(40) {
            self.fails_at = Some((random.below(plan.len + 1), failure));
        } else {
            let failure = if failure == Failure::Garbage { Failure::Reset } else { failure };
            self.fails_behind = Some((random.below(self.len + 300), failure));
        }
    }

    /// Octets that the client sends into the tunnel.
    pub(crate) fn up_len(&self) -> usize {
        self.len.min(20_000)
    }

    /// Octets of content that the response carries.
    pub(crate) fn content_len(&self, plan: &Plan) -> usize {
        if plan.method == "HEAD" || self.shape == Shape::None { 0 } else { self.len }
    }

    /// The whole answer as it goes out.
    pub(crate) fn render(
        &self,
        random: &mut Random,
        plan: &Plan,
        attempt: usize,
        interims: &[u16],
    ) -> Vec<u8> {
        use std::fmt::Write as _;
        let mut head = String::new();
        for status in interims {
            write!(head, "HTTP/1.1 {status} Interim\r\nX-Interim: {}\r\n\r\n", plan.id)
                .expect("it takes everything");
        }
        let version = if self.http10 { "1.0" } else { "1.1" };
        write!(head, "HTTP/{version} {} Sim\r\nX-Id: {}\r\nX-Try: {attempt}\r\n", self.status, plan.id)
            .expect("it takes everything");
        let mut line = |text: &str| write!(head, "{text}\r\n").expect("it takes everything");
        match self.shape {
            Shape::Length => line(&format!("Content-Length: {}", self.len)),
            Shape::Chunked => line("Transfer-Encoding: chunked"),
            Shape::None | Shape::UntilClose => {}
        }
        if self.switches {
            line("Connection: upgrade\r\nUpgrade: sim");
        } else if self.behind == Behind::SaysClose && !self.http10 {
            line("Connection: close");
        }
        line("");
        let mut bytes = head.into_bytes();
        if self.switches {
            bytes.extend(content(plan.id, Way::Down, self.len));
        } else if self.content_len(plan) > 0 || (plan.method != "HEAD" && self.shape == Shape::Chunked) {
            let body = content(plan.id, Way::Down, self.len);
            encode(random, self.shape, &body, &last_chunk(self.corrupt, self.trailers, plan.id), &mut bytes);
        }
        bytes
    }
}

/// Appends a content in that shape, with chunks of any size, extensions and letter case.
fn encode(random: &mut Random, shape: Shape, body: &[u8], last: &str, out: &mut Vec<u8>) {
    if shape != Shape::Chunked {
        out.extend_from_slice(body);
        return;
    }
    let chunk_max = random.pick(&[60, 900, 5_000, 50_000, 200_000]);
    let mut left = body;
    while !left.is_empty() {
        let (chunk, rest) = left.split_at(random.within(1, chunk_max).min(left.len()));
        let size = match random.below(4) {
            0 => format!("{:X};ext=\"a b\"\r\n", chunk.len()),
            1 => format!("{:05x}\r\n", chunk.len()),
            _ => format!("{:x}\r\n", chunk.len()),
        };
        out.extend_from_slice(size.as_bytes());
        out.extend_from_slice(chunk);
        out.extend_from_slice(b"\r\n");
        left = rest;
    }
    out.extend_from_slice(last.as_bytes());
}

/// The last chunk and the trailer section; or what is no chunk.
fn last_chunk(corrupt: bool, trailers: bool, id: usize) -> String {
    match (corrupt, trailers) {
        (true, _) => "0x0\r\n\r\n".to_owned(),
        (_, true) => format!("0\r\nX-Sum: {id}\r\n\r\n"),
        _ => "0\r\n\r\n".to_owned(),
    }
}

impl Script {
    pub(crate) fn draw(random: &mut Random, ids: Vec<usize>, mood: Mood) -> Self {
        let abort = (mood == Mood::Faulty && random.percent(40)).then(|| {
            let kind =
                random.pick(&[Abort::Reset, Abort::Close, Abort::HalfClose, Abort::Stall, Abort::Deaf]);
            let far = random.pick(&[60, 300, 3_000, 60_000]);
            let at = random.below(far);
            (if random.percent(60) { AbortAt::Sent(at) } else { AbortAt::Received(at) }, kind)
        });
        Self { ids, pipelines: random.percent(50), half_closes: random.percent(25), abort }
    }
}
