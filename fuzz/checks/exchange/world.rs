//! The worker's part: events are told, steps performed, deadlines watched. It does what `src/worker/drive.rs` does.

use super::peer::{Peer, Pipe};
use super::record::{Link, Record};
use apex::base::{Random, Tick};
use apex::config;
use apex::exchange::{
    AccessLog, Asked, Buffers, Cause, Env, Exchange, LARGE_BYTES, Outcome, Readiness, Release, RequestIds,
    Serving, Settings, Side, Step,
};
use apex::http::head::Persistence;
use apex::http::limits::HeadLimits;
use apex::route::balance::{Choice, Cursor};
use apex::route::health::Failure;
use apex::route::policy::Policy;
use apex::route::table::Table;
use std::sync::OnceLock;
use std::time::Duration;

/// Bits of the scene: when the script has ended, nothing arrives any more.
pub(super) const IS_SILENT: u8 = 1;
const TRUSTED: u8 = 2;
const TIGHT: u8 = 4;
const NOTED: u8 = 8;
/// A new connection is there at once.
const CONNECTS: u8 = 16;

/// Steps of one turn, as a worker has them.
const TURN_STEPS_MAX: usize = 48;

/// Steps without progress that may follow one another: as many as a pool has members that cannot be called, and some.
const IDLE_STEPS_MAX: usize = 100;

/// Turns that end an exchange once both peers have closed: each moves something, and all that moves is under 16 MiB.
const TURNS_MAX: usize = 100_000;

/// Deadlines that an exchange may let pass before it ends: one for each member of its pool that does not answer, and some.
const DEADLINES_MAX: usize = 100;

/// Members of the large pool.
const MANY: usize = 70;

const SIZES: [usize; 16] = [0, 1, 2, 3, 5, 8, 16, 40, 100, 400, 1500, 4096, 16_384, 65_536, 300_000, 1 << 20];

fn size(octet: u8) -> usize {
    SIZES[usize::from(octet & 15)]
}

/// The table and the two sets of settings of all runs.
struct Setup {
    table: Table,
    settings: [Settings; 4],
}

fn setup() -> &'static Setup {
    static SETUP: OnceLock<Setup> = OnceLock::new();
    SETUP.get_or_init(|| {
        let urls = |count: usize| {
            let urls: Vec<String> = (1..=count).map(|port| format!("{{ url = \"http://10.0.0.1:{port}\" }}")).collect();
            urls.join(", ")
        };
        let text = format!(
            "[[routes]]\nname = \"few\"\npath_prefix = \"/\"\nbackends = [{}]\n\
             [[routes]]\nname = \"small\"\npath_prefix = \"/small\"\nbody_bytes_max = 100\nbackends = [{}]\n\
             [[routes]]\nname = \"many\"\npath_prefix = \"/many\"\nstrip_prefix = true\nbackends = [{}]\n\
             [[routes]]\nname = \"host\"\nhost = \"only.example\"\npath_prefix = \"/only\"\nbackends = [{}]\n",
            urls(3),
            urls(1),
            urls(MANY),
            urls(1)
        );
        let config = config::parse(&text, "routes").expect("the routes of the harness are sound");
        let settings = |head, access_log| Settings {
            head,
            header_timeout: Duration::from_secs(10),
            policy: Policy::default(),
            via: None,
            request_ids: RequestIds::Passed,
            access_log,
        };
        let tight = HeadLimits { head_bytes_max: 1024, fields_max: 8, target_bytes_max: 64 };
        let [wide, tight] = [HeadLimits::DEFAULT, tight];
        Setup {
            table: Table::compile(&config.routes, None),
            settings: [
                settings(wide, AccessLog::Off),
                settings(wide, AccessLog::On),
                settings(tight, AccessLog::Off),
                settings(tight, AccessLog::On),
            ],
        }
    })
}

/// A client, an exchange, and the backends.
pub(super) struct World {
    scene: u8,
    settings: &'static Settings,
    exchange: Exchange,
    buffers: Buffers,
    random: Random,
    now: Tick,
    serving: Serving,
    client: Peer,
    links: Vec<Link>,
    /// The link in use.
    link: Option<usize>,
    idle: Vec<usize>,
    replies: Vec<Vec<u8>>,
    cursor: Cursor,
    request_pipe: Pipe,
    response_pipe: Pipe,
    /// Octets that a pipe has room for.
    pipe_bytes: usize,
    window: usize,
    /// Members that cannot even be called, from now on.
    uncalled: usize,
    fill_fails: bool,
    /// Of each exchange that ended: the status, and where it came from.
    finished: Vec<(u16, Cause)>,
    /// Those of them that became a tunnel.
    tunnels: Vec<usize>,
    /// Octets of the client that were read when the time of a head was up.
    late: Option<usize>,
    idle_steps: usize,
    over: bool,
}

impl World {
    pub(super) fn new(scene: u8, windows: u8, client: Vec<u8>, replies: Vec<Vec<u8>>) -> Self {
        let settings =
            &setup().settings[usize::from(scene & TIGHT != 0) * 2 + usize::from(scene & NOTED != 0)];
        Self {
            scene,
            settings,
            exchange: Exchange::new(),
            buffers: Buffers::default(),
            random: Random::new(1),
            now: Tick(1_000_000),
            serving: Serving::On,
            client: Peer::new(client, size(windows), false),
            links: Vec::new(),
            link: None,
            idle: Vec::new(),
            replies,
            cursor: Cursor::default(),
            request_pipe: Pipe::default(),
            response_pipe: Pipe::default(),
            pipe_bytes: 65_536,
            window: size(windows >> 4),
            uncalled: 0,
            fill_fails: false,
            finished: Vec::new(),
            tunnels: Vec::new(),
            late: None,
            idle_steps: 0,
            over: false,
        }
    }

    pub(super) fn is_over(&self) -> bool {
        self.over
    }

    fn backend(&mut self) -> Option<&mut Peer> {
        self.link.map(|link| &mut self.links[link].peer)
    }

    /// One thing happens, as a pair of the script says: letters from `a` on, and for sizes digits and what follows them.
    pub(super) fn event(&mut self, what: u8, argument: u8) {
        let count = size(argument);
        self.idle_steps = 0;
        match (what % 16, self.link.map(|link| &mut self.links[link].peer)) {
            (1, _) => self.client.send(count),
            (2, Some(backend)) => backend.send(count),
            (3, _) => self.client.open(count),
            (4, Some(backend)) => backend.open(count),
            (5, _) => self.client.end(),
            (6, Some(backend)) => backend.end(),
            (7, _) => self.client.reset(),
            (8, Some(backend)) => backend.reset(),
            (9, Some(backend)) => backend.connected(),
            (10, _) => self.expire(),
            (11, _) => self.now = self.now.after(Duration::from_millis(count as u64)),
            (12, _) => self.uncalled = count,
            (13, _) => self.fill_fails = true,
            (14, backend) => {
                // An event may come without news.
                let readiness = backend.map(|backend| backend.readiness());
                self.exchange.ready(Side::Client, self.client.readiness());
                if let Some(readiness) = readiness {
                    self.exchange.ready(Side::Backend, readiness);
                }
            }
            (15, _) => self.pipe_bytes = count.max(1),
            (0, _) => self.at_rest_or_leaving(argument),
            (_, None) => {}
            _ => unreachable!("a number under 16"),
        }
    }

    /// Something befalls the backend connections that wait, or the process is told to leave.
    fn at_rest_or_leaving(&mut self, argument: u8) {
        let Some(&idle) = self.idle.last() else {
            self.serving = Serving::Leaving;
            return;
        };
        let peer = &mut self.links[idle].peer;
        match argument % 4 {
            0 => peer.end(),
            1 => peer.reset(),
            2 => peer.send(size(argument >> 2)),
            _ => self.serving = Serving::Leaving,
        }
    }

    fn given(&mut self) -> (&mut Exchange, Env<'_>) {
        let given = Env {
            now: self.now,
            date: "Sun, 06 Nov 1994 08:49:37 GMT",
            table: &setup().table,
            settings: self.settings,
            buffers: &mut self.buffers,
            random: &mut self.random,
            client: Some(b"192.0.2.7"),
            client_trusted: self.scene & TRUSTED != 0,
            serving: self.serving,
        };
        (&mut self.exchange, given)
    }

    /// Tells the events that are due, and drives the exchange. True where there may be more to do at once.
    pub(super) fn turn(&mut self) -> bool {
        if let Some(readiness) = self.client.event() {
            self.exchange.ready(Side::Client, readiness);
            self.idle_steps = 0;
        }
        if let Some(readiness) = self.backend().and_then(Peer::event) {
            self.exchange.ready(Side::Backend, readiness);
            self.idle_steps = 0;
        }
        for _ in 0..TURN_STEPS_MAX {
            if self.over {
                return false;
            }
            let step = self.exchange.next_step();
            let outcome = match step {
                Step::Wait => {
                    self.wait();
                    // A step of this turn may have brought an event about.
                    return false;
                }
                Step::Finish(persistence) => {
                    self.finish(persistence);
                    continue;
                }
                _ => self.perform(step),
            };
            self.idle_steps = if matches!(outcome, Outcome::Moved { .. }) { 0 } else { self.idle_steps + 1 };
            assert!(self.idle_steps < IDLE_STEPS_MAX, "{step:?} brought {outcome:?}, and so on for ever");
            let (exchange, mut given) = self.given();
            exchange.apply(step, outcome, &mut given);
        }
        true
    }

    fn perform(&mut self, step: Step) -> Outcome {
        match step {
            Step::Read(side) => self.read(side),
            Step::Peek(side) => {
                let is_quiet = match side {
                    Side::Client => self.client.is_quiet(),
                    Side::Backend => self.backend().expect("a backend to look at").is_quiet(),
                };
                if is_quiet { Outcome::Blocked } else { Outcome::Ended }
            }
            Step::Write(side) => {
                let pieces = self.exchange.outgoing(side);
                let pipe = if side == Side::Client { &self.response_pipe } else { &self.request_pipe };
                assert!(pipe.is_empty(), "what is written overtakes what the pipe holds");
                let peer = match side {
                    Side::Client => &mut self.client,
                    Side::Backend => &mut self.links[self.link.expect("a backend to write to")].peer,
                };
                peer.write(&pieces)
            }
            Step::Fill(side) => self.fill(side),
            Step::Drain(side) => {
                let count_max = self.exchange.drain_max(side);
                match side {
                    Side::Client => self.response_pipe.drain(&mut self.client, count_max),
                    Side::Backend => {
                        let link = self.link.expect("a backend to drain to");
                        self.request_pipe.drain(&mut self.links[link].peer, count_max)
                    }
                }
            }
            Step::Dial { fresh } => self.dial(fresh),
            Step::Shutdown(Side::Client) => {
                self.client.shut_down();
                Outcome::Done
            }
            Step::Shutdown(Side::Backend) => {
                self.backend().expect("a backend to shut down").shut_down();
                Outcome::Done
            }
            Step::Release(fate) => self.release(fate),
            Step::Finish(_) | Step::Wait => Outcome::Done,
        }
    }

    fn read(&mut self, side: Side) -> Outcome {
        self.request_pipe.wanted(self.exchange.drain_max(Side::Backend));
        self.response_pipe.wanted(self.exchange.drain_max(Side::Client));
        // Memory is older than the pipe: nothing is read past what the pipe holds. Only behind a whole response a look is
        // taken at whether more follows, which would be for nobody.
        assert!(side == Side::Backend || self.request_pipe.is_empty(), "a read past what the pipe holds");
        let len_max = LARGE_BYTES.max(self.settings.head.head_bytes_max + 1);
        let link = self.link;
        let Self { client, links, exchange, buffers, .. } = self;
        let bytes = exchange.incoming(side, buffers, self.settings);
        let outcome = match side {
            Side::Client => client.read(bytes),
            Side::Backend => links[link.expect("a backend to read from")].peer.read(bytes),
        };
        assert!(bytes.len() <= len_max, "{} octets of memory", bytes.len());
        outcome
    }

    fn fill(&mut self, side: Side) -> Outcome {
        if std::mem::take(&mut self.fill_fails) {
            return Outcome::Failed;
        }
        let count_max = self.exchange.fill_max(side);
        match side {
            Side::Client => self.request_pipe.fill(&mut self.client, count_max, self.pipe_bytes),
            Side::Backend => {
                let link = self.link.expect("a backend to fill from");
                self.response_pipe.fill(&mut self.links[link].peer, count_max, self.pipe_bytes)
            }
        }
    }

    fn dial(&mut self, fresh: bool) -> Outcome {
        assert!(self.link.is_none(), "one backend connection at a time");
        assert!(self.request_pipe.is_empty(), "what was for another connection is not for the next");
        let route = self.exchange.record().route.expect("only what was routed is dialed");
        let pool = &setup().table.route(route).pool;
        let chosen = pool.choose(&mut self.cursor, 0, self.exchange.tries(), self.now);
        let Some(Choice { member, endpoint, admission }) = chosen else { return Outcome::NoBackend };
        let asked = Asked { member, endpoint: endpoint.id, admission };
        if self.uncalled > 0 {
            self.uncalled -= 1;
            return Outcome::DialFailed { asked, failure: Failure::Unreachable };
        }
        let backend = endpoint.id.slot;
        let links = &self.links;
        self.idle.retain(|&link| links[link].peer.is_quiet());
        let idle = self.idle.iter().rposition(|&link| links[link].backend == backend && !fresh);
        let reused = idle.is_some();
        let link = idle.map_or(self.links.len(), |at| self.idle.remove(at));
        if !reused {
            let sends = match self.replies.len() {
                0 => Vec::new(),
                count => self.replies[self.links.len() % count].clone(),
            };
            let peer = Peer::new(sends, self.window, self.scene & CONNECTS == 0);
            self.links.push(Link { peer, backend, users: Vec::new(), pooled: Vec::new() });
        }
        self.links[link].users.push(self.finished.len());
        self.link = Some(link);
        Outcome::Dialed { asked, reused, bulk: reused }
    }

    fn release(&mut self, fate: Release) -> Outcome {
        let link = self.link.take().expect("a backend to let go");
        if fate == Release::Reuse {
            assert!(self.links[link].peer.is_quiet(), "only a quiet connection is used again");
            assert!(self.request_pipe.is_empty());
            let read = self.links[link].peer.taken;
            self.links[link].pooled.push(read);
            self.idle.push(link);
        }
        Outcome::Done
    }

    /// Nothing can be done for now. At rest the client needs no exchange: the next event begins another.
    fn wait(&mut self) {
        self.exchange.settle(&mut self.buffers);
        if self.exchange.is_at_rest() {
            assert!(self.link.is_none() && self.request_pipe.is_empty() && self.response_pipe.is_empty());
            let readiness = self.exchange.client_readiness();
            self.exchange.reset(&mut self.buffers);
            self.exchange.ready(Side::Client, readiness);
        }
    }

    fn finish(&mut self, persistence: Persistence) {
        assert!(self.link.is_none(), "an exchange ends without a backend connection");
        let account = self.exchange.record();
        if account.status == 101 {
            self.tunnels.push(self.finished.len());
        }
        self.finished.push((account.status, account.cause));
        (self.request_pipe, self.response_pipe) = (Pipe::default(), Pipe::default());
        if persistence == Persistence::Close {
            self.over = true;
            return;
        }
        assert!(!self.exchange.ends_in_reset(), "a connection that goes on is not reset");
        let (exchange, mut given) = self.given();
        exchange.renew(&mut given);
    }

    fn deadline(&self) -> Tick {
        self.exchange.deadline(self.settings)
    }

    /// Time passes until the deadline, if there is one.
    fn expire(&mut self) {
        let deadline = self.deadline();
        if deadline != Tick::NEVER {
            self.now = self.now.max(deadline);
            self.idle_steps = 0;
            if self.exchange.reads_head() {
                self.late = Some(self.client.taken);
            }
            let acknowledged = self.acknowledged();
            let (exchange, mut given) = self.given();
            exchange.expire(Some(acknowledged), &mut given);
        }
    }

    /// Octets that the peer that is asked about has acknowledged: all that it was given.
    fn acknowledged(&self) -> u64 {
        let got = match self.exchange.awaits_acknowledgement() {
            Some(Side::Backend) => self.link.map_or(0, |link| self.links[link].peer.got.len()),
            Some(Side::Client) | None => self.client.got.len(),
        };
        got as u64
    }

    /// An event is due, which a step of Apex's has brought about.
    fn is_told_more(&self) -> bool {
        self.client.has_event() || self.link.is_some_and(|link| self.links[link].peer.has_event())
    }

    /// Everything arrives, everything is taken, and both peers close: the exchange ends without a deadline.
    pub(super) fn play_out(&mut self) {
        for _ in 0..TURNS_MAX {
            for peer in [Some(&mut self.client), self.link.map(|link| &mut self.links[link].peer)]
                .into_iter()
                .flatten()
            {
                peer.connected();
                peer.send(usize::MAX);
                peer.end();
                peer.open(usize::MAX);
            }
            let is_due =
                self.turn() || self.is_told_more() || self.backend().is_some_and(|peer| !peer.has_closed());
            if self.over {
                return;
            }
            assert!(is_due, "it waits for ever: {:?}", self.exchange);
        }
        panic!("it does not end: {:?}", self.exchange);
    }

    /// Nothing arrives any more: the exchange ends by its deadlines.
    pub(super) fn wait_out(&mut self) {
        for _ in 0..DEADLINES_MAX {
            while self.turn() || self.is_told_more() {}
            if self.over {
                return;
            }
            if self.deadline() == Tick::NEVER {
                if self.exchange.is_at_rest() {
                    return;
                }
                // A tunnel has no deadline: it ends with its client.
                self.client.reset();
                continue;
            }
            self.expire();
        }
        panic!("deadlines pass and it does not end: {:?}", self.exchange);
    }

    /// What was sent and taken.
    pub(super) fn into_record(self) -> Record {
        let at_rest = self.exchange.is_at_rest();
        Record {
            table: &setup().table,
            limits: self.settings.head,
            client: self.client,
            links: self.links,
            tunnels: self.tunnels,
            late: self.late,
            finished: self.finished,
            closed: self.over,
            at_rest,
        }
    }
}
