//! Backend connections: taken from the idle pool or opened, released, closed after the idle timeout.

use super::active::{Active, LowWater};
use super::idle::Rested;
use super::resources::Resources;
use super::socket::Link;
use super::wheel::Timer;
use crate::base::{Key, Tick};
use crate::exchange::{ANY_BYTES, Asked, Outcome, Release, Side};
use crate::net::System;
use crate::route::balance::{Choice, Cursor};
use crate::route::endpoint::{Chosen, EndpointId};
use crate::route::health::{Admission, Failure};
use crate::route::spec::Balancing;
use std::io;
use std::rc::Rc;

/// The reason why a connection was not established (connect(2)). `None`: the error may also come from an
/// established connection.
pub(super) fn connect_failure(error: &io::Error) -> Option<Failure> {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => Some(Failure::Refused),
        io::ErrorKind::TimedOut => Some(Failure::ConnectTimeout),
        io::ErrorKind::HostUnreachable
        | io::ErrorKind::NetworkUnreachable
        | io::ErrorKind::NetworkDown
        | io::ErrorKind::PermissionDenied => Some(Failure::Unreachable),
        _ => None,
    }
}

impl<S: System> Resources<S> {
    /// Finds a backend connection for an exchange with a route.
    pub(super) fn dial(&mut self, user: Key, active: &mut Active<S::Pipe>, fresh: bool) -> Outcome {
        let Some(route) = active.exchange.record().route else { return Outcome::NoBackend };
        let pool = &active.local.table.route(route).pool;
        let mut passing = Cursor::default();
        let cursor = if Rc::ptr_eq(&active.local, &self.local) {
            let number = pool.cursor.map(|number| number.get() as usize - 1);
            number.and_then(|number| self.cursors.get_mut(number)).unwrap_or(&mut passing)
        } else {
            &mut passing
        };
        let (now, random) = (self.clock.now, self.random.number());
        let Some(choice) = pool.choose(cursor, random, active.exchange.tries(), now) else {
            return Outcome::NoBackend;
        };
        let Choice { member, endpoint, admission } = choice;
        let asked = Asked { member, endpoint: endpoint.id, admission };
        // A trial must show that a new connection succeeds.
        let goes_fresh = fresh || admission == Admission::Trial;
        let rested = if goes_fresh { None } else { self.take_idle(endpoint.id, user) };
        let reused = rested.is_some();
        let key = match rested.map_or_else(|| self.connect(&endpoint, user), Ok) {
            Ok(key) => key,
            Err(error) if self.system.is_out_of_resources(&error) => {
                if admission == Admission::Trial {
                    endpoint.health.give_back(now);
                }
                self.warn(format_args!("no backend can be connected to: {error}"));
                return Outcome::NoBackend;
            }
            Err(error) => {
                let failure = connect_failure(&error).unwrap_or(Failure::Unreachable);
                let backend = &pool.members[member].0.authority;
                self.endpoint_failed(backend, &endpoint, failure, admission);
                return Outcome::DialFailed { asked, failure };
            }
        };
        active.link = Some(key);
        active.admission = admission;
        if reused {
            self.counters.backend_reused.add(1);
        } else {
            self.counters.backend_opened.add(1);
        }
        let Some(link) = self.links.get_mut(key) else { return Outcome::NoBackend };
        link.is_trial = admission == Admission::Trial;
        if pool.balancing == Balancing::LeastConnections {
            link.is_counted = true;
            endpoint.begin();
        }
        let bulk = link.bulk;
        Outcome::Dialed { asked, reused, bulk }
    }

    fn take_idle(&mut self, endpoint: EndpointId, user: Key) -> Option<Key> {
        loop {
            let Rested { key, is_quiet } = self.idle.take(endpoint)?;
            let Some(link) = self.links.get_mut(key).filter(|link| link.user.is_none()) else { continue };
            if is_quiet || self.system.is_quiet(&link.stream) {
                link.user = Some(user);
                return Some(key);
            }
            self.close_link(key);
        }
    }

    fn connect(&mut self, endpoint: &Chosen<'_>, user: Key) -> io::Result<Key> {
        let mut stream = self.system.connect(&endpoint.address)?;
        let key = self.links.next_key();
        self.system.register(&mut stream, key)?;
        let link = Link {
            stream,
            endpoint: endpoint.hold(),
            user: Some(user),
            is_counted: false,
            is_trial: false,
            bulk: false,
            deadline: Tick::NEVER,
            timer: Timer::UNSET,
        };
        Ok(self.links.insert(link))
    }

    /// Releases the backend connection of an exchange: to the idle pool, or by closing it.
    pub(super) fn release(&mut self, active: &mut Active<S::Pipe>, release: Release) {
        let Some(key) = active.link.take() else { return };
        if active.exchange.failure().is_some() || active.admission != Admission::Regular {
            self.judge(active, key);
        }
        let low_water = std::mem::replace(active.low_water(Side::Backend), LowWater::ANY);
        let Some(link) = self.links.get_mut(key) else { return };
        link.stop_counting();
        if !link.endpoint.health.is_clean() && active.exchange.record().answered.is_some() {
            link.endpoint.health.succeeded(Admission::Regular);
        }
        let is_kept = release == Release::Reuse && !link.endpoint.is_retired();
        if !is_kept
            || (low_water.octets > ANY_BYTES && self.system.set_low_water(&link.stream, ANY_BYTES).is_err())
        {
            self.close_link(key);
            return;
        }
        link.user = None;
        link.bulk = active.exchange.had_bulk();
        link.deadline = self.clock.now.after(self.local.backend_idle_timeout);
        self.wheel.schedule(&mut link.timer, link.deadline, key);
        if self.idle.park(link.endpoint.id, key).is_err() {
            self.close_link(key);
        }
    }

    /// Closes idle connections to endpoints that were retired.
    pub(super) fn close_retired(&mut self) {
        let links = &self.links;
        for key in self.idle.drain_gone(|key| links.get(key).is_none_or(|link| link.endpoint.is_retired())) {
            self.close_link(key);
        }
    }

    /// Closes a backend connection, if it still exists.
    pub(super) fn close_link(&mut self, key: Key) {
        if let Some(mut link) = self.links.remove(key) {
            self.wheel.cancel(&mut link.timer);
            link.stop_counting();
            if link.is_trial {
                link.endpoint.health.give_back(self.clock.now);
            }
        }
    }

    /// The timer of a backend connection has fired.
    pub(super) fn link_due(&mut self, key: Key, told_until: Tick) {
        let Some(link) = self.links.get_mut(key) else { return };
        link.timer.was_asked();
        if link.user.is_some() {
            // Its timer is scheduled again when it becomes idle.
            return;
        }
        if link.deadline > told_until {
            self.wheel.schedule(&mut link.timer, link.deadline, key);
        } else {
            self.idle.forget(link.endpoint.id, key);
            self.close_link(key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::accept::tests::{bound, worker, worker_on};
    use super::super::faulty::Faulty;
    use super::super::listen_group::{Mailbox, Ownership};
    use super::super::shared::Phase;
    use super::super::token::Kind;
    use super::*;
    use crate::net::Stream;
    use crate::route::backend::Backend;
    use crate::route::balance::Pool;
    use crate::route::spec::BackendAddress;
    use std::io::Write;
    use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
    use std::sync::Arc;
    use std::time::Duration;

    fn pool(authority: &str) -> Pool {
        let address = BackendAddress::parse_url(&format!("http://{authority}")).unwrap();
        Pool::new(Balancing::RoundRobin, vec![(Arc::new(Backend::new(address, &Arc::default())), 1)])
    }

    fn chosen(pool: &Pool) -> Chosen<'_> {
        pool.choose(&mut Cursor::default(), 0, &[], Tick::default()).unwrap().endpoint
    }

    /// An idle connection and its peer.
    fn park<S: System<Stream = Stream>>(
        resources: &mut Resources<S>,
        listener: &TcpListener,
        pool: &Pool,
    ) -> (Key, TcpStream) {
        let stream = Stream::connect(&listener.local_addr().unwrap().into()).unwrap();
        let peer = listener.accept().unwrap().0;
        let link = Link {
            stream,
            endpoint: chosen(pool).hold(),
            user: None,
            is_counted: false,
            is_trial: false,
            bulk: false,
            deadline: Tick::NEVER,
            timer: Timer::UNSET,
        };
        let key = resources.links.insert(link);
        resources.idle.park(chosen(pool).id, key).unwrap();
        (key, peer)
    }

    #[test]
    fn a_poll_that_a_signal_ends_proves_no_connection_quiet() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let pool = pool(&listener.local_addr().unwrap().to_string());
        let mut worker = worker_on(Faulty::new(), bound(0, Ownership::Exclusive), Mailbox::default());
        worker.shared.set_phase(Phase::Serving);
        let (_, mut talking) = park(&mut worker.resources, &listener, &pool);
        talking.write_all(b"nobody asked").unwrap();
        worker.resources.system.interruptions.push_back(Duration::ZERO);
        worker.turn();
        let user = Key::new(Kind::Exchange as u8, 1, 1);
        assert_eq!(worker.resources.take_idle(chosen(&pool).id, user), None);
        assert_eq!(worker.resources.links.len(), 0);
    }

    /// After a poll that did not report everything, each connection is probed before use.
    #[test]
    fn what_no_poll_has_told_of_is_asked() {
        let user = Key::new(Kind::Exchange as u8, 1, 1);
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let pool = pool(&listener.local_addr().unwrap().to_string());
        let endpoint = chosen(&pool).hold();
        let mut worker = worker(bound(0, Ownership::Exclusive), Mailbox::default());
        let resources = &mut worker.resources;
        resources.idle.polled(true);
        let mut park = || park(resources, &listener, &pool);
        let ((quiet, _open), (_, ended), (_, mut talking)) = (park(), park(), park());
        ended.shutdown(Shutdown::Write).unwrap();
        talking.write_all(b"nobody asked").unwrap();
        assert_eq!(resources.take_idle(endpoint.id, user), Some(quiet));
        assert_eq!((resources.take_idle(endpoint.id, user), resources.links.len()), (None, 1));
    }
    /// A connection that closes, even by a panic of its exchange, is no longer counted by its endpoint and
    /// frees the trial.
    #[test]
    fn what_a_connection_claims_of_its_endpoint_ends_with_it() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let pool = pool(&listener.local_addr().unwrap().to_string());
        let endpoint = chosen(&pool).hold();
        let mut worker = worker(bound(0, Ownership::Exclusive), Mailbox::default());
        let resources = &mut worker.resources;
        let due = Tick(1_000_000);
        resources.clock.now = due;
        endpoint.health.failed(Failure::Refused, Admission::Regular, Tick::default());
        assert!(endpoint.health.claim(due));
        endpoint.begin();
        let stream = Stream::connect(&listener.local_addr().unwrap().into()).unwrap();
        let link = Link {
            stream,
            endpoint: endpoint.clone(),
            user: None,
            is_counted: true,
            is_trial: true,
            bulk: false,
            deadline: Tick::NEVER,
            timer: Timer::UNSET,
        };
        let key = resources.links.insert(link);
        assert!(!endpoint.health.claim(due));
        resources.close_link(key);
        assert_eq!((endpoint.load(), endpoint.health.claim(due)), (0, true));
    }
}
