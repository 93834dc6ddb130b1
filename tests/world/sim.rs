//! The simulated kernel with everybody behind it: clients, backends, the clock. It runs them while the worker polls, and, here and
//! there, within its other calls.

use super::backend::Backend;
use super::choices::Choices;
use super::client::{Client, Standing};
use super::control::Control;
use super::listener::Listener;
use super::pace::{Rests, SECOND, START};
use super::record::{Book, Moment};
use super::script::Scene;
use super::socket::{Connecting, Edge, Sizes, Socket};
use super::trace::{Entry, Trace};
use apex::base::Key;
use std::cell::Cell;
use std::net::SocketAddr;
use std::rc::Rc;

/// Acts of peers and calls of the worker after which a world has come to nothing.
const ACTS_MAX: usize = 100_000;

/// Turns after which a world has come to nothing.
const TURNS_MAX: usize = 200_000;

/// System calls in one turn.
const CALLS_MAX: usize = 20_000;

/// Turns in a row in which nothing moves and no time passes.
const IDLE_TURNS_MAX: usize = 300;

/// Who has a socket's other end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Owner {
    Client(usize),
    Backend(usize),
}

/// How an endpoint can be reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reach {
    Up,
    Refuses,
    /// The connection attempt fails at once, with this number.
    Unreachable(i32),
    /// Nothing is ever heard of it.
    Lost,
    /// Each attempt as it may be.
    Mixed,
}

/// Something that listens at an address.
#[derive(Debug)]
pub(crate) struct Endpoint {
    pub(crate) address: SocketAddr,
    pub(crate) reach: Reach,
}

/// What was dropped by the worker since it was looked at last.
#[derive(Clone, Default)]
pub(crate) struct Dropped(Rc<Cell<Vec<usize>>>);

impl std::fmt::Debug for Dropped {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("Dropped")
    }
}

impl Dropped {
    pub(crate) fn push(&self, id: usize) {
        let mut ids = self.0.take();
        ids.push(id);
        self.0.set(ids);
    }

    pub(crate) fn take(&self) -> Vec<usize> {
        self.0.take()
    }
}

/// The simulated system.
pub(crate) struct Sim {
    pub(crate) scene: Scene,
    pub(crate) choices: Choices,
    pub(crate) now: u64,
    pub(crate) alarm: Option<u64>,
    /// The alarm has rung, and was not told.
    pub(crate) rung: Edge,
    pub(crate) sockets: Vec<Socket>,
    pub(crate) owners: Vec<Owner>,
    pub(crate) keys: Vec<Option<Key>>,
    pub(crate) streams_dropped: Dropped,
    pub(crate) listeners: Vec<Listener>,
    pub(crate) listeners_dropped: Dropped,
    /// Pipes that the worker has.
    pub(crate) pipes: Rc<Cell<usize>>,
    pub(crate) endpoints: Vec<Endpoint>,
    pub(crate) clients: Vec<Client>,
    pub(crate) backends: Vec<Backend>,
    pub(crate) book: Book,
    pub(crate) control: Control,
    pub(crate) trace: Trace,
    /// What went wrong first.
    pub(crate) failure: Option<String>,
    /// Nothing can happen any more.
    pub(crate) rests: bool,
    /// Clients that Apex has accepted and not closed.
    pub(crate) accepted: usize,
    acts: usize,
    /// Calls of the worker in this turn.
    calls: usize,
    /// Acts, moves and passing time before the last turn, and turns since it changed.
    progress: usize,
    progress_before: usize,
    idle_turns: usize,
}

impl Sim {
    pub(crate) fn new(
        scene: Scene,
        choices: Choices,
        book: Book,
        endpoints: Vec<Endpoint>,
        control: Control,
    ) -> Self {
        Self {
            scene,
            choices,
            now: START,
            alarm: None,
            rung: Edge::NONE,
            sockets: Vec::new(),
            owners: Vec::new(),
            keys: Vec::new(),
            streams_dropped: Dropped::default(),
            listeners: Vec::new(),
            listeners_dropped: Dropped::default(),
            pipes: Rc::default(),
            endpoints,
            clients: Vec::new(),
            backends: Vec::new(),
            book,
            control,
            trace: Trace::default(),
            failure: None,
            rests: false,
            accepted: 0,
            acts: 0,
            calls: 0,
            progress: 0,
            progress_before: 0,
            idle_turns: 0,
        }
    }

    /// Notes what went wrong; the first counts.
    pub(crate) fn fail(&mut self, what: impl Into<String>) {
        if self.failure.is_none() {
            self.failure = Some(what.into());
        }
    }

    pub(crate) fn add_socket(&mut self, owner: Owner, connecting: Option<Connecting>) -> usize {
        let mut sizes = Sizes::draw(&mut self.choices);
        if self.scene.is_eager() {
            sizes = Sizes { rx_max: 300_000, tx_max: 300_000, far_max: 300_000 };
        }
        // What a peer's kernel has room for bounds its pace.
        let pace_min = match owner {
            Owner::Client(client) => self.clients[client].pace().map_or(0, |pace| pace.octets),
            Owner::Backend(_) if self.scene.pauses > 0 => 9_000,
            Owner::Backend(_) => 0,
        };
        sizes.far_max = sizes.far_max.max(pace_min);
        if self.scene.freezes > 0 {
            // Else a client could not send as much meanwhile as it has to within a timeout.
            sizes.rx_max = sizes.rx_max.max(9_000);
        }
        self.sockets.push(Socket::new(sizes, connecting));
        self.owners.push(owner);
        self.keys.push(None);
        self.sockets.len() - 1
    }

    /// Closes what the worker has dropped.
    pub(crate) fn reap(&mut self) {
        for id in self.streams_dropped.take() {
            if !self.sockets[id].closed {
                self.close(id, false);
            }
        }
        for id in self.listeners_dropped.take() {
            self.trace.note(Entry::Control("a listener is closed"));
            if let Err(what) = self.listeners[id].close(self.now) {
                self.fail(what);
            }
            for waiting in self.listeners[id].drain() {
                self.sockets[waiting].abort();
            }
        }
    }

    pub(crate) fn close(&mut self, id: usize, by_reset: bool) {
        self.progress += 1;
        self.trace.note(Entry::Closed(id, by_reset));
        if by_reset {
            self.sockets[id].abort();
        } else {
            self.sockets[id].close();
        }
        if let Owner::Client(client) = self.owners[id] {
            self.accepted -= usize::from(self.keys[id].is_some());
            if by_reset {
                self.client_was_reset(client);
            }
        }
    }

    /// Apex resets a client's connection: for a reason, and earlier responses that the client has not read may be lost with it.
    fn client_was_reset(&mut self, at: usize) {
        let client = &self.clients[at];
        let mut has_failed = client.failed || self.book.ending;
        for &id in &client.script.ids {
            let record = &mut self.book.records[id];
            record.reset |= record.begun.is_some();
            has_failed |= record.failed;
        }
        if !has_failed {
            self.fail(format!("client {at} is reset, and neither it nor a backend has failed"));
        }
    }

    pub(crate) fn moved(&mut self) {
        self.progress += 1;
    }

    // Everybody acts.

    /// Somebody may act while the worker makes a system call.
    pub(crate) fn interleave(&mut self) {
        self.now += 1;
        self.calls += 1;
        if self.calls > CALLS_MAX {
            self.fail("a turn comes to no end");
            panic!("a turn comes to no end");
        }
        for _ in 0..self.scene.acts_within {
            if self.choices.percent(self.scene.interleaves) {
                self.act();
            }
        }
    }

    /// When that one acts next.
    fn acts_at(&self, actor: usize) -> u64 {
        if let Some(client) = self.clients.get(actor) {
            return client.acts_at(&self.sockets, &self.book);
        }
        let Some(backend) = self.backends.get(actor - self.clients.len()) else { return u64::MAX };
        let socket = &self.sockets[backend.socket];
        if socket.is_pending() { 0 } else { backend.acts_at(socket) }
    }

    /// One who can act does. False where nobody can now.
    pub(crate) fn act(&mut self) -> bool {
        let count = self.clients.len() + self.backends.len();
        if count == 0 {
            return false;
        }
        let first = self.choices.below(count);
        let found =
            (0..count).map(|step| (first + step) % count).find(|&actor| self.acts_at(actor) <= self.now);
        let Some(actor) = found else { return false };
        self.now += 1;
        self.acts += 1;
        self.progress += 1;
        if self.acts > ACTS_MAX {
            self.fail("it comes to no end");
            return false;
        }
        let result = if actor < self.clients.len() {
            self.client_acts(actor)
        } else {
            self.backend_acts(actor - self.clients.len())
        };
        if let Err(what) = result {
            self.fail(what);
        }
        true
    }

    /// When somebody acts next; never, while all wait.
    pub(crate) fn next_act(&self) -> u64 {
        (0..self.clients.len() + self.backends.len())
            .map(|actor| self.acts_at(actor))
            .min()
            .unwrap_or(u64::MAX)
    }

    fn client_acts(&mut self, at: usize) -> Result<(), String> {
        self.trace.note(Entry::Client(at));
        if self.clients[at].standing == Standing::Away {
            self.knock(at);
            return Ok(());
        }
        let Self { clients, sockets, book, choices, now, .. } = self;
        let client = &mut clients[at];
        client.act(&mut sockets[client.socket], &mut Moment { now: *now, book, choices })
    }

    /// A client connects to one of the listeners that are open.
    fn knock(&mut self, at: usize) {
        let open: Vec<usize> =
            (0..self.listeners.len()).filter(|&one| self.listeners[one].is_open()).collect();
        if open.is_empty() {
            return self.clients[at].not_connected(None, &mut self.book);
        }
        let listener = self.choices.pick(&open);
        if self.listeners[listener].begins_no_more {
            // Its segment is dropped, and repeated after a second.
            return self.clients[at].not_connected(Some(self.now + SECOND), &mut self.book);
        }
        let socket = self.add_socket(Owner::Client(at), None);
        self.sockets[socket].edge.take();
        self.listeners[listener].knock(socket);
        self.clients[at].connected(socket, self.now);
    }

    fn backend_acts(&mut self, at: usize) -> Result<(), String> {
        let socket = self.backends[at].socket;
        if self.sockets[socket].is_pending() {
            self.trace.note(Entry::Connected(socket));
            self.sockets[socket].connect();
            return Ok(());
        }
        self.trace.note(Entry::Backend(socket));
        let Self { backends, sockets, book, choices, now, .. } = self;
        let was_closed = backends[at].closed;
        let unread = if was_closed { Vec::new() } else { backends[at].unread_requests(&sockets[socket]) };
        let backend = &mut backends[at];
        backend.act(&mut sockets[socket], &mut Moment { now: *now, book, choices })?;
        // What lay unread when it closed was lost.
        if backend.closed {
            for id in unread {
                if let Some(record) = book.records.get_mut(id) {
                    record.stale = true;
                }
            }
        }
        Ok(())
    }

    /// Connects to an address; `Err` is the number of the error.
    pub(crate) fn begin_to_connect(&mut self, address: SocketAddr) -> Result<usize, i32> {
        let Some(endpoint) = self.endpoints.iter().position(|one| one.address == address) else {
            self.fail(format!("a connection to {address}, where nobody ever was"));
            return Err(rustix::io::Errno::CONNREFUSED.raw_os_error());
        };
        let unreachable =
            [rustix::io::Errno::ADDRNOTAVAIL, rustix::io::Errno::NETUNREACH, rustix::io::Errno::HOSTUNREACH];
        let reach = match self.endpoints[endpoint].reach {
            Reach::Mixed => match self.choices.below(100) {
                0..5 => Reach::Unreachable(self.choices.pick(&unreachable).raw_os_error()),
                5..12 => Reach::Refuses,
                12..16 => Reach::Lost,
                _ => Reach::Up,
            },
            reach => reach,
        };
        self.book.connect_faults += usize::from(reach != Reach::Up);
        let connecting = match reach {
            Reach::Unreachable(errno) => return Err(errno),
            Reach::Refuses => Connecting::Refused,
            Reach::Lost => Connecting::Lost,
            Reach::Up | Reach::Mixed => Connecting::Accepted,
        };
        let at = self.backends.len();
        let socket = self.add_socket(Owner::Backend(at), Some(connecting));
        let closes_idle = self.scene.closes_idle(&mut self.choices);
        let rests = Rests::new(self.scene.pauses, self.scene.rests());
        self.backends.push(Backend::new(socket, endpoint, closes_idle, self.scene.is_eager(), rests));
        Ok(socket)
    }

    /// A turn is over, and the worker polls: nothing may have been done without end.
    pub(crate) fn turn_over(&mut self) {
        self.book.turns += 1;
        self.calls = 0;
        self.idle_turns = if self.progress == self.progress_before { self.idle_turns + 1 } else { 0 };
        self.progress_before = self.progress;
        if self.book.turns > TURNS_MAX {
            self.fail("the worker turns and turns, and comes to no end");
        }
        if self.idle_turns > IDLE_TURNS_MAX {
            self.fail("the worker turns and turns, and nothing moves");
        }
    }

    /// Time passes up to that tick.
    pub(crate) fn pass_to(&mut self, tick: u64) {
        if tick > self.now {
            self.trace.note(Entry::Passed(tick - self.now));
            self.now = tick;
            self.progress += 1;
        }
    }
}
