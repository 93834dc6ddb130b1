//! The event loop of one worker: events, timers, turns. It decides nothing about a message.

use super::active::Active;
use super::alarm::Alarm;
use super::client::Client;
use super::clock::Clock;
use super::failures::EndpointChanges;
use super::idle::Idle;
use super::listen_group::{Bound, ListenChange, Mailbox};
use super::pipes::Pipes;
use super::resources::{OUT_OF_MEMORY, Report, Resources, SPARES_BASE, SPARES_MAX};
use super::shared::{Phase, Shared, Snapshot};
use super::socket::Listener;
use super::token::Kind;
use super::told::Told;
use super::trim::TcacheFloor;
use super::wheel::Wheel;
use crate::base::{Key, SlotMap, mapped};
use crate::base::{ObjectPool, Random, Tick};
use crate::exchange::{Buffers, Readiness, Side};
use crate::log::queue::Lines;
use crate::metrics::Counters;
use crate::net::system::{EVENTS_MAX, Event, Poll};
use crate::net::{self, Epoch, Kernel, System, Waker};
use arc_swap::{ArcSwap, Cache};
use std::collections::VecDeque;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

/// Pause before log lines that did not fit the writer's queue are offered again: the pause of a busy writer.
const LOG_PAUSE: Duration = Duration::from_millis(20);

/// Sockets that a system registers for itself: the alarm and the waker.
const SYSTEM_SOCKETS: usize = 2;

/// Everything that a worker is started with.
#[derive(Debug)]
pub struct Setup<L = net::Listener> {
    /// Worker number, from 0.
    pub number: usize,
    /// This worker's listeners, bound.
    pub listeners: Vec<Bound<L>>,
    /// State that all workers share.
    pub shared: Arc<Shared>,
    /// This worker's counters.
    pub counters: Arc<Counters>,
    /// This worker's end of the access log.
    pub lines: Lines,
    /// Reports rare events to the operator. Never blocks.
    pub report: Report,
}

/// A running worker.
#[derive(Debug)]
pub struct Handle {
    /// The worker's thread; its result is the number of exchanges that the worker cut.
    pub thread: JoinHandle<u64>,
    waker: Waker,
    mailbox: Mailbox,
}

impl Handle {
    /// Wakes the worker, so that it reads the shared state.
    pub fn wake(&self) {
        self.waker.wake();
    }

    /// Whether the mailbox has room for an order. Only the calling thread may add one.
    pub fn has_room(&self) -> bool {
        self.mailbox.has_room()
    }

    /// Changes the addresses that the worker listens on, when the next version is published.
    ///
    /// # Errors
    /// The mailbox is full: the order is returned.
    pub fn change_listeners(&self, listen_change: ListenChange) -> Result<(), ListenChange> {
        self.mailbox.put(listen_change)
    }
}

/// Starts a worker. Its thread calls `begun` when all listeners are registered, and `left` as its last
/// action, with the number of exchanges that it cut.
/// The worker accepts no client in the phase [`Phase::Starting`].
///
/// # Errors
/// The process is out of descriptors or threads.
pub fn spawn(
    setup: Setup,
    epoch: Epoch,
    begun: impl FnOnce() + Send + 'static,
    left: impl FnOnce(u64) + Send + 'static,
) -> io::Result<Handle> {
    let (kernel, waker) = Kernel::new(epoch)?;
    let mailbox = Mailbox::default();
    let taken = mailbox.clone();
    let thread = std::thread::Builder::new().name(format!("worker-{}", setup.number)).spawn(move || {
        // `AtEnd` calls `left` on a panic, too.
        let mut left = AtEnd { left: Some(left), cut: 0 };
        let mut worker = Worker::new(kernel, setup, taken);
        begun();
        let cut = loop {
            if let Turn::Left { cut } = worker.turn() {
                break cut;
            }
        };
        // Close all sockets before `left` is called.
        drop(worker);
        left.cut = cut;
        drop(left);
        cut
    })?;
    Ok(Handle { thread, waker, mailbox })
}

/// Calls `left` when it is dropped.
struct AtEnd<F: FnOnce(u64)> {
    left: Option<F>,
    cut: u64,
}

impl<F: FnOnce(u64)> Drop for AtEnd<F> {
    fn drop(&mut self) {
        if let Some(left) = self.left.take() {
            left(self.cut);
        }
    }
}

/// Result of a turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// The worker continues with another turn.
    GoOn,
    /// The worker is done and must be dropped.
    Left {
        /// Exchanges that were cut.
        cut: u64,
    },
}

/// A worker: all state of one thread, on one system.
pub struct Worker<S: System> {
    alarm: Alarm,
    pub(super) resources: Resources<S>,
    pub(super) shared: Arc<Shared>,
    cache: Cache<Arc<ArcSwap<Snapshot>>, Arc<Snapshot>>,
    pub(super) listeners: Vec<Listener<S::Listener>>,
    /// Listeners created since the start.
    pub(super) listeners_made: u32,
    pub(super) mailbox: Mailbox<S::Listener>,
    /// Next time to check listeners that are paused or closing.
    pub(super) accept_again: Tick,
    pub(super) clients: SlotMap<Client<S>>,
    pub(super) exchanges: SlotMap<Box<Active<S::Pipe>>>,
    events: Vec<Event>,
    /// Events of this poll that were handled.
    events_told: usize,
    /// The client being served. A panic closes this client.
    pub(super) serving: Option<Key>,
    told: Told,
    pub(super) due: Vec<Key>,
    /// Busy exchanges, each once; may hold keys of exchanges that have ended.
    pub(super) queue: VecDeque<Key>,
    /// Cost in this turn of exchanges that were served because of an event.
    pub(super) event_cost: usize,
    /// Cost of the exchange at the front of the queue since it got there.
    pub(super) stint_cost: usize,
    /// Next time to return unused memory; `NEVER` while there is no surplus.
    pub(super) trim_at: Tick,
    /// Trims that remain after a peak.
    pub(super) trim_looks: u8,
}

impl<S: System> Worker<S> {
    /// A worker with its listeners registered. It accepts no client in the phase [`Phase::Starting`].
    ///
    /// # Panics
    /// A listener cannot be registered.
    pub fn new(mut system: S, setup: Setup<S::Listener>, mailbox: Mailbox<S::Listener>) -> Self {
        let clock = Clock::new(&mut system);
        let random = Random::new(system.chance());
        let mut cache = Cache::new(Arc::clone(&setup.shared.snapshot));
        let mut resources = Resources {
            number: setup.number,
            system,
            clock,
            phase: Phase::Serving,
            local: Rc::new(Arc::clone(cache.load())),
            cursors: Vec::new(),
            links: SlotMap::new(Kind::Backend as u8),
            idle: Idle::default(),
            buffers: Buffers::default(),
            pipes: Pipes::default(),
            spares: ObjectPool::new(SPARES_BASE, SPARES_MAX),
            wheel: Wheel::new(),
            low_water_waits: VecDeque::with_capacity(mapped::<(Tick, Key)>()),
            tcache_floor: TcacheFloor::new(),
            random,
            counters: setup.counters,
            lines: setup.lines,
            report: setup.report,
            warned_at: None,
            changes: EndpointChanges::default(),
            retired_seen: 0,
        };
        resources.begin_cursors();
        let told = Told::new(resources.clock.now);
        let mut worker = Self {
            alarm: Alarm::new(),
            resources,
            cache,
            listeners: Vec::new(),
            listeners_made: 0,
            mailbox,
            accept_again: Tick::NEVER,
            clients: SlotMap::new(Kind::Client as u8),
            exchanges: SlotMap::new(Kind::Exchange as u8),
            events: Vec::with_capacity(EVENTS_MAX),
            events_told: 0,
            serving: None,
            told,
            due: Vec::with_capacity(mapped::<Key>()),
            queue: VecDeque::with_capacity(mapped::<Key>()),
            event_cost: 0,
            stint_cost: 0,
            trim_at: Tick::NEVER,
            trim_looks: 0,
            shared: setup.shared,
        };
        for bound in setup.listeners {
            if let Err(error) = worker.listen(bound) {
                panic!("a listener cannot be registered: {error}");
            }
        }
        // A thread may start late: the first version it reads may be newer than the one at the start.
        worker.take_listen_changes();
        worker
    }

    /// Polls, then does all work that is due. The worker leaves when the process leaves and no client or
    /// listener remains, or at once in the phase [`Phase::Ending`].
    pub fn turn(&mut self) -> Turn {
        if self.shared.phase() == Phase::Starting {
            // These events need not be kept: every listener starts as ready.
            self.resources.system.poll(&mut self.events, None);
            return Turn::GoOn;
        }
        let timeout = self.patience();
        let poll = self.resources.system.poll(&mut self.events, timeout);
        self.resources.clock.sample(&mut self.resources.system);
        self.look_at_shared();
        self.resources.idle.polled(poll != Poll::Complete);
        let sockets = self.clients.len() + self.resources.links.len() + self.listeners.len() + SYSTEM_SOCKETS;
        self.told.polled(poll, self.events.len(), sockets, self.resources.clock.now);
        self.tell_all_resting();
        self.serve_all_despite_panics();
        match (self.shared.phase(), self.resources.phase) {
            (Phase::Ending, _) => return self.leave(),
            (Phase::Leaving, Phase::Serving) => self.begin_to_leave(),
            _ => {}
        }
        let nobody_is_left = self.clients.is_empty() && self.listeners.is_empty();
        if self.resources.phase == Phase::Leaving && nobody_is_left {
            return self.leave();
        }
        self.resources.lines.flush();
        Turn::GoOn
    }

    /// Handles events of idle backend connections first, so that no exchange can take a connection that is
    /// not quiet.
    fn tell_all_resting(&mut self) {
        let events = std::mem::take(&mut self.events);
        for event in &events {
            self.tell_resting(event);
        }
        self.events = events;
        self.events_told = 0;
    }

    /// Does all work after a poll. After a panic it may be called again, and does the rest.
    pub(super) fn serve_all(&mut self) {
        while let Some(&event) = self.events.get(self.events_told) {
            self.events_told += 1;
            self.tell(&event);
            self.serving = None;
        }
        self.end_low_water_waits();
        self.serve_queue();
        self.ask_those_due();
        self.accept_more();
        self.trim_if_due();
    }

    /// Timeout of the next poll: zero while there is work; otherwise none, because the alarm is an event,
    /// too.
    fn patience(&mut self) -> Option<Duration> {
        let has_work = !self.queue.is_empty() || self.listeners.iter().any(|listener| listener.ready);
        let (at, now) = (self.wakes_at(), self.resources.clock.now);
        if has_work || at <= now {
            return Some(Duration::ZERO);
        }
        match self.alarm.set(&mut self.resources.system, at, now) {
            Ok(()) => None,
            Err(error) => panic!("timerfd_settime failed: {error}"),
        }
    }

    /// The time of the next work that is due without an event.
    fn wakes_at(&self) -> Tick {
        let Resources { wheel, low_water_waits, lines, clock, .. } = &self.resources;
        let gathered = low_water_waits.front().map_or(Tick::NEVER, |&(at, _)| at);
        let log = if lines.holds_any() { clock.now.after(LOG_PAUSE) } else { Tick::NEVER };
        wheel.next().min(self.accept_again).min(self.trim_at).min(gathered).min(log)
    }

    fn look_at_shared(&mut self) {
        if !Arc::ptr_eq(self.cache.load(), &self.resources.local) {
            self.resources.take_version(Rc::new(Arc::clone(self.cache.load())));
            self.take_listen_changes();
        }
        let retired = self.resources.local.table.endpoints_retired();
        if std::mem::replace(&mut self.resources.retired_seen, retired) != retired {
            self.resources.close_retired();
        }
    }

    /// Starts the orderly shutdown: closes idle clients after a grace period for requests in flight, and
    /// accepts the clients in the accept queue.
    fn begin_to_leave(&mut self) {
        self.resources.phase = Phase::Leaving;
        // A version that was published during this turn may add a listener, with clients in its queue.
        self.look_at_shared();
        let last_call =
            self.resources.clock.now.after(self.resources.patience_at_rest(&self.resources.local));
        for key in self.clients.keys() {
            if let Some(client) = self.clients.get_mut(key)
                && client.exchange.is_none()
            {
                // An immediate close would reset a connection whose next request is in flight.
                let deadline = client.deadline.min(last_call);
                self.resources.schedule(client, key, deadline);
            }
        }
        self.stop_accepting();
    }

    /// Closes an idle backend connection that is not quiet.
    fn tell_resting(&mut self, event: &Event) {
        let key = event.key;
        if Kind::of(key) != Kind::Backend {
            return;
        }
        let Some(link) = self.resources.links.get(key) else { return };
        if link.user.is_none() && (event.readable || event.read_closed || event.gone) {
            self.resources.idle.forget(link.endpoint.id, key);
            self.resources.close_link(key);
        }
    }

    fn tell(&mut self, event: &Event) {
        let &Event { key, readable, writable, read_closed, gone } = event;
        let readiness = Readiness { readable, writable, read_closed, gone };
        match Kind::of(key) {
            Kind::Control | Kind::Exchange => {}
            Kind::Listener => self.listener_ready(key.index()),
            Kind::Client => {
                self.serving = Some(key);
                if let Some(exchange) = self.client_ready(key, readiness) {
                    self.serve(exchange);
                }
            }
            Kind::Backend => {
                let Some(user) = self.resources.links.get(key).and_then(|link| link.user) else {
                    // The connection became idle in this turn. This edge is the only report of its end.
                    return self.tell_resting(event);
                };
                if let Some(active) = self.exchanges.get_mut(user) {
                    self.serving = Some(active.client);
                    active.exchange.ready(Side::Backend, readiness);
                    self.serve(user);
                }
            }
        }
    }

    /// Handles an event of a client: passes it to the exchange, or starts an exchange if a request may have
    /// arrived. Returns the exchange to serve.
    fn client_ready(&mut self, key: Key, readiness: Readiness) -> Option<Key> {
        let Self { clients, exchanges, resources, .. } = self;
        let client = clients.get_mut(key)?;
        if let Some(exchange) = client.exchange {
            exchanges.get_mut(exchange)?.exchange.ready(Side::Client, readiness);
            return Some(exchange);
        }
        client.readiness.readable |= readiness.readable;
        client.readiness.writable |= readiness.writable;
        client.readiness.read_closed |= readiness.read_closed;
        client.readiness.gone |= readiness.gone;
        if !(readiness.readable || readiness.read_closed || readiness.gone) {
            return None;
        }
        if !resources.has_memory() {
            resources.refused(format_args!("{OUT_OF_MEMORY}"));
            self.close_client(key);
            return None;
        }
        let exchange = exchanges.insert(resources.begin(client, key));
        client.exchange = Some(exchange);
        Some(exchange)
    }

    fn ask_those_due(&mut self) {
        self.resources.wheel.expire(self.told.until, &mut self.due);
        // One at a time: after a panic, the next call does the rest.
        while let Some(key) = self.due.pop() {
            match Kind::of(key) {
                Kind::Client => self.client_due(key),
                Kind::Backend => self.resources.link_due(key, self.told.until),
                Kind::Control | Kind::Listener | Kind::Exchange => {}
            }
        }
    }

    fn client_due(&mut self, key: Key) {
        let Some(client) = self.clients.get_mut(key) else { return };
        client.timer.was_asked();
        let active = client.exchange.and_then(|exchange| self.exchanges.get(exchange));
        if active.is_some_and(|active| active.queued) {
            // Data may have moved. `drive` sets the deadline and the timer when it serves the exchange.
            return;
        }
        if client.deadline > self.told.until {
            let deadline = client.deadline;
            self.resources.schedule(client, key, deadline);
        } else if let Some(exchange) = client.exchange {
            self.expire(exchange);
        } else {
            self.close_client(key);
        }
    }

    /// Leaves: cuts all open exchanges.
    fn leave(&mut self) -> Turn {
        let mut cut = 0;
        for key in self.clients.keys() {
            cut += u64::from(self.cut_client(key));
        }
        self.resources.lines.flush();
        Turn::Left { cut }
    }
}
