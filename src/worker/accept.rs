//! Accepts clients, and pauses briefly where a limit is reached.

use super::client::Client;
use super::listen_group::{Bound, ListenChange, ListenGroup, Ownership};
use super::reactor::Worker;
use super::resources::{LAST_CALL, OUT_OF_MEMORY, OperatorLine};
use super::socket::{Listener, ListenerState};
use super::token::Kind;
use crate::base::{Tick, has_room_for};
use crate::net::System;
use crate::net::system::Peer;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// Connections accepted from one listener in one turn. A flood of connections must not starve existing
/// clients.
const ACCEPTS_MAX: usize = 64;

/// Clients above `connections_max`, over all workers, that get a 503. Further clients stay in the accept
/// queue.
const SURPLUS_MAX: u32 = 64;

/// Pause of accepting at a limit. New clients stay in the accept queue.
const PAUSE: Duration = Duration::from_millis(50);

/// Grace period for handshakes in flight when a listener closes: 1.5 long round trips.
const HANDSHAKE_WAIT: Duration = Duration::from_millis(300);

/// A listener that closes first serves its accept queue, but for no longer than this.
const ENDING_MAX: Duration = Duration::from_secs(5);

/// Free memory required before the table of clients doubles, in sizes of the table: during the copy both
/// tables exist, and other tables grow as well.
const GROWTH_FACTOR: usize = 4;

impl<S: System> Worker<S> {
    /// Starts to accept from a socket.
    ///
    /// # Errors
    /// epoll has no room for the socket.
    pub(super) fn listen(&mut self, bound: Bound<S::Listener>) -> io::Result<()> {
        let Bound { mut socket, group } = bound;
        let number = self.listeners_made;
        self.resources.system.listen(&mut socket, Kind::Listener.key(number))?;
        self.listeners_made += 1;
        // Connections may have arrived before the registration.
        let state = ListenerState::Staying;
        self.listeners.push(Listener { number, socket, group, ready: true, paused: false, state });
        Ok(())
    }

    /// Applies the orders in the mailbox: opens and closes listeners.
    pub(super) fn take_listen_changes(&mut self) {
        while let Some(ListenChange { listen, close, taken: _taken }) = self.mailbox.take() {
            for bound in listen {
                let group = Arc::clone(&bound.group);
                if let Err(error) = self.listen(bound) {
                    (self.resources.report)(OperatorLine::Warning(format!(
                        "worker {}: cannot listen on {}: {error}",
                        self.resources.number, group.address
                    )));
                }
            }
            self.begin_to_close(|group| close.contains(&group.number));
        }
    }

    /// Starts to close listeners: each serves its accept queue and the handshakes in flight, then closes.
    fn begin_to_close(&mut self, is_one: impl Fn(&ListenGroup) -> bool) {
        let now = self.resources.clock.now;
        for listener in self.listeners.iter_mut().filter(|listener| is_one(&listener.group)) {
            if listener.state != ListenerState::Staying {
                continue;
            }
            let owner = listener.group.owner();
            // For a shared socket, or where the kernel refuses, there is no grace period: other owners serve
            // late clients, or the kernel resets them.
            let system = &mut self.resources.system;
            let alone = owner == Ownership::Exclusive && system.begin_no_more(&mut listener.socket).is_ok();
            let at = if alone { now.after(HANDSHAKE_WAIT) } else { now };
            if owner == Ownership::HandedOver {
                listener.leave_to_others(system, now);
            } else {
                listener.state = ListenerState::Closing { at };
            }
            self.accept_again = self.accept_again.min(at);
        }
    }

    /// Serves the accept queues, then closes all listeners.
    pub(super) fn stop_accepting(&mut self) {
        self.begin_to_close(|_| true);
    }

    pub(super) fn listener_ready(&mut self, number: usize) {
        let is_it = |listener: &&mut Listener<S::Listener>| listener.number as usize == number;
        if let Some(listener) = self.listeners.iter_mut().find(is_it) {
            listener.ready = true;
        }
    }

    /// Accepts queued connections, a bounded number from each listener.
    pub(super) fn accept_more(&mut self) {
        let now = self.resources.clock.now;
        if self.accept_again <= now {
            self.accept_again = Tick::NEVER;
            self.look_at_listeners(now);
        }
        let mut index = 0;
        while index < self.listeners.len() {
            if self.listeners[index].ready {
                self.accept_from(index, ACCEPTS_MAX);
            }
            let listener = &self.listeners[index];
            match listener.state {
                ListenerState::Ending { by } if listener.is_empty() || by <= now => {
                    self.listeners.swap_remove(index);
                }
                _ => index += 1,
            }
        }
    }

    /// Ends pauses that are over, and moves listeners that close to their next state.
    fn look_at_listeners(&mut self, now: Tick) {
        for listener in &mut self.listeners {
            listener.ready |= std::mem::take(&mut listener.paused);
            match listener.state {
                ListenerState::Closing { at } if at <= now => {
                    listener.end(&mut self.resources.system, now.after(ENDING_MAX));
                    listener.ready = true;
                }
                ListenerState::Closing { at } => self.accept_again = self.accept_again.min(at),
                ListenerState::Staying | ListenerState::Ending { .. } => {}
            }
        }
    }

    fn accept_from(&mut self, index: usize, count_max: usize) {
        for _ in 0..count_max {
            if self.shared.connections.load(Ordering::Relaxed)
                >= self.resources.local.connections_max.saturating_add(SURPLUS_MAX)
            {
                return self.pause(index, "the limit of client connections is reached");
            }
            if self.clients.is_full() && !has_room_for(GROWTH_FACTOR * self.clients.bytes()) {
                return self.pause(index, OUT_OF_MEMORY);
            }
            match self.resources.system.accept(&self.listeners[index].socket) {
                Ok((stream, peer)) => self.welcome(stream, peer),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.listeners[index].ready = false;
                    return;
                }
                // The connection failed in the accept queue. accept(2) says to continue with the next one.
                Err(error)
                    if matches!(
                        error.kind(),
                        io::ErrorKind::ConnectionAborted | io::ErrorKind::Interrupted
                    ) => {}
                Err(error) => return self.pause(index, &error.to_string()),
            }
        }
    }

    /// Stops accepting from one listener for [`PAUSE`].
    fn pause(&mut self, index: usize, reason: &str) {
        let listener = &mut self.listeners[index];
        listener.ready = false;
        listener.paused = true;
        self.accept_again = self.accept_again.min(self.resources.clock.now.after(PAUSE));
        self.resources.warn(format_args!("not accepting for a moment: {reason}"));
    }

    fn welcome(&mut self, mut stream: S::Stream, peer: Peer) {
        let trusted = self.resources.local.trusted.iter().any(|network| network.contains(peer));
        let key = self.clients.next_key();
        if let Err(error) = self.resources.system.register(&mut stream, key) {
            // Without a place in epoll it would get no events.
            return self.resources.refused(format_args!("epoll has no place: {error}"));
        }
        let mut client = Client::new(stream, peer, trusted);
        client.over_limit =
            self.shared.connections.load(Ordering::Relaxed) >= self.resources.local.connections_max;
        let patience = self.resources.patience_at_rest(&self.resources.local);
        let patience = if client.over_limit { patience.min(LAST_CALL) } else { patience };
        let deadline = self.resources.clock.now.after(patience);
        self.resources.schedule(&mut client, key, deadline);
        self.clients.insert(client);
        self.shared.connections.fetch_add(1, Ordering::Relaxed);
        self.resources.counters.connections_accepted.add(1);
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::exchange::{AccessLog, RequestIds, Settings};
    use crate::http::limits::HeadLimits;
    use crate::log::writer::Writer;
    use crate::net::{self, Epoch, Kernel};
    use crate::route::policy::Policy;
    use crate::route::table::Table;
    use crate::worker::listen_group::Mailbox;
    use crate::worker::{Setup, Shared, Snapshot};
    use std::net::{Ipv4Addr, TcpStream};
    use std::os::fd::AsFd;
    use std::sync::mpsc;

    fn snapshot() -> Snapshot {
        let second = Duration::from_secs(1);
        Snapshot {
            table: Table::compile(&[], None),
            settings: Settings {
                head: HeadLimits::DEFAULT,
                header_timeout: second,
                policy: Policy { timeout: second, connect_timeout: second, ..Policy::default() },
                via: None,
                request_ids: RequestIds::Passed,
                access_log: AccessLog::Off,
            },
            idle_timeout: second,
            backend_idle_timeout: second,
            trusted: Vec::new(),
            connections_max: 8,
        }
    }

    pub(in crate::worker) fn bound(number: u32, owner: Ownership) -> Bound {
        let socket = net::listener::bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
        let address = socket.local_addr().unwrap();
        Bound { socket: socket.into(), group: Arc::new(ListenGroup::new(number, address.into(), owner)) }
    }

    fn address_of(bound: &Bound) -> std::net::SocketAddr {
        bound.group.address.ip().unwrap()
    }

    fn clone(listener: &net::Listener) -> std::net::TcpListener {
        listener.as_fd().try_clone_to_owned().unwrap().into()
    }

    /// A worker with one listener, not running.
    pub(in crate::worker) fn worker(first: Bound, mailbox: Mailbox) -> Worker<Kernel> {
        worker_on(Kernel::new(Epoch::start()).unwrap().0, first, mailbox)
    }

    /// The same on a given system.
    pub(in crate::worker) fn worker_on<S: System<Listener = net::Listener>>(
        system: S,
        first: Bound,
        mailbox: Mailbox,
    ) -> Worker<S> {
        let log = Writer::spawn(io::sink(), io::sink()).unwrap();
        let setup = Setup {
            number: 0,
            listeners: vec![first],
            shared: Arc::new(Shared::new(snapshot())),
            counters: Arc::default(),
            lines: log.lines(),
            report: |words| panic!("{words}"),
        };
        Worker::new(system, setup, mailbox)
    }

    #[test]
    fn a_worker_that_begins_late_does_what_was_ordered_before() {
        let mailbox = Mailbox::default();
        mailbox
            .put(ListenChange { listen: vec![bound(1, Ownership::Exclusive)], close: vec![0], taken: None })
            .unwrap();
        let worker = worker(bound(0, Ownership::Exclusive), mailbox);
        let courses: Vec<_> = worker.listeners.iter().map(|one| (one.group.number, one.state)).collect();
        assert!(
            matches!(courses[..], [(0, ListenerState::Closing { .. }), (1, ListenerState::Staying)]),
            "{courses:?}"
        );
    }

    #[test]
    fn a_listener_closes_when_handshakes_are_over_and_nobody_waits() {
        let (first, mailbox) = (bound(0, Ownership::Exclusive), Mailbox::default());
        let group = Arc::downgrade(&first.group);
        let early = TcpStream::connect(address_of(&first)).unwrap();
        let mut worker = worker(first, mailbox.clone());
        let (taken, all_taken) = mpsc::channel::<()>();
        let taken: Option<Arc<dyn std::any::Any + Send + Sync>> = Some(Arc::new(taken));
        mailbox.put(ListenChange { close: vec![0], taken, ..ListenChange::default() }).unwrap();
        assert_eq!(all_taken.try_recv(), Err(mpsc::TryRecvError::Empty));
        worker.take_listen_changes();
        assert_eq!(all_taken.try_recv(), Err(mpsc::TryRecvError::Disconnected));
        worker.accept_more();
        assert_eq!((worker.clients.len(), worker.listeners.len()), (1, 1), "{early:?}");
        // A second order does not extend the deadline.
        let before = worker.listeners[0].state;
        worker.resources.clock.now = worker.resources.clock.now.after(HANDSHAKE_WAIT / 2);
        worker.stop_accepting();
        worker.accept_more();
        assert_eq!(worker.listeners[0].state, before);
        worker.resources.clock.now = worker.resources.clock.now.after(HANDSHAKE_WAIT);
        worker.accept_more();
        assert!(worker.listeners.is_empty() && group.upgrade().is_none());
        assert_eq!(worker.clients.len(), 1);
    }

    #[test]
    fn a_listener_that_others_have_is_emptied_and_closed_at_once() {
        let first = bound(0, Ownership::Shared);
        let (address, other) = (address_of(&first), clone(&first.socket));
        let _early = TcpStream::connect(address).unwrap();
        let mut worker = worker(first, Mailbox::default());
        worker.stop_accepting();
        worker.accept_more();
        assert_eq!((worker.clients.len(), worker.listeners.len()), (1, 0));
        // The other owner still accepts clients.
        let _late = TcpStream::connect(address).unwrap();
        assert!(other.accept().is_ok());
    }

    #[test]
    fn who_waits_at_a_listener_that_was_handed_over_is_left_to_the_other_process() {
        let first = bound(0, Ownership::Exclusive);
        let (group, other) = (Arc::clone(&first.group), clone(&first.socket));
        let _waiting = TcpStream::connect(group.address.ip().unwrap()).unwrap();
        let mut worker = worker(first, Mailbox::default());
        group.hand_over();
        worker.stop_accepting();
        worker.accept_more();
        assert_eq!((worker.clients.len(), worker.listeners.len()), (0, 0));
        // The listening socket remains open: the other process gets the queued client and a new one.
        let _late = TcpStream::connect(group.address.ip().unwrap()).unwrap();
        assert!(other.accept().is_ok() && other.accept().is_ok());
    }

    #[test]
    fn who_never_cease_to_come_keep_no_listener_open() {
        let mut worker = worker(bound(0, Ownership::Exclusive), Mailbox::default());
        worker.stop_accepting();
        let count = &worker.shared.connections;
        // At the connection limit no client is accepted, so the worker never finds the queue empty.
        count.store(u32::MAX, Ordering::Relaxed);
        for wait in [HANDSHAKE_WAIT, ENDING_MAX.saturating_sub(PAUSE)] {
            worker.resources.clock.now = worker.resources.clock.now.after(wait);
            worker.resources.warned_at = Some(worker.resources.clock.now);
            worker.accept_more();
            assert_eq!(worker.listeners.len(), 1);
        }
        worker.resources.clock.now = worker.resources.clock.now.after(PAUSE);
        worker.accept_more();
        assert!(worker.listeners.is_empty());
    }
}
