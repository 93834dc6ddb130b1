//! Backend connections: found at rest or newly made, let go, dropped when they have rested too long.

use super::client::{Active, LowWater};
use super::idle::Rested;
use super::resources::Resources;
use super::socket::Link;
use super::wheel::Timer;
use crate::base::{Address, Key, Tick};
use crate::exchange::{ANY_BYTES, Outcome, Release, Side};
use crate::net::System;
use crate::route::backend::{Backend, BackendId};
use crate::route::balance::{Cursor, MEMBERS_TOLD_APART};
use crate::route::spec::Balancing;
use std::io;
use std::rc::Rc;
use std::time::Duration;

/// How long a backend that could not be reached is passed over while others can be.
const FAILED_PAUSE: Duration = Duration::from_secs(1);

/// The member that an exchange has asked last, and its backend.
fn asked_last<P>(active: &Active<P>) -> Option<(usize, &Backend)> {
    let record = active.exchange.record();
    let member = record.member?;
    let (backend, _) = active.local.table.route(record.route?).pool.members.get(member)?;
    Some((member, backend))
}

/// Could that member not be reached, by the exchange's account?
fn is_told(tried: u64, member: usize) -> bool {
    tried >> member.min(MEMBERS_TOLD_APART - 1) & 1 == 1
}

impl<S: System> Resources<S> {
    /// The member of its route's pool that an exchange asks next: the same one as long as its name has another address, else
    /// one that the pool chooses.
    fn next_member(&mut self, active: &mut Active<S::Pipe>, fresh: bool) -> Option<usize> {
        let record = active.exchange.record();
        let (route, tried) = (record.route?, active.exchange.failed_members());
        let pool = &active.local.table.route(route).pool;
        if fresh
            && let Some(member) = record.member
            && is_told(tried, member)
            && active.has_address_left(&pool.members[member].0)
        {
            active.addresses_failed += 1;
            return Some(member);
        }
        let random = self.random.number();
        let mut passing = Cursor::starting_at(self.number);
        let cursor = if Rc::ptr_eq(&active.local, &self.local) {
            let number = pool.cursor.map(|number| number.get() as usize - 1);
            number.and_then(|number| self.cursors.get_mut(number)).unwrap_or(&mut passing)
        } else {
            &mut passing
        };
        let member = pool.choose(cursor, random, tried, self.clock.now.0)?;
        // A name with several addresses is as many machines: chance spreads over them.
        active.addresses_failed = 0;
        active.address_first = u16::try_from(random >> 48).unwrap_or(0);
        Some(member)
    }

    /// Finds a connection for an exchange that was routed.
    pub(super) fn dial(&mut self, client: Key, active: &mut Active<S::Pipe>, fresh: bool) -> Outcome {
        let Some(member) = self.next_member(active, fresh) else { return Outcome::NoBackend };
        let Some(route) = active.exchange.record().route else { return Outcome::NoBackend };
        let now = self.clock.now;
        let pool = &active.local.table.route(route).pool;
        let backend = &pool.members[member].0;
        let turn = usize::from(active.address_first) + usize::from(active.addresses_failed);
        let rested = if fresh { None } else { self.take_idle(backend.id, client) };
        let reused = rested.is_some();
        let key = match rested.map_or_else(|| self.connect(backend, client, turn), Ok) {
            Ok(key) => key,
            // No backend is to blame.
            Err(error) if self.system.is_out_of_resources(&error) => {
                self.warn(format_args!("no backend can be connected to: {error}"));
                return Outcome::NoBackend;
            }
            Err(_) => {
                backend.failed(now.after(FAILED_PAUSE).0);
                return Outcome::DialFailed { member };
            }
        };
        active.link = Some(key);
        active.is_counted = pool.balancing == Balancing::LeastConnections;
        if active.is_counted {
            backend.begin();
        }
        if reused {
            self.counters.backend_reused.add(1);
        } else {
            self.counters.backend_opened.add(1);
        }
        let bulk = self.links.get(key).is_some_and(|link| link.bulk);
        Outcome::Dialed { member, reused, bulk }
    }

    fn take_idle(&mut self, backend: BackendId, client: Key) -> Option<Key> {
        loop {
            let Rested { key, is_quiet } = self.idle.take(backend)?;
            let Some(link) = self.links.get_mut(key).filter(|link| link.user.is_none()) else { continue };
            if is_quiet || self.system.is_quiet(&link.socket) {
                link.user = Some(client);
                return Some(key);
            }
            self.close_link(key);
        }
    }

    fn connect(&mut self, backend: &Backend, client: Key, turn: usize) -> io::Result<Key> {
        let addresses = backend.addresses.load();
        if addresses.is_empty() {
            return Err(io::ErrorKind::AddrNotAvailable.into());
        }
        // Each further try of an exchange takes the next one, and one that cannot even be called costs no try.
        let mut socket = Err(io::ErrorKind::AddrNotAvailable.into());
        for step in 0..addresses.len() {
            socket = self.system.connect(&Address::Ip(addresses[(turn + step) % addresses.len()]));
            if !socket.as_ref().is_err_and(|error| !self.system.is_out_of_resources(error)) {
                break;
            }
        }
        let mut socket = socket?;
        let key = self.links.next_key();
        self.system.register(&mut socket, key)?;
        let link = Link {
            socket,
            backend: backend.id,
            user: Some(client),
            bulk: false,
            deadline: Tick::NEVER,
            timer: Timer::UNSET,
        };
        Ok(self.links.insert(link))
    }

    /// Lets go of an exchange's connection.
    pub(super) fn release(&mut self, active: &mut Active<S::Pipe>, release: Release) {
        let Some(key) = active.link.take() else { return };
        let is_counted = std::mem::take(&mut active.is_counted);
        // Most exchanges need no more of their route, which may be out of the processor's cache by now.
        if (is_counted || active.exchange.failed_members() != 0)
            && let Some((member, backend)) = asked_last(active)
        {
            if is_counted {
                backend.end();
            }
            if is_told(active.exchange.failed_members(), member) && !active.has_address_left(backend) {
                backend.failed(self.clock.now.after(FAILED_PAUSE).0);
            }
        }
        let is_gone = !Rc::ptr_eq(&active.local, &self.local)
            && self.links.get(key).is_some_and(|link| !self.local.table.has_backend(link.backend));
        let low_water = std::mem::replace(active.low_water(Side::Backend), LowWater::ANY);
        if release == Release::Close || is_gone {
            self.close_link(key);
            return;
        }
        let Some(link) = self.links.get_mut(key) else { return };
        if low_water.octets > ANY_BYTES && self.system.set_low_water(&link.socket, ANY_BYTES).is_err() {
            self.close_link(key);
            return;
        }
        link.user = None;
        link.bulk = active.exchange.had_bulk();
        link.deadline = self.clock.now.after(self.local.backend_idle_timeout);
        self.wheel.schedule(&mut link.timer, link.deadline, key);
        if self.idle.park(link.backend, key).is_err() {
            self.close_link(key);
        }
    }

    /// Closes a backend connection, if it is still there.
    pub(super) fn close_link(&mut self, key: Key) {
        if let Some(mut link) = self.links.remove(key) {
            self.wheel.cancel(&mut link.timer);
        }
    }

    /// The wheel asks about a backend connection.
    pub(super) fn link_due(&mut self, key: Key) {
        let now = self.clock.now;
        let Some(link) = self.links.get_mut(key) else { return };
        link.timer.was_asked();
        if link.user.is_some() {
            // It is asked about again when it rests again.
            return;
        }
        if link.deadline > now {
            self.wheel.schedule(&mut link.timer, link.deadline, key);
        } else {
            self.idle.forget(link.backend, key);
            self.close_link(key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::accept::tests::{bound, worker};
    use super::super::listen_group::{Mailbox, Ownership};
    use super::super::token::Kind;
    use super::*;
    use crate::net::Stream;
    use std::io::Write;
    use std::net::{Ipv4Addr, Shutdown, TcpListener};

    /// In turns of which the poll could not tell of everything, a connection that is not quiet is told by itself.
    #[test]
    fn what_no_poll_has_told_of_is_asked() {
        let backend = BackendId { slot: 0, generation: 1 };
        let client = Key::new(Kind::Client as u8, 1, 1);
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let mut worker = worker(bound(0, Ownership::Exclusive), Mailbox::default());
        let resources = &mut worker.resources;
        resources.idle.polled(true);
        let mut park = || {
            let socket = Stream::connect(&listener.local_addr().unwrap().into()).unwrap();
            let peer = listener.accept().unwrap().0;
            let (deadline, timer) = (Tick::NEVER, Timer::UNSET);
            let link = Link { socket, backend, user: None, bulk: false, deadline, timer };
            let key = resources.links.insert(link);
            resources.idle.park(backend, key).unwrap();
            (key, peer)
        };
        let ((quiet, _open), (_, ended), (_, mut talking)) = (park(), park(), park());
        ended.shutdown(Shutdown::Write).unwrap();
        talking.write_all(b"nobody asked").unwrap();
        assert_eq!(resources.take_idle(backend, client), Some(quiet));
        assert_eq!((resources.take_idle(backend, client), resources.links.len()), (None, 1));
    }
}
