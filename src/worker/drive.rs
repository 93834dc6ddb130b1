//! Performs the steps of an exchange, each with one system call, and passes the outcome back. This file lists
//! every effect that an exchange can have outside itself.

use super::active::Active;
use super::busy::{BUSY_COST, EVENT_COST_MAX, STEP_COST};
use super::client::Client;
use super::client_end::ClientEnd;
use super::dial::connect_failure;
use super::failures::tried;
use super::reactor::Worker;
use super::resources::{HEADROOM_BYTES, OUT_OF_MEMORY, Resources};
use super::socket::Link;
use crate::base::{Key, SlotMap, Tick, has_room_for};
use crate::exchange::{
    ANY_BYTES, AccessLog, BUFFER_BYTES, Cause, LARGE_BYTES, Outcome, Readiness, Release, Side, Step,
};
use crate::http::head::Persistence;
use crate::log::{self, Entry};
use crate::net::System;
use crate::route::health::Admission;
use std::io;
use std::rc::Rc;
use std::sync::atomic::Ordering;

/// Result of driving an exchange.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Driven {
    /// Blocked until the next event.
    Waits,
    /// Its budget is spent; it has more to do.
    Unfinished,
    /// Idle: no octet of a request has arrived. The client needs no exchange.
    Rests,
    /// The exchange and its client connection are over.
    Ends,
}

impl<S: System> Worker<S> {
    /// Drives an exchange until it blocks or has cost `cost_max`; the last step may exceed that. Returns the
    /// cost.
    pub(super) fn drive(&mut self, key: Key, cost_max: usize) -> usize {
        let Self { clients, exchanges, resources, .. } = self;
        let Some(active) = exchanges.get_mut(key) else { return 0 };
        let Some(client) = clients.get_mut(active.client) else { return 0 };
        self.serving = Some(active.client);
        let (cost, driven) = resources.perform_steps(client, key, active, cost_max);
        match driven {
            Driven::Waits => {}
            // Requeue: its sockets are still ready, so epoll reports no new event.
            Driven::Unfinished => {
                if !std::mem::replace(&mut active.queued, true) {
                    self.queue.push_back(key);
                }
            }
            Driven::Rests => self.rest(key),
            Driven::Ends => self.end(key),
        }
        self.serving = None;
        cost
    }

    /// The client connection becomes idle and gives up its exchange.
    fn rest(&mut self, key: Key) {
        let Some(mut active) = self.exchanges.remove(key) else { return };
        if let Some(client) = self.clients.get_mut(active.client) {
            self.resources.tell_from(client, &mut active, Side::Client, ANY_BYTES);
            client.exchange = None;
            client.readiness = active.exchange.client_readiness();
            client.empty_lines = active.exchange.empty_lines();
            let patience = self.resources.patience_at_rest(&active.local);
            // An event that brought only empty lines, or nothing, does not restart the idle timeout.
            let deadline = self.resources.clock.now.after(patience).min(active.rests_until);
            self.resources.schedule(client, active.client, deadline);
        }
        self.resources.store(active);
    }

    /// Closes the client connection with its exchange.
    fn end(&mut self, key: Key) {
        let Some(active) = self.exchanges.remove(key) else { return };
        if let Some(client) = self.remove_client(active.client)
            && active.exchange.ends_in_reset()
        {
            self.resources.system.close_by_reset(client.stream);
        }
        self.resources.store(active);
    }

    /// The deadline of an exchange has passed.
    pub(super) fn expire(&mut self, key: Key) {
        let Self { clients, exchanges, resources, .. } = self;
        let Some(active) = exchanges.get_mut(key) else { return };
        let Some(client) = clients.get_mut(active.client) else { return };
        self.serving = Some(active.client);
        let acknowledged = match active.exchange.awaits_acknowledgement() {
            Some(Side::Client) => client.acknowledged(&mut resources.system),
            Some(Side::Backend) => {
                let link = active.link.and_then(|link| resources.links.get(link));
                link.and_then(|link| resources.system.acknowledged(&link.stream))
            }
            None => None,
        };
        let Active { exchange, local, .. } = &mut **active;
        exchange.expire(acknowledged, &mut resources.env(client, local));
        self.drive(key, EVENT_COST_MAX);
    }

    /// Closes an idle client connection.
    pub(super) fn close_client(&mut self, key: Key) {
        drop(self.remove_client(key));
    }

    pub(super) fn remove_client(&mut self, key: Key) -> Option<Client<S>> {
        let mut client = self.clients.remove(key)?;
        self.resources.wheel.cancel(&mut client.timer);
        self.shared.connections.fetch_sub(1, Ordering::Relaxed);
        self.resources.counters.connections_closed.add(1);
        Some(client)
    }

    /// Closes a client connection at once. Returns true if that cut an exchange.
    pub(super) fn cut_client(&mut self, key: Key) -> bool {
        let Some(client) = self.remove_client(key) else { return false };
        let Some(mut active) = client.exchange.and_then(|exchange| self.exchanges.remove(exchange)) else {
            return false;
        };
        let cut = active.exchange.abort();
        self.resources.account_for(&client, &active);
        self.resources.release(&mut active, Release::Close);
        self.resources.store(active);
        cut
    }
}

impl<S: System> Resources<S> {
    /// Performs steps until the exchange blocks or has cost `cost_max`. Returns the cost.
    fn perform_steps<E: ClientEnd<S>>(
        &mut self,
        end: &mut E,
        key: Key,
        active: &mut Active<S::Pipe>,
        cost_max: usize,
    ) -> (usize, Driven) {
        if !Rc::ptr_eq(&active.local, &self.local) && active.exchange.is_at_rest() {
            // The last turn ended before a request: the next request uses the current version.
            active.local = Rc::clone(&self.local);
        }
        let mut cost = 0;
        while cost < cost_max {
            cost += STEP_COST;
            let step = active.exchange.next_step();
            let outcome = match step {
                Step::Read(side) => self.read(end, active, side),
                Step::Peek(side) => self.peek(end, active, side),
                Step::Write(side) => self.write(end, active, side),
                Step::Fill(side) => self.fill(end, active, side),
                Step::Drain(side) => self.drain(end, active, side),
                Step::Dial { fresh } => self.dial(key, active, fresh),
                Step::Shutdown(side) => self.shut_down(end, active, side),
                Step::Release(release) => {
                    self.release(active, release);
                    Outcome::Done
                }
                Step::Finish(persistence) => {
                    self.account_for(end, active);
                    if persistence == Persistence::Close {
                        return (cost, Driven::Ends);
                    }
                    active.rests_until = Tick::NEVER;
                    if active.exchange.may_rest() {
                        return (cost, Driven::Rests);
                    }
                    active.settle_pipes(&self.system, &mut self.pipes, true);
                    active.local = Rc::clone(&self.local);
                    let Active { exchange, local, .. } = active;
                    exchange.renew(&mut self.env(end, local));
                    continue;
                }
                Step::Wait if active.exchange.is_at_rest() => return (cost, Driven::Rests),
                Step::Wait => {
                    active.is_busy = cost >= BUSY_COST;
                    self.wait(end, key, active);
                    return (cost, Driven::Waits);
                }
            };
            match (step, outcome) {
                (Step::Write(_) | Step::Drain(_), Outcome::Moved { count, .. }) => cost += count,
                // These octets are discarded, so no write or drain will count them.
                (Step::Read(_), Outcome::Moved { count, .. }) if active.exchange.throws_away() => {
                    cost += count;
                }
                _ => {}
            }
            let Active { exchange, local, .. } = active;
            exchange.apply(step, outcome, &mut self.env(end, local));
        }
        active.is_busy = true;
        active.settle_pipes(&self.system, &mut self.pipes, false);
        // Refresh the deadline: an exchange that never blocks must not expire by the deadline of its last
        // wait.
        let deadline = active.exchange.deadline(&active.local.settings);
        self.schedule(end, active.client, deadline);
        (cost, Driven::Unfinished)
    }

    /// The backend stream of an exchange.
    fn backend(links: &SlotMap<Link<S::Stream>>, link: Option<Key>) -> Option<&S::Stream> {
        links.get(link?).map(|link| &link.stream)
    }

    fn read<E: ClientEnd<S>>(&mut self, end: &mut E, active: &mut Active<S::Pipe>, side: Side) -> Outcome {
        let link = active.link;
        let Active { exchange, local, .. } = active;
        let has_reserve = self.buffers.keep_reserve();
        let bytes = exchange.incoming(side, &mut self.buffers, &local.settings);
        let room = bytes.capacity() - bytes.len();
        // Only long heads have other capacities. Forwarding one copies it.
        let is_long = !matches!(bytes.capacity(), BUFFER_BYTES | LARGE_BYTES);
        if !has_reserve || room == 0 || (is_long && !has_room_for(HEADROOM_BYTES + 4 * bytes.capacity())) {
            self.refused(format_args!("{OUT_OF_MEMORY}"));
            exchange.ready(Side::Client, Readiness { gone: true, ..Readiness::default() });
            return Outcome::Blocked;
        }
        let result = match (side, Self::backend(&self.links, link)) {
            (Side::Client, _) => end.read(&mut self.system, bytes),
            (Side::Backend, Some(stream)) => self.system.read(stream, bytes),
            (Side::Backend, None) => return Outcome::Failed,
        };
        moved(result, room)
    }

    fn peek<E: ClientEnd<S>>(&mut self, end: &mut E, active: &Active<S::Pipe>, side: Side) -> Outcome {
        let is_quiet = match (side, Self::backend(&self.links, active.link)) {
            (Side::Client, _) => end.is_quiet(&mut self.system),
            (Side::Backend, Some(stream)) => self.system.is_quiet(stream),
            (Side::Backend, None) => return Outcome::Failed,
        };
        if is_quiet { Outcome::Blocked } else { Outcome::Ended }
    }

    fn write<E: ClientEnd<S>>(&mut self, end: &mut E, active: &mut Active<S::Pipe>, side: Side) -> Outcome {
        let more = active.exchange.more_follows(side);
        *active.corked(side) = more;
        let pieces = active.exchange.outgoing(side);
        let length = pieces.iter().map(|piece| piece.len()).sum();
        if side == Side::Client {
            return moved(end.write(&mut self.system, pieces, more), length);
        }
        let Some(stream) = Self::backend(&self.links, active.link) else { return Outcome::Failed };
        match self.system.write(stream, pieces, more) {
            Err(error) => {
                connect_failure(&error).map_or_else(|| moved(Err(error), length), Outcome::Unconnected)
            }
            result => moved(result, length),
        }
    }

    fn fill<E: ClientEnd<S>>(&mut self, end: &mut E, active: &mut Active<S::Pipe>, side: Side) -> Outcome {
        let system = &mut self.system;
        let taken =
            active.pipe_from(side).take().or_else(|| self.pipes.take(self.clock.now, || system.pipe()));
        // No pipe: the octets go through memory.
        let Some(mut pipe) = taken else { return Outcome::NoPipe };
        let count_max = active.exchange.fill_max(side);
        let result = match (side, Self::backend(&self.links, active.link)) {
            (Side::Client, _) => Some(end.fill(system, &mut pipe, count_max)),
            (Side::Backend, stream) => stream.map(|stream| system.fill(stream, &mut pipe, count_max)),
        };
        *active.pipe_from(side) = Some(pipe);
        result.map_or(Outcome::Failed, |result| moved(result, count_max))
    }

    fn drain<E: ClientEnd<S>>(&mut self, end: &mut E, active: &mut Active<S::Pipe>, side: Side) -> Outcome {
        let count_max = active.exchange.drain_max(side);
        *active.corked(side) = false;
        let Some(mut pipe) = active.pipe_from(side.other()).take() else { return Outcome::Failed };
        let system = &mut self.system;
        let result = match (side, Self::backend(&self.links, active.link)) {
            (Side::Client, _) => Some(end.drain(system, &mut pipe, count_max)),
            (Side::Backend, stream) => stream.map(|stream| system.drain(stream, &mut pipe, count_max)),
        };
        *active.pipe_from(side.other()) = Some(pipe);
        result.map_or(Outcome::Failed, |result| moved(result, count_max))
    }

    fn shut_down<E: ClientEnd<S>>(&mut self, end: &mut E, active: &Active<S::Pipe>, side: Side) -> Outcome {
        match (side, Self::backend(&self.links, active.link)) {
            (Side::Client, _) => end.shut_down(&mut self.system),
            (Side::Backend, stream) => stream.into_iter().for_each(|stream| self.system.shut_down(stream)),
        }
        Outcome::Done
    }

    /// The exchange is blocked: return what it does not need and set its deadline.
    fn wait<E: ClientEnd<S>>(&mut self, end: &mut E, key: Key, active: &mut Active<S::Pipe>) {
        active.exchange.settle(&mut self.buffers);
        active.settle_pipes(&self.system, &mut self.pipes, false);
        if active.admission != Admission::Regular {
            self.judge_early(active);
        }
        self.push(end, active);
        self.begin_low_water_waits(end, active);
        let deadline = active.exchange.deadline(&active.local.settings);
        self.schedule(end, active.client, deadline);
        self.queue_low_water_end(key, active);
    }

    /// Sends partial segments that were held back for data that did not come.
    fn push<E: ClientEnd<S>>(&mut self, end: &mut E, active: &mut Active<S::Pipe>) {
        if std::mem::take(active.corked(Side::Client)) {
            end.push(&mut self.system);
        }
        if std::mem::take(active.corked(Side::Backend))
            && let Some(stream) = Self::backend(&self.links, active.link)
        {
            self.system.push(stream);
        }
    }

    /// Counts and logs a finished exchange.
    fn account_for<E: ClientEnd<S>>(&mut self, end: &E, active: &Active<S::Pipe>) {
        let record = active.exchange.record();
        if record.status == 0 {
            return;
        }
        let counters = &self.counters;
        counters.exchanges_finished.add(1);
        counters.count_response(record.status);
        counters.retries.add(u64::from(record.retries));
        counters.client_bytes_in.add(record.request_bytes);
        counters.client_bytes_out.add(record.response_bytes);
        match record.cause {
            Cause::Backend => {}
            Cause::Apex(_) => counters.own_answers.add(1),
            Cause::Cut(_) => counters.exchanges_cut.add(1),
        }
        if active.local.settings.access_log == AccessLog::Off {
            return;
        }
        let route = record.route.map(|route| active.local.table.route(route));
        let member = route.zip(record.asked).and_then(|(route, asked)| route.pool.members.get(asked.member));
        let tried = match (route, active.exchange.tries()) {
            (_, []) | (None, _) => String::new(),
            (Some(route), tries) => tried(&route.pool, tries),
        };
        let now = self.clock.now;
        let head_read = record.head_read.unwrap_or(now);
        let entry = Entry {
            client: end.identity().name,
            date: &self.clock.log_date,
            request_line: record.request_line(),
            status: record.status,
            content_bytes: record.response_bytes,
            referer: record.referer(),
            user_agent: record.user_agent(),
            route: route.map_or("", |route| &route.identity.name),
            backend: member.map_or("", |(backend, _)| &backend.authority),
            head_us: head_read.since_us(record.begun),
            connect_us: record.connected.map(|connected| connected.since_us(head_read)),
            response_us: record.connected.zip(record.answered).map(|(from, to)| to.since_us(from)),
            total_us: now.since_us(record.begun),
            retries: record.retries,
            tried: &tried,
            cause: record.cause.as_str(),
            request_id: record.request_id(),
        };
        log::line::write(self.lines.line(), &entry);
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
