//! Welcoming clients, and ceasing to for a moment where a limit is reached.

use super::arena::{Key, Kind};
use super::client::Client;
use super::reactor::Worker;
use super::shared::Phase;
use super::socket::Listener;
use crate::exchange::Tick;
use mio::Interest;
use mio::net::TcpListener;
use std::io;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// Connections accepted from one listener in one turn, so that a flood of them does not starve those that are there.
const ACCEPTS_MAX: usize = 64;

/// Clients beyond the allowed number that are told so (503), over all workers; more wait in the kernel's queue.
const SURPLUS_MAX: u32 = 64;

/// A client that connects while the process leaves, or beyond the allowed number, has so long to send its request.
const LAST_CALL: Duration = Duration::from_secs(1);

/// How long accepting rests at a limit. What comes meanwhile waits in the kernel's queue.
const PAUSE: Duration = Duration::from_millis(50);

impl Worker {
    pub(super) fn listen(&mut self, listeners: Vec<std::net::TcpListener>) {
        for (listener, index) in listeners.into_iter().zip(0..) {
            let mut socket = TcpListener::from_std(listener);
            let token = Key::new(Kind::Listener, 0, index).token();
            if let Err(error) = self.desk.poll.registry().register(&mut socket, token, Interest::READABLE) {
                panic!("a listener cannot be registered: {error}");
            }
            self.listeners.push(Listener { socket, ready: true, paused: false });
        }
    }

    pub(super) fn listener_ready(&mut self, index: usize) {
        if let Some(listener) = self.listeners.get_mut(index) {
            listener.ready = true;
        }
    }

    /// Accepts what waits, a bounded number from each listener.
    pub(super) fn accept_more(&mut self) {
        if self.accept_again <= self.desk.clock.now {
            self.accept_again = Tick::NEVER;
            for listener in &mut self.listeners {
                listener.ready |= std::mem::take(&mut listener.paused);
            }
        }
        for index in 0..self.listeners.len() {
            if self.listeners[index].ready {
                self.accept_from(index, ACCEPTS_MAX);
            }
        }
    }

    fn accept_from(&mut self, index: usize, count_max: usize) {
        for _ in 0..count_max {
            if self.shared.connections.load(Ordering::Relaxed)
                >= self.desk.local.connections_max.saturating_add(SURPLUS_MAX)
            {
                return self.pause(index, "the limit of client connections is reached");
            }
            match self.listeners[index].socket.accept() {
                Ok((socket, peer)) => self.welcome(socket, peer.ip()),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.listeners[index].ready = false;
                    return;
                }
                // The client left while it waited (accept(2) asks to treat these like EAGAIN and go on).
                Err(error) if is_the_clients(&error) => {}
                Err(error) => return self.pause(index, &error.to_string()),
            }
        }
    }

    /// Nobody is accepted for a moment.
    fn pause(&mut self, index: usize, reason: &str) {
        let listener = &mut self.listeners[index];
        listener.ready = false;
        listener.paused = true;
        if self.accept_again == Tick::NEVER {
            self.accept_again = self.desk.clock.now.after(PAUSE);
        }
        self.desk.complain(format_args!("not accepting for a moment: {reason}"));
    }

    fn welcome(&mut self, mut socket: mio::net::TcpStream, address: std::net::IpAddr) {
        let trusted = self.desk.local.trusted.iter().any(|network| network.contains(address));
        let key = self.clients.next_key();
        let both = Interest::READABLE | Interest::WRITABLE;
        if self.desk.poll.registry().register(&mut socket, key.token(), both).is_err() {
            // Without a place in epoll it could never be served.
            return;
        }
        let mut client = Client::new(socket, address, trusted);
        client.surplus = self.shared.connections.load(Ordering::Relaxed) >= self.desk.local.connections_max;
        let is_late = client.surplus || self.desk.phase != Phase::Serving;
        let patience =
            if is_late { LAST_CALL.min(self.desk.local.idle_timeout) } else { self.desk.local.idle_timeout };
        let deadline = self.desk.clock.now.after(patience);
        self.desk.schedule(&mut client, key, deadline);
        self.clients.insert(client);
        self.shared.connections.fetch_add(1, Ordering::Relaxed);
        self.desk.counters.connections_accepted.add(1);
    }

    /// Serves who waits already, then listens no more.
    pub(super) fn stop_accepting(&mut self) {
        for index in 0..self.listeners.len() {
            // Who came since the last poll waits, too: with the listener gone the kernel resets them.
            self.listeners[index].ready = true;
            while self.listeners[index].ready {
                self.accept_from(index, ACCEPTS_MAX);
            }
        }
        self.listeners.clear();
    }
}

fn is_the_clients(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted | io::ErrorKind::Interrupted | io::ErrorKind::ConnectionReset
    )
}
