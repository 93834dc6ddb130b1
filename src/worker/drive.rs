//! Performs the steps that an exchange names, each with one system call, and tells it the outcome. This file is the list of
//! everything that an exchange can do to the world.

use super::arena::Key;
use super::client::{Active, Client};
use super::reactor::Worker;
use super::wheel::schedule;
use crate::exchange::{Cause, Notes, Outcome, Side, Step};
use crate::http::head::Persistence;
use crate::log::{self, Entry};
use crate::net::socket;
use std::io;
use std::rc::Rc;
use std::sync::atomic::Ordering;

/// Steps of one client in one turn; then others have theirs. A small exchange takes about ten.
const STEPS_MAX: usize = 48;

/// Exchanges kept for later use; more go back to the allocator after a peak.
const SPARES_MAX: usize = 1024;

impl Worker {
    /// Drives a client's exchange as far as it goes.
    pub(super) fn drive(&mut self, key: Key) {
        let Some(client) = self.clients.get_mut(key) else { return };
        let mut active = match client.active.take() {
            Some(active) => active,
            None => self.begin(key),
        };
        for _ in 0..STEPS_MAX {
            let step = active.exchange.next_step();
            let outcome = match step {
                Step::Read(side) => self.read(key, &mut active, side),
                Step::Write(side) => self.write(key, &active, side),
                Step::Fill(side) => self.fill(key, &mut active, side),
                Step::Drain(side) => self.drain(key, &mut active, side),
                Step::Dial { fresh } => self.dial(key, &mut active, fresh),
                Step::Shutdown(side) => {
                    if let Some(socket) = self.socket(key, &active, side) {
                        socket::shut_down(socket);
                    }
                    Outcome::Done
                }
                Step::Release(fate) => {
                    self.release(&mut active, fate);
                    Outcome::Done
                }
                Step::Finish(persistence) => {
                    if !self.finish(key, &mut active, persistence) {
                        return self.store(active);
                    }
                    continue;
                }
                Step::Wait => return self.wait(key, active),
            };
            self.apply(key, &mut active, step, outcome);
        }
        // No new edge would come for what is ready already.
        let (now, serving) = (self.clock.now, self.serving());
        if let Some(client) = self.clients.get_mut(key) {
            // One that never waits moves on all the same: else the deadline of its last wait would cut it.
            let given = client.given(
                now,
                &self.clock.imf_date,
                &active.local,
                &mut self.buffers,
                &mut self.random,
                serving,
            );
            client.deadline = active.exchange.deadline(&given);
            schedule(&mut self.wheel, &mut client.asked_at, client.deadline, key);
            client.active = Some(active);
            if !std::mem::replace(&mut client.queued, true) {
                self.queue.push_back(key);
            }
        }
    }

    fn begin(&mut self, key: Key) -> Box<Active> {
        let mut active = self.spares.pop().unwrap_or_else(|| Box::new(Active::new(Rc::clone(&self.local))));
        if let Some(client) = self.clients.get_mut(key) {
            let readiness = std::mem::take(&mut client.readiness);
            active.exchange.ready(Side::Client, readiness);
        }
        active
    }

    fn apply(&mut self, key: Key, active: &mut Active, step: Step, outcome: Outcome) {
        let serving = self.serving();
        let Some(client) = self.clients.get(key) else { return };
        let Active { exchange, local, .. } = active;
        let mut given = client.given(
            self.clock.now,
            &self.clock.imf_date,
            local,
            &mut self.buffers,
            &mut self.random,
            serving,
        );
        exchange.apply(step, outcome, &mut given);
    }

    fn socket<'a>(&'a self, key: Key, active: &Active, side: Side) -> Option<&'a mio::net::TcpStream> {
        match side {
            Side::Client => self.clients.get(key).map(|client| &client.socket),
            Side::Backend => self.links.get(active.link?).map(|link| &link.socket),
        }
    }

    fn read(&mut self, key: Key, active: &mut Active, side: Side) -> Outcome {
        let serving = self.serving();
        let Some(client) = self.clients.get(key) else { return Outcome::Failed };
        let socket = match (side, active.link) {
            (Side::Client, _) => &client.socket,
            (Side::Backend, Some(link)) => match self.links.get(link) {
                Some(link) => &link.socket,
                None => return Outcome::Failed,
            },
            (Side::Backend, None) => return Outcome::Failed,
        };
        let Active { exchange, local, .. } = active;
        let mut given = client.given(
            self.clock.now,
            &self.clock.imf_date,
            local,
            &mut self.buffers,
            &mut self.random,
            serving,
        );
        let bytes = exchange.incoming(side, &mut given);
        let room = bytes.capacity() - bytes.len();
        moved(socket::read(socket, bytes), room)
    }

    fn write(&mut self, key: Key, active: &Active, side: Side) -> Outcome {
        let Some(socket) = self.socket(key, active, side) else { return Outcome::Failed };
        let pieces = active.exchange.outgoing(side);
        let length = pieces.iter().map(|piece| piece.len()).sum();
        moved(socket::write(socket, pieces), length)
    }

    fn fill(&mut self, key: Key, active: &mut Active, side: Side) -> Outcome {
        let taken = active.pipe_from(side).take().map_or_else(|| self.pipes.take(), Ok);
        // Without a descriptor for a pipe the bytes go through memory.
        let Ok(mut pipe) = taken else { return Outcome::NoPipe };
        let count_max = active.exchange.fill_max(side);
        let result = self.socket(key, active, side).map(|socket| pipe.fill(socket, count_max));
        *active.pipe_from(side) = Some(pipe);
        result.map_or(Outcome::Failed, |result| moved(result, count_max))
    }

    fn drain(&mut self, key: Key, active: &mut Active, side: Side) -> Outcome {
        let count_max = active.exchange.drain_max(side);
        let Some(mut pipe) = active.pipe_from(side.other()).take() else { return Outcome::Failed };
        let result = self.socket(key, active, side).map(|socket| pipe.drain(socket, count_max));
        *active.pipe_from(side.other()) = Some(pipe);
        result.map_or(Outcome::Failed, |result| moved(result, count_max))
    }

    /// Nothing can be done for now.
    fn wait(&mut self, key: Key, mut active: Box<Active>) {
        active.exchange.settle(&mut self.buffers);
        active.settle_pipes(&mut self.pipes, false);
        let now = self.clock.now;
        let serving = self.serving();
        let at_rest = active.exchange.is_at_rest();
        let Some(client) = self.clients.get_mut(key) else { return };
        let deadline = if at_rest {
            client.readiness = active.exchange.client_readiness();
            now.after(active.local.idle_timeout)
        } else {
            let given = client.given(
                now,
                &self.clock.imf_date,
                &active.local,
                &mut self.buffers,
                &mut self.random,
                serving,
            );
            active.exchange.deadline(&given)
        };
        client.deadline = deadline;
        schedule(&mut self.wheel, &mut client.asked_at, deadline, key);
        if !at_rest {
            client.active = Some(active);
            return;
        }
        self.store(active);
        if self.phase != super::shared::Phase::Serving {
            self.close_client(key);
        }
    }

    /// Keeps an exchange for later use.
    fn store(&mut self, mut active: Box<Active>) {
        active.settle_pipes(&mut self.pipes, true);
        let is_current = Rc::ptr_eq(&active.local, &self.local);
        if is_current && self.spares.len() < SPARES_MAX {
            active.exchange.reset(&mut self.buffers);
            self.spares.push(active);
        }
    }

    /// The exchange is over: it is counted and logged. True where the client connection goes on with the next one.
    fn finish(&mut self, key: Key, active: &mut Box<Active>, persistence: Persistence) -> bool {
        self.account_for(key, active);
        active.settle_pipes(&mut self.pipes, true);
        if persistence == Persistence::Close {
            if let Some(client) = self.remove_client(key)
                && active.exchange.ends_in_reset()
            {
                socket::close_by_reset(client.socket);
            }
            return false;
        }
        active.local = Rc::clone(&self.local);
        let serving = self.serving();
        let Some(client) = self.clients.get(key) else { return false };
        let Active { exchange, local, .. } = &mut **active;
        let mut given = client.given(
            self.clock.now,
            &self.clock.imf_date,
            local,
            &mut self.buffers,
            &mut self.random,
            serving,
        );
        exchange.renew(&mut given);
        true
    }

    fn account_for(&mut self, key: Key, active: &Active) {
        let account = active.exchange.account();
        if account.status == 0 {
            return;
        }
        let counters = &self.counters;
        counters.exchanges_finished.add(1);
        counters.count_response(account.status);
        counters.retries.add(u64::from(account.retries));
        counters.client_bytes_in.add(account.request_bytes);
        counters.client_bytes_out.add(account.response_bytes);
        match account.cause {
            Cause::Backend => {}
            Cause::Apex(_) => counters.own_answers.add(1),
            Cause::Cut(_) => counters.exchanges_cut.add(1),
        }
        if active.local.rules.notes == Notes::Skipped {
            return;
        }
        let Some(client) = self.clients.get(key) else { return };
        let route = account.route.map(|route| active.local.table.route(route));
        let member = route.zip(account.member).and_then(|(route, member)| route.pool.members.get(member));
        let now = self.clock.now;
        let head_read = account.head_read.unwrap_or(now);
        let entry = Entry {
            client: client.address.as_str(),
            date: &self.clock.log_date,
            request_line: account.request_line(),
            status: account.status,
            content_bytes: account.response_bytes,
            referer: account.referer(),
            user_agent: account.user_agent(),
            route: route.map_or("", |route| &route.name),
            backend: member.map_or("", |(backend, _)| &backend.authority),
            head_us: head_read.since_us(account.begun),
            connect_us: account.connected.map(|connected| connected.since_us(head_read)),
            response_us: account.connected.zip(account.answered).map(|(from, to)| to.since_us(from)),
            total_us: now.since_us(account.begun),
            retries: account.retries,
            cause: account.cause.as_str(),
            request_id: account.request_id(),
        };
        log::line::write(self.lines.line(), &entry);
    }

    /// The time of a client's exchange is up.
    pub(super) fn expire(&mut self, key: Key) {
        let serving = self.serving();
        let Some(client) = self.clients.get_mut(key) else { return };
        let Some(mut active) = client.active.take() else { return };
        let Active { exchange, local, .. } = &mut *active;
        let mut given = client.given(
            self.clock.now,
            &self.clock.imf_date,
            local,
            &mut self.buffers,
            &mut self.random,
            serving,
        );
        exchange.expire(&mut given);
        client.active = Some(active);
        self.drive(key);
    }

    /// Closes a client connection that has no exchange, or whose exchange is over.
    pub(super) fn close_client(&mut self, key: Key) {
        if let Some(Client { active: Some(mut active), .. }) = self.remove_client(key) {
            self.release(&mut active, crate::exchange::Fate::Close);
        }
    }

    fn remove_client(&mut self, key: Key) -> Option<Client> {
        let client = self.clients.remove(key)?;
        self.shared.connections.fetch_sub(1, Ordering::Relaxed);
        self.counters.connections_closed.add(1);
        Some(client)
    }

    /// Cuts a client off, whatever goes on. True where that cut an exchange.
    pub(super) fn cut_client(&mut self, key: Key) -> bool {
        let Some(client) = self.clients.get_mut(key) else { return false };
        let Some(mut active) = client.active.take() else {
            self.close_client(key);
            return false;
        };
        let cut = active.exchange.abort();
        self.account_for(key, &active);
        self.release(&mut active, crate::exchange::Fate::Close);
        self.close_client(key);
        cut
    }
}

fn moved(result: io::Result<usize>, room: usize) -> Outcome {
    match result {
        Ok(0) => Outcome::Ended,
        Ok(count) => Outcome::Moved { count, full: count == room },
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Outcome::Blocked,
        Err(_) => Outcome::Failed,
    }
}
