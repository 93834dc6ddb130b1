//! What is going to happen: every request that a client will send, how the backend will answer each try of it, and which peer
//! will fail where. It is settled before the first octet moves.

use super::choices::Choices;
use super::content::{self, Way};
use super::pace::{Pace, SECOND};

/// Octets of content that requests to `/s` may have.
pub(crate) const SMALL_BYTES_MAX: usize = 1_000;

/// What may go wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mood {
    /// Nothing: every request is answered, and no deadline passes.
    Clean,
    /// Idle backend connections are closed at any time.
    Stale,
    /// Some endpoints cannot be connected to, each in a way of its own; of each route one can.
    Partial,
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
    /// Octets that belong to nothing come a little later.
    pub(crate) late: bool,
    /// The upgrade is accepted.
    pub(crate) switches: bool,
    /// A tunnel is closed as soon as everything was sent.
    pub(crate) closes_tunnel: bool,
    /// No 100 is sent to who expects one.
    pub(crate) withholds: bool,
    /// How long it is made.
    pub(crate) thinks: u64,
    /// The pace at which the request is read.
    pub(crate) reads_at: Option<Pace>,
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

/// How a client is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Manner {
    /// It sends its requests and reads its answers.
    Plain,
    /// It reads at a pace, steadily.
    Reads(Pace),
    /// From a place in what it sends on, it sends octet after octet, each just before any timeout. Beyond 400, that is the first
    /// content.
    Drips(usize),
    /// It sends nothing but empty lines.
    EmptyLines,
}

/// All that one client connection will do.
#[derive(Debug)]
pub(crate) struct Script {
    pub(crate) ids: Vec<usize>,
    pub(crate) manner: Manner,
    /// When it connects.
    pub(crate) starts: u64,
    /// How long it rests before each further request.
    pub(crate) thinks: u64,
    pub(crate) pipelines: bool,
    /// Its sending side is closed behind the last request.
    pub(crate) half_closes: bool,
    pub(crate) abort: Option<(AbortAt, Abort)>,
}

impl Plan {
    pub(crate) fn draw(choices: &mut Choices, id: usize, scene: &Scene, last: bool) -> Self {
        let mood = scene.mood;
        let method = choices.pick(&[
            "GET", "GET", "GET", "GET", "HEAD", "POST", "POST", "POST", "PUT", "PUT", "DELETE", "OPTIONS",
        ]);
        let http10 = choices.percent(12);
        let has_content = matches!(method, "POST" | "PUT") || choices.percent(3);
        let shape = match (has_content, http10) {
            (false, _) => Shape::None,
            (true, true) => Shape::Length,
            (true, false) => choices.pick(&[Shape::Length, Shape::Chunked]),
        };
        let len = if shape == Shape::None { 0 } else { scene.content_len(choices) };
        let expects = shape != Shape::None && !http10 && len > 0 && choices.percent(15);
        let upgrades = last && shape == Shape::None && !http10 && method == "GET" && choices.percent(40);
        let (path, own) = own_answer(choices, method, shape, len);
        let mut plan = Self {
            id,
            method,
            http10,
            closes: if http10 { choices.percent(50) } else { !upgrades && choices.percent(6) },
            shape,
            len,
            trailers: shape == Shape::Chunked && choices.percent(30),
            expect: if expects {
                choices.pick(&[Expect::Waits, Expect::Waits, Expect::Impatient])
            } else {
                Expect::No
            },
            upgrades,
            corrupt: mood == Mood::Faulty && shape == Shape::Chunked && choices.percent(6),
            own,
            path,
            answers: Vec::new(),
        };
        let answers = if mood == Mood::Faulty { 3 } else { 1 };
        plan.answers = (0..answers).map(|_| Answer::draw(choices, &plan, scene)).collect();
        plan
    }

    /// Its client expects a 100, which no backend sends.
    pub(crate) fn expect_and_get_nothing(&mut self) {
        if self.len > 0 && !self.http10 {
            self.expect = Expect::Impatient;
            for answer in &mut self.answers {
                (answer.withholds, answer.reads_rest, answer.when) = (true, false, When::Whole);
            }
        }
    }

    /// May be sent a second time (RFC 9110 section 9.2.2).
    pub(crate) fn is_idempotent(&self) -> bool {
        self.method != "POST"
    }

    /// Head and content as they go out, and the length of the head.
    pub(crate) fn render(&self, choices: &mut Choices) -> (Vec<u8>, usize) {
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
        let mut body = Vec::with_capacity(self.len);
        content::append(self.id, Way::Up, 0, self.len, &mut body);
        encode(choices, self.shape, &body, &last_chunk(self.corrupt, self.trailers, self.id), &mut bytes);
        (bytes, head_len)
    }
}

/// A path, and the status where Apex answers by itself.
fn own_answer(choices: &mut Choices, method: &str, shape: Shape, len: usize) -> (&'static str, Option<u16>) {
    if method == "OPTIONS" {
        return ("/i", Some(200));
    }
    match choices.below(100) {
        0..4 => ("/none", Some(404)),
        4..14 if shape != Shape::None => ("/s", (len > SMALL_BYTES_MAX).then_some(413)),
        _ => ("/i", None),
    }
}

impl Answer {
    fn draw(choices: &mut Choices, plan: &Plan, scene: &Scene) -> Self {
        let mood = scene.mood;
        let switches = plan.upgrades && choices.percent(80);
        let status = match (switches, choices.below(10)) {
            (true, _) => 101,
            (_, 0) => 204,
            (_, 1) => 304,
            (_, 2) => 500,
            _ => 200,
        };
        let http10 = !switches && choices.percent(10);
        let shape = match (status, http10) {
            (101 | 204 | 304, _) => Shape::None,
            (_, true) => choices.pick(&[Shape::Length, Shape::UntilClose]),
            (_, false) => choices.pick(&[
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
            choices.pick(&[Behind::Keeps, Behind::Keeps, Behind::Keeps, Behind::SaysClose, last])
        };
        let early = plan.shape != Shape::None && choices.percent(20);
        let mut answer = Self {
            status,
            http10,
            shape,
            len: if shape == Shape::None && !switches { 0 } else { scene.content_len(choices) },
            trailers: shape == Shape::Chunked && choices.percent(30),
            when: if early { When::Head } else { When::Whole },
            behind,
            interim: if choices.percent(15) { choices.within(1, 3) } else { 0 },
            reads_rest: choices.percent(50),
            corrupt: false,
            surplus: shape != Shape::UntilClose && !switches && choices.percent(4),
            late: shape != Shape::UntilClose && !switches && choices.percent(scene.late),
            switches,
            closes_tunnel: choices.percent(40),
            withholds: mood == Mood::Faulty && plan.expect != Expect::No && choices.percent(40),
            thinks: if choices.percent(scene.pauses) { scene.wait / choices.pick(&[2, 5, 100]) } else { 0 },
            reads_at: (plan.len > 0 && choices.percent(scene.pauses / 4))
                .then(|| scene.pace(choices, plan.len)),
            fails_behind: None,
            fails_at: None,
        };
        if scene.busy && !switches {
            answer.keep_connection();
        }
        if mood == Mood::Faulty && choices.percent(35) {
            answer.draw_failure(choices, plan);
        } else if mood == Mood::Faulty && answer.shape == Shape::Chunked && plan.method != "HEAD" {
            answer.corrupt = choices.percent(8);
        }
        answer
    }

    /// A plain answer, behind which the connection is used again.
    fn keep_connection(&mut self) {
        let Self { status, shape, http10, behind, surplus, when, thinks, .. } = self;
        (*status, *shape, *http10, *behind, *surplus) = (200, Shape::Length, false, Behind::Keeps, false);
        (*when, *thinks) = (When::Whole, 0);
        self.trailers = false;
    }

    fn draw_failure(&mut self, choices: &mut Choices, plan: &Plan) {
        let failure =
            choices.pick(&[Failure::Fin, Failure::Reset, Failure::Reset, Failure::Stall, Failure::Garbage]);
        // The end of a content that ends with its connection cannot be told from a FIN in it.
        let fin = failure == Failure::Fin && self.shape == Shape::UntilClose;
        let failure = if fin { Failure::Reset } else { failure };
        if choices.percent(40) {
            self.fails_at = Some((choices.below(plan.len + 1), failure));
        } else {
            let failure = if failure == Failure::Garbage { Failure::Reset } else { failure };
            self.fails_behind = Some((choices.below(self.len + 300), failure));
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
        choices: &mut Choices,
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
            content::append(plan.id, Way::Down, 0, self.len, &mut bytes);
        } else if self.content_len(plan) > 0 || (plan.method != "HEAD" && self.shape == Shape::Chunked) {
            let mut body = Vec::with_capacity(self.len);
            content::append(plan.id, Way::Down, 0, self.len, &mut body);
            encode(choices, self.shape, &body, &last_chunk(self.corrupt, self.trailers, plan.id), &mut bytes);
        }
        bytes
    }
}

/// Appends a content in that shape, with chunks of any size, extensions and letter case.
fn encode(choices: &mut Choices, shape: Shape, body: &[u8], last: &str, out: &mut Vec<u8>) {
    if shape != Shape::Chunked {
        out.extend_from_slice(body);
        return;
    }
    let chunk_max = choices.pick(&[60, 900, 5_000, 50_000, 200_000]);
    let mut left = body;
    while !left.is_empty() {
        let (chunk, rest) = left.split_at(choices.within(1, chunk_max).min(left.len()));
        let size = match choices.below(4) {
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
    pub(crate) fn draw(choices: &mut Choices, ids: Vec<usize>, scene: &Scene) -> Self {
        let abort = (scene.mood == Mood::Faulty && choices.percent(40)).then(|| {
            let kind =
                choices.pick(&[Abort::Reset, Abort::Close, Abort::HalfClose, Abort::Stall, Abort::Deaf]);
            let far = choices.pick(&[60, 300, 3_000, 60_000]);
            let at = choices.below(far);
            (if choices.percent(60) { AbortAt::Sent(at) } else { AbortAt::Received(at) }, kind)
        });
        let manner = match choices.below(100) {
            80..84 => Manner::Reads(scene.pace(choices, 100_000)),
            84..94 if scene.mood == Mood::Faulty => Manner::Drips(choices.below(800)),
            94.. => Manner::EmptyLines,
            _ => Manner::Plain,
        };
        let long = scene.wait;
        Self {
            ids,
            manner,
            starts: choices.pick(&[0, 0, 0, 5_000, SECOND, long, 3 * long]),
            thinks: if choices.percent(scene.pauses) {
                choices.pick(&[3_000, long / 100, long / 16])
            } else {
                0
            },
            pipelines: scene.busy || choices.percent(50),
            half_closes: choices.percent(25),
            abort: if matches!(manner, Manner::Plain | Manner::Reads(_)) { abort } else { None },
        }
    }
}

/// What holds for all of a world.
#[derive(Debug, Clone)]
pub(crate) struct Scene {
    pub(crate) mood: Mood,
    /// Contents are long, and peers take and give whatever there is room for.
    pub(crate) bulk: bool,
    /// Clients ask for much, one thing behind the other, and polls are often interrupted: what was parked is taken soon.
    pub(crate) busy: bool,
    /// So many in a hundred take their time.
    pub(crate) pauses: usize,
    /// What the shortest deadline of a live exchange allows (ticks).
    pub(crate) wait: u64,
    /// Peers act so many times in a hundred within a system call of the worker.
    pub(crate) interleaves: usize,
    /// How many may.
    pub(crate) acts_within: usize,
    /// Events that one poll tells of.
    pub(crate) events_max: usize,
    /// Answers in a hundred behind which octets come that belong to nothing.
    pub(crate) late: usize,
    /// Polls in a hundred that a signal interrupts.
    pub(crate) interrupts: usize,
    /// Polls in a thousand before which the process is frozen for longer than its timeouts.
    pub(crate) freezes: usize,
    /// Calls in a hundred that make something new and find no descriptor.
    pub(crate) no_descriptor: usize,
    /// Pipes in a hundred that are refused.
    pub(crate) no_pipe: usize,
    /// Writes in a hundred that the kernel cuts short.
    pub(crate) short_writes: usize,
    /// Sockets have no `SO_RCVLOWAT`.
    pub(crate) no_low_water: bool,
    /// Listeners take no filter.
    pub(crate) no_filter: bool,
}

impl Scene {
    pub(crate) fn draw(choices: &mut Choices) -> Self {
        let mood =
            choices.pick(&[Mood::Clean, Mood::Clean, Mood::Stale, Mood::Partial, Mood::Faulty, Mood::Faulty]);
        let sometimes =
            |choices: &mut Choices, chance, value| if choices.percent(chance) { value } else { 0 };
        let bulk = choices.percent(4);
        let busy = !bulk && choices.percent(4);
        Self {
            mood,
            bulk,
            busy,
            pauses: sometimes(choices, 60, 12),
            wait: choices.pick(&[30, 30, 5, 2]) * SECOND,
            interleaves: if bulk || busy { 100 } else { choices.pick(&[15, 15, 0, 60]) },
            acts_within: if bulk || busy { 5 } else { 1 },
            events_max: choices.pick(&[512, 512, 1, 2, 4]),
            late: if busy { 60 } else { choices.pick(&[0, 4, 30]) },
            interrupts: if busy { 50 } else { choices.pick(&[0, 0, 10, 40]) },
            freezes: sometimes(choices, 15, 10),
            no_descriptor: if mood == Mood::Faulty { sometimes(choices, 20, 10) } else { 0 },
            no_pipe: choices.pick(&[0, 0, 30, 100]),
            short_writes: sometimes(choices, 30, 20),
            no_low_water: choices.percent(10),
            no_filter: choices.percent(50),
        }
    }

    /// Peers send and take whatever there is room for.
    pub(crate) const fn is_eager(&self) -> bool {
        self.bulk || self.busy
    }

    /// How long a client or backend connection may be at rest.
    pub(crate) const fn idle(&self) -> u64 {
        2 * self.wait + self.wait / 2
    }

    /// How long a peer may rest in all, besides.
    pub(crate) fn rests(&self) -> u64 {
        (self.wait / 4).min(2 * SECOND)
    }

    /// How long a frozen process is.
    pub(crate) const fn frozen_for(&self) -> u64 {
        2 * self.wait
    }

    /// Does a backend close its idle connection at any time?
    pub(crate) fn closes_idle(&self, choices: &mut Choices) -> bool {
        self.mood != Mood::Clean && choices.percent(40)
    }

    fn content_len(&self, choices: &mut Choices) -> usize {
        if self.busy && choices.percent(40) {
            return choices.within(400_000, 1_500_000);
        }
        if self.bulk && choices.percent(40) {
            choices.within(1_000_000, 6_000_000)
        } else {
            choices.content_len()
        }
    }

    /// A pace at which `len` octets take some time, none of it longer than a deadline allows.
    fn pace(&self, choices: &mut Choices, len: usize) -> Pace {
        let times = choices.pick(&[8, 20, 300]);
        // Slower than so much within a timeout is too slow.
        let octets_min = 4 * 4_096 / times + 1;
        Pace {
            octets: octets_min.max(len / choices.within(1, 40)),
            every: self.wait / u64::try_from(times).unwrap_or(1),
        }
    }
}
