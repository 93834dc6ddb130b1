//! One world: clients, the worker's loop, the kernel and backends, in an order that the seed draws.
//!
//! The worker is as the real one: it polls, tells the exchange what became ready, performs one step after another up to a bound,
//! and comes back when an edge, its own queue or a deadline says so.

use super::backend::Backend;
use super::client::Client;
use super::front::Front;
use super::kernel::Socket;
use super::random::Random;
use super::record::{Book, Record};
use super::script::{Mood, Plan, SMALL_BYTES_MAX, Script};
use super::trace::{Entry, Trace};
use apex::base::Tick;
use apex::exchange::{AccessLog, Buffers, Env, Exchange, Outcome, RequestIds, Serving, Settings, Side, Step};
use apex::http::limits::HeadLimits;
use apex::route::pattern::{HostPattern, PathPrefix};
use apex::route::policy::{Policy, RoutePolicy};
use apex::route::spec::{BackendAddress, BackendSpec, Balancing, RouteSpec};
use apex::route::table::Table;
use std::sync::Arc;
use std::time::Duration;

pub(crate) const DATE: &str = "Sun, 06 Nov 1994 08:49:37 GMT";

/// What is the same for all exchanges of a world.
#[derive(Debug)]
pub(crate) struct Surroundings {
    pub(crate) now: Tick,
    pub(crate) table: Table,
    pub(crate) rules: Settings,
    pub(crate) buffers: Buffers,
    names: apex::base::Random,
    pub(crate) serving: Serving,
}

impl Surroundings {
    pub(crate) fn new() -> Self {
        let route = |prefix: &str, body_bytes_max: Option<u64>| RouteSpec {
            name: prefix.into(),
            host: HostPattern::parse("*").expect("a pattern"),
            path_prefix: PathPrefix::parse(prefix).expect("a prefix"),
            strip_prefix: false,
            balancing: Balancing::RoundRobin,
            policy: body_bytes_max
                .map(|_| Arc::new(RoutePolicy { body_bytes_max, ..RoutePolicy::default() })),
            backends: (1..=3)
                .map(|port| BackendSpec {
                    address: BackendAddress::Tcp { host: "127.0.0.1".into(), port },
                    weight: 1,
                })
                .collect(),
        };
        let small = u64::try_from(SMALL_BYTES_MAX).ok();
        Self {
            // Later than any timeout: a deadline counted from nothing has passed.
            now: Tick(1_000_000_000),
            table: Table::compile(&[route("/i", None), route("/s", small)], None),
            rules: Settings {
                head: HeadLimits::DEFAULT,
                header_timeout: Duration::from_secs(10),
                policy: Policy::default(),
                via: None,
                request_ids: RequestIds::Passed,
                access_log: AccessLog::On,
            },
            buffers: Buffers::default(),
            names: apex::base::Random::new(1),
            serving: Serving::On,
        }
    }

    pub(crate) fn given(&mut self) -> Env<'_> {
        Env {
            now: self.now,
            date: DATE,
            table: &self.table,
            settings: &self.rules,
            buffers: &mut self.buffers,
            random: &mut self.names,
            client: Some(b"192.0.2.1"),
            client_trusted: false,
            serving: self.serving,
        }
    }
}

#[derive(Debug, Clone, Copy)]
enum Actor {
    Client(usize),
    Backend(usize),
    Connection(usize),
    Worker,
}

#[derive(Debug)]
pub(crate) struct World {
    pub(crate) env: Surroundings,
    pub(crate) random: Random,
    pub(crate) mood: Mood,
    pub(crate) sockets: Vec<Socket>,
    pub(crate) clients: Vec<Client>,
    pub(crate) backends: Vec<Backend>,
    pub(crate) fronts: Vec<Front>,
    /// Idle backend connections: member, socket.
    pub(crate) idle: Vec<(usize, usize)>,
    pub(crate) book: Book,
    pub(crate) trace: Trace,
    leaves: bool,
    /// Steps that were performed, and what they may be counted against.
    steps: usize,
    causes: usize,
}

impl World {
    pub(crate) fn new(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let mood = random.pick(&[Mood::Clean, Mood::Clean, Mood::Stale, Mood::Faulty, Mood::Faulty]);
        let mut book = Book { members: 3, ..Book::default() };
        let mut world = Self {
            env: Surroundings::new(),
            mood,
            sockets: Vec::new(),
            clients: Vec::new(),
            backends: Vec::new(),
            fronts: Vec::new(),
            idle: Vec::new(),
            book: Book::default(),
            trace: Trace::default(),
            leaves: random.percent(15),
            steps: 0,
            causes: 0,
            random: Random::new(seed ^ 0x5EED),
        };
        for _ in 0..random.within(1, 3) {
            let count = random.within(1, 5);
            let first = book.plans.len();
            for place in 0..count {
                let plan = Plan::draw(&mut random, first + place, mood, place + 1 == count);
                book.plans.push(plan);
                book.records.push(Record::default());
            }
            let script = Script::draw(&mut random, (first..first + count).collect(), mood);
            world.clients.push(Client::new(script, &book, &mut random));
            world.fronts.push(Front::new(world.sockets.len()));
            world.sockets.push(Socket::new(&mut random, None));
        }
        world.book = book;
        world
    }

    /// Lets everything happen.
    pub(crate) fn run(&mut self) -> Result<(), String> {
        self.play()?;
        // What is left are peers that do nothing any more: they go, and everything ends. A tunnel whose client has half-closed
        // cannot tell that it is gone.
        for (at, front) in self.fronts.iter().enumerate() {
            self.sockets[front.socket].be_reset();
            self.clients[at].give_up(&mut self.book);
        }
        self.play()?;
        for front in &self.fronts {
            if let Some(backend) = front.backend {
                self.sockets[backend].be_reset();
            }
        }
        self.play()?;
        if let Some(at) = self.fronts.iter().position(|front| !front.closed) {
            return Err(format!("connection {at} did not end with its client"));
        }
        let bound = 200 + 12 * self.causes;
        if self.steps > bound {
            return Err(format!("{} steps for {} causes", self.steps, self.causes));
        }
        Ok(())
    }

    fn play(&mut self) -> Result<(), String> {
        loop {
            self.env.now.0 += 1;
            match self.choose(true) {
                Some(Actor::Worker) => self.turn()?,
                Some(actor) => self.act(actor)?,
                None => {
                    if !self.pass_time()? {
                        return Ok(());
                    }
                }
            }
        }
    }

    fn choose(&mut self, with_worker: bool) -> Option<Actor> {
        let mut actors = Vec::with_capacity(8);
        for (at, client) in self.clients.iter().enumerate() {
            if client.can_act(&self.sockets[self.fronts[at].socket], &self.book) {
                actors.push(Actor::Client(at));
            }
        }
        for (at, backend) in self.backends.iter().enumerate() {
            if backend.can_act(&self.sockets[backend.socket]) {
                actors.push(Actor::Backend(at));
            }
            if self.sockets[backend.socket].is_pending() {
                actors.push(Actor::Connection(backend.socket));
            }
        }
        if with_worker
            && (self.fronts.iter().any(|front| front.queued) || self.sockets.iter().any(|socket| socket.edge))
        {
            actors.push(Actor::Worker);
        }
        if actors.is_empty() { None } else { Some(self.random.pick(&actors)) }
    }

    fn act(&mut self, actor: Actor) -> Result<(), String> {
        match actor {
            Actor::Client(at) => {
                self.trace.note(Entry::Client(at));
                let socket = &mut self.sockets[self.fronts[at].socket];
                self.clients[at].act(socket, &mut self.book, &mut self.random)
            }
            Actor::Backend(at) => {
                let backend = &mut self.backends[at];
                let socket = backend.socket;
                self.trace.note(Entry::Backend(socket));
                backend.act(&mut self.sockets[socket], &mut self.book, &mut self.random)?;
                if backend.closed_idle
                    && let Some(front) = self.fronts.iter().position(|front| front.backend == Some(socket))
                {
                    self.mark_stale(front);
                }
                Ok(())
            }
            Actor::Connection(socket) => {
                self.trace.note(Entry::Connected(socket));
                self.sockets[socket].connect();
                Ok(())
            }
            Actor::Worker => self.turn(),
        }
    }

    /// One turn of the worker's loop: events, then everyone who has something to do.
    fn turn(&mut self) -> Result<(), String> {
        if self.leaves && self.random.percent(10) {
            self.leaves = false;
            self.trace.note(Entry::Leaving);
            self.env.serving = Serving::Leaving;
            self.book.leaving = true;
        }
        let mut awake: Vec<usize> = (0..self.fronts.len()).filter(|&at| self.fronts[at].queued).collect();
        for socket in 0..self.sockets.len() {
            if !self.sockets[socket].edge || self.random.percent(10) {
                continue;
            }
            self.sockets[socket].edge = false;
            let readiness = self.sockets[socket].levels();
            self.causes += 1;
            let client = self.fronts.iter().position(|front| front.socket == socket);
            let backend = self.fronts.iter().position(|front| front.backend == Some(socket));
            let (front, side) = match (client, backend) {
                (Some(front), _) => (front, Side::Client),
                (None, Some(front)) => (front, Side::Backend),
                (None, None) => {
                    // An idle backend connection that is readable or closed is of no more use.
                    if readiness.readable {
                        self.idle.retain(|&(_, idle)| idle != socket);
                        self.sockets[socket].close();
                    }
                    continue;
                }
            };
            self.trace.note(Entry::Event(front, side, readiness));
            self.fronts[front].woken();
            self.fronts[front].exchange.ready(side, readiness);
            if !awake.contains(&front) {
                awake.push(front);
            }
        }
        for front in awake {
            self.fronts[front].queued = false;
            self.drive(front)?;
        }
        Ok(())
    }

    pub(crate) fn drive(&mut self, at: usize) -> Result<(), String> {
        let steps_max = self.random.pick(&[3, 16, 64]);
        for _ in 0..steps_max {
            if self.fronts[at].closed {
                return Ok(());
            }
            let step = self.fronts[at].exchange.next_step();
            if self.random.percent(15)
                && let Some(actor) = self.choose(false)
            {
                self.act(actor)?;
            }
            if step == Step::Wait {
                return self.wait(at);
            }
            self.steps += 1;
            self.fronts[at].check_step(step).map_err(|what| format!("connection {at}: {step:?}: {what}"))?;
            let outcome = self.perform(at, step)?;
            self.trace.note(Entry::Step(at, step, outcome));
            if matches!(step, Step::Finish(_)) {
                continue;
            }
            self.causes += usize::from(matches!(outcome, Outcome::Moved { .. } | Outcome::Dialed { .. }));
            self.fronts[at]
                .check_outcome(step, outcome)
                .map_err(|what| format!("connection {at}: {what}"))?;
            self.fronts[at].exchange.apply(step, outcome, &mut self.env.given());
        }
        self.fronts[at].queued = !self.fronts[at].closed;
        Ok(())
    }

    fn wait(&mut self, at: usize) -> Result<(), String> {
        let front = &mut self.fronts[at];
        front.exchange.settle(&mut self.env.buffers);
        if front.exchange.next_step() != Step::Wait {
            return Err(format!("connection {at} waits and does not"));
        }
        if front.exchange.deadline(&self.env.rules) < self.env.now {
            return Err(format!("connection {at} waits although its deadline has passed"));
        }
        if front.exchange.is_at_rest() && self.random.percent(50) {
            // A connection at rest needs no exchange: what it knows is its readiness.
            let (readiness, empty_lines) = (front.exchange.client_readiness(), front.exchange.empty_lines());
            front.exchange = Exchange::new();
            front.exchange.resume(readiness, empty_lines);
        }
        Ok(())
    }

    fn perform(&mut self, at: usize, step: Step) -> Result<Outcome, String> {
        let front = &mut self.fronts[at];
        let socket_of = |side, front: &Front| match side {
            Side::Client => front.socket,
            Side::Backend => front.backend.expect("it was checked"),
        };
        let outcome = match step {
            Step::Read(side) => {
                let socket = &mut self.sockets[socket_of(side, front)];
                socket.read(front.exchange.incoming(side, &mut self.env.buffers, &self.env.rules))
            }
            Step::Peek(side) => {
                let is_quiet = self.sockets[socket_of(side, front)].is_quiet();
                if is_quiet { Outcome::Blocked } else { Outcome::Ended }
            }
            Step::Write(side) => self.sockets[socket_of(side, front)].write(&front.exchange.outgoing(side)),
            Step::Fill(side) => {
                let max = front.exchange.fill_max(side);
                let socket = &mut self.sockets[socket_of(side, front)];
                socket.fill(front.pipe(side, &mut self.random), max, &mut self.random)
            }
            Step::Drain(side) => {
                let max = front.exchange.drain_max(side);
                let from = if side == Side::Client { Side::Backend } else { Side::Client };
                let socket = &mut self.sockets[socket_of(side, front)];
                socket.drain(front.pipe(from, &mut self.random), max)
            }
            Step::Shutdown(side) => {
                self.sockets[socket_of(side, front)].shutdown();
                Outcome::Done
            }
            Step::Release(fate) => {
                self.release(at, fate)?;
                Outcome::Done
            }
            Step::Dial { fresh } => self.dial(at, fresh),
            Step::Finish(persistence) => {
                self.finish(at, persistence)?;
                Outcome::Done
            }
            Step::Wait => Outcome::Done,
        };
        Ok(outcome)
    }
}
