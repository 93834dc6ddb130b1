//! Performs the steps that an exchange names, each with one system call, and tells it the outcome. This file is the list of
//! everything that an exchange can do to the world.

use super::busy::{BUSY_COST, EVENT_COST_MAX, STEP_COST};
use super::client::{Active, Client};
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

impl<S: System> Worker<S> {
    /// Drives a client's exchange as far as it goes, or until that has cost `cost_max`, a little more at the most. Says what it cost.
    pub(super) fn drive(&mut self, key: Key, cost_max: usize) -> usize {
        self.serving = Some(key);
        let cost = self.perform_steps(key, cost_max);
        self.serving = None;
        cost
    }

    fn perform_steps(&mut self, key: Key, cost_max: usize) -> usize {
        let Self { clients, resources, .. } = self;
        let Some(client) = clients.get_mut(key) else { return 0 };
        let mut active = match client.active.take() {
            Some(active) => active,
            None => resources.begin(client),
        };
        if !Rc::ptr_eq(&active.local, &resources.local) && active.exchange.is_at_rest() {
            // Its turn before ended ahead of a request: that goes by the version that is there when it comes.
            active.local = Rc::clone(&resources.local);
        }
        let mut cost = 0;
        while cost < cost_max {
            cost += STEP_COST;
            let step = active.exchange.next_step();
            let outcome = match step {
                Step::Read(side) => resources.read(client, &mut active, side),
                Step::Peek(side) => resources.peek(client, &active, side),
                Step::Write(side) => resources.write(client, &mut active, side),
                Step::Fill(side) => resources.fill(client, &mut active, side),
                Step::Drain(side) => resources.drain(client, &mut active, side),
                Step::Dial { fresh } => resources.dial(key, &mut active, fresh),
                Step::Shutdown(side) => {
                    if let Some(stream) = stream_of(&resources.links, client, &active, side) {
                        resources.system.shut_down(stream);
                    }
                    Outcome::Done
                }
                Step::Release(release) => {
                    resources.release(&mut active, release);
                    Outcome::Done
                }
                Step::Finish(Persistence::KeepAlive) => {
                    resources.account_for(client, &active);
                    active.rests_until = Tick::NEVER;
                    if active.exchange.may_rest() {
                        self.rest(key, active);
                        return cost;
                    }
                    active.settle_pipes(&resources.system, &mut resources.pipes, true);
                    active.local = Rc::clone(&resources.local);
                    let Active { exchange, local, .. } = &mut *active;
                    exchange.renew(&mut resources.env(client, local));
                    continue;
                }
                Step::Finish(Persistence::Close) => {
                    resources.account_for(client, &active);
                    self.close(key, active);
                    return cost;
                }
                Step::Wait if active.exchange.is_at_rest() => {
                    self.rest(key, active);
                    return cost;
                }
                Step::Wait => {
                    client.is_busy = cost >= BUSY_COST;
                    resources.wait(key, client, active);
                    return cost;
                }
            };
            if let (Step::Write(_) | Step::Drain(_), Outcome::Moved { count, .. }) = (step, outcome) {
                cost += count;
            }
            let Active { exchange, local, .. } = &mut *active;
            exchange.apply(step, outcome, &mut resources.env(client, local));
        }
        self.queue_again(key, active);
        cost
    }

    /// An exchange has had its turn and has more to do: its sockets are still ready, so that no event would tell of them.
    fn queue_again(&mut self, key: Key, mut active: Box<Active<S::Pipe>>) {
        let Self { clients, resources, queue, .. } = self;
        let Some(client) = clients.get_mut(key) else { return };
        // One that never waits moves on all the same: else the deadline of its last wait would cut it.
        let deadline = active.exchange.deadline(&active.local.settings);
        resources.schedule(client, key, deadline);
        active.settle_pipes(&resources.system, &mut resources.pipes, false);
        client.active = Some(active);
        client.is_busy = true;
        if !std::mem::replace(&mut client.queued, true) {
            queue.push_back(key);
        }
    }

    /// Nothing of a request is there: the client connection needs no exchange.
    fn rest(&mut self, key: Key, mut active: Box<Active<S::Pipe>>) {
        if let Some(client) = self.clients.get_mut(key) {
            self.resources.tell_from(client, &mut active, Side::Client, ANY_BYTES);
            client.readiness = active.exchange.client_readiness();
            client.is_busy = false;
            client.empty_lines = active.exchange.empty_lines();
            let patience = self.resources.patience_at_rest(&active.local);
            // An event that brought no more than empty lines, or nothing, begins no new rest.
            let deadline = self.resources.clock.now.after(patience).min(active.rests_until);
            self.resources.schedule(client, key, deadline);
        }
        self.resources.store(active);
    }

    /// The client connection ends with its exchange.
    fn close(&mut self, key: Key, active: Box<Active<S::Pipe>>) {
        if let Some(client) = self.remove_client(key)
            && active.exchange.ends_in_reset()
        {
            self.resources.system.close_by_reset(client.socket);
        }
        self.resources.store(active);
    }

    /// The time of a client's exchange is up.
    pub(super) fn expire(&mut self, key: Key) {
        let Self { clients, resources, .. } = self;
        let Some(client) = clients.get_mut(key) else { return };
        let Some(mut active) = client.active.take() else { return };
        let side = active.exchange.awaits_acknowledgement();
        let stream = side.and_then(|side| stream_of(&resources.links, client, &active, side));
        let acknowledged = stream.and_then(|stream| resources.system.acknowledged(stream));
        self.serving = Some(key);
        let Active { exchange, local, .. } = &mut *active;
        exchange.expire(acknowledged, &mut resources.env(client, local));
        client.active = Some(active);
        self.drive(key, EVENT_COST_MAX);
    }

    /// Closes a client connection that has no exchange, or whose exchange is over.
    pub(super) fn close_client(&mut self, key: Key) {
        if let Some(Client { active: Some(mut active), .. }) = self.remove_client(key) {
            self.resources.release(&mut active, Release::Close);
            self.resources.store(active);
        }
    }

    pub(super) fn remove_client(&mut self, key: Key) -> Option<Client<S>> {
        let mut client = self.clients.remove(key)?;
        self.resources.wheel.cancel(&mut client.timer);
        self.shared.connections.fetch_sub(1, Ordering::Relaxed);
        self.resources.counters.connections_closed.add(1);
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
        self.resources.account_for(client, &active);
        self.resources.release(&mut active, Release::Close);
        self.resources.store(active);
        self.close_client(key);
        cut
    }
}

impl<S: System> Resources<S> {
    fn read(&mut self, client: &Client<S>, active: &mut Active<S::Pipe>, side: Side) -> Outcome {
        let link = active.link;
        let Active { exchange, local, .. } = active;
        let has_reserve = self.buffers.keep_reserve();
        let bytes = exchange.incoming(side, &mut self.buffers, &local.settings);
        let room = bytes.capacity() - bytes.len();
        // A long head is written anew when it goes on.
        let is_long = !matches!(bytes.capacity(), BUFFER_BYTES | LARGE_BYTES);
        if !has_reserve || room == 0 || (is_long && !has_room_for(HEADROOM_BYTES + 4 * bytes.capacity())) {
            self.refused(format_args!("{OUT_OF_MEMORY}"));
            exchange.ready(Side::Client, Readiness { gone: true, ..Readiness::default() });
            return Outcome::Blocked;
        }
        let socket = match side {
            Side::Client => &client.socket,
            Side::Backend => match link.and_then(|link| self.links.get(link)) {
                Some(link) => &link.socket,
                None => return Outcome::Failed,
            },
        };
        moved(self.system.read(socket, bytes), room)
    }

    fn peek(&mut self, client: &Client<S>, active: &Active<S::Pipe>, side: Side) -> Outcome {
        let Some(stream) = stream_of(&self.links, client, active, side) else { return Outcome::Failed };
        if self.system.is_quiet(stream) { Outcome::Blocked } else { Outcome::Ended }
    }

    fn write(&mut self, client: &Client<S>, active: &mut Active<S::Pipe>, side: Side) -> Outcome {
        let more = active.exchange.more_follows(side);
        *active.corked(side) = more;
        let Some(stream) = stream_of(&self.links, client, active, side) else { return Outcome::Failed };
        let pieces = active.exchange.outgoing(side);
        let length = pieces.iter().map(|piece| piece.len()).sum();
        match self.system.write(stream, pieces, more) {
            Err(error) if side == Side::Backend => {
                connect_failure(&error).map_or_else(|| moved(Err(error), length), Outcome::Unconnected)
            }
            result => moved(result, length),
        }
    }

    fn fill(&mut self, client: &Client<S>, active: &mut Active<S::Pipe>, side: Side) -> Outcome {
        let system = &mut self.system;
        let taken =
            active.pipe_from(side).take().or_else(|| self.pipes.take(self.clock.now, || system.pipe()));
        // Without a pipe the bytes go through memory.
        let Some(mut pipe) = taken else { return Outcome::NoPipe };
        let count_max = active.exchange.fill_max(side);
        let stream = stream_of(&self.links, client, active, side);
        let result = stream.map(|stream| self.system.fill(stream, &mut pipe, count_max));
        *active.pipe_from(side) = Some(pipe);
        result.map_or(Outcome::Failed, |result| moved(result, count_max))
    }

    fn drain(&mut self, client: &Client<S>, active: &mut Active<S::Pipe>, side: Side) -> Outcome {
        let count_max = active.exchange.drain_max(side);
        *active.corked(side) = false;
        let Some(mut pipe) = active.pipe_from(side.other()).take() else { return Outcome::Failed };
        let stream = stream_of(&self.links, client, active, side);
        let result = stream.map(|stream| self.system.drain(stream, &mut pipe, count_max));
        *active.pipe_from(side.other()) = Some(pipe);
        result.map_or(Outcome::Failed, |result| moved(result, count_max))
    }

    /// Nothing can be done for now.
    fn wait(&mut self, key: Key, client: &mut Client<S>, mut active: Box<Active<S::Pipe>>) {
        active.exchange.settle(&mut self.buffers);
        active.settle_pipes(&self.system, &mut self.pipes, false);
        if active.admission != Admission::Regular {
            self.judge_early(&mut active);
        }
        self.push(client, &mut active);
        self.begin_low_water_waits(client, &mut active);
        let deadline = active.exchange.deadline(&active.local.settings);
        self.schedule(client, key, deadline);
        client.active = Some(active);
        self.queue_low_water_end(key, client);
    }

    /// What was to follow at once did not come: nothing waits for it any more.
    fn push(&mut self, client: &Client<S>, active: &mut Active<S::Pipe>) {
        for side in [Side::Client, Side::Backend] {
            if std::mem::take(active.corked(side))
                && let Some(stream) = stream_of(&self.links, client, active, side)
            {
                self.system.push(stream);
            }
        }
    }

    /// An exchange is over: it is counted and logged.
    fn account_for(&mut self, client: &Client<S>, active: &Active<S::Pipe>) {
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
            client: client.peer.as_bytes(),
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

/// The stream of that side of an exchange.
pub(super) fn stream_of<'a, S: System>(
    links: &'a SlotMap<Link<S::Stream>>,
    client: &'a Client<S>,
    active: &Active<S::Pipe>,
    side: Side,
) -> Option<&'a S::Stream> {
    match side {
        Side::Client => Some(&client.socket),
        Side::Backend => links.get(active.link?).map(|link| &link.socket),
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
