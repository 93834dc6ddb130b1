//! What holds at any time, whatever the peers do: nobody waits for nothing, every connection ends by its deadline, what the worker
//! holds is bounded by its connections.

use super::client::{Client, Standing};
use super::pace::SECOND;
use super::script::{Manner, When};
use super::sim::Sim;
use super::socket::Connecting;
use apex::worker::Held;

/// A sleep from this long on is one in which nobody may wait for the worker.
const LONG: u64 = SECOND / 5;

/// Clients that ask nothing have so long while the process leaves, or beyond the allowed number.
const LAST_CALL: u64 = SECOND;

/// What a deadline may be late by: a slot of the timer wheel, and the turn.
const SLACK: u64 = SECOND;

/// How long the rest of a request is read behind an answer.
const LINGER: u64 = 30 * SECOND;

/// Octets that one client may move in one turn, by each of its sockets and directions: what all of a turn may, and one piece more.
const TURN_OCTETS_MAX: usize = 1_700_000;

impl Sim {
    /// Nobody acts now: the worker sleeps until something does, or its alarm rings.
    pub(crate) fn check_sleep(&mut self) {
        let wakes_at = self.next_act().min(self.alarm.unwrap_or(u64::MAX));
        if let Some(id) = (0..self.sockets.len()).find(|&id| self.sockets[id].is_corked()) {
            self.fail(format!("octets wait for more in socket {id}, and nothing follows"));
        }
        if self.listeners.iter().any(|one| one.has_waiting() && one.key.is_some()) && wakes_at == u64::MAX {
            self.fail("clients wait to be accepted, and nobody will look");
        }
        for at in 0..self.clients.len() {
            let client = &self.clients[at];
            let Standing::In { since, .. } = client.standing else { continue };
            if self.sockets[client.socket].closed {
                continue;
            }
            if wakes_at >= self.now + LONG && self.waits_for_nothing(client) {
                let what = format!("request {:?} waits for nothing: a wake-up was lost", client.current());
                return self.fail(what);
            }
            let ends_by = self.ends_by(client, since);
            if self.now > ends_by {
                let what = format!(
                    "client {at} ({:?}) should have been let go {} us ago",
                    client.script.manner,
                    self.now - ends_by
                );
                return self.fail(what);
            }
        }
    }

    /// It has asked, it has not failed, and nobody who could answer it will act by himself.
    fn waits_for_nothing(&self, client: &Client) -> bool {
        let Some(id) = client.current().filter(|_| client.is_waiting() && !client.failed && !client.closed)
        else {
            return false;
        };
        let record = &self.book.records[id];
        if client.is_in_tunnel() || record.failed || record.stale || self.book.plans[id].corrupt {
            return false;
        }
        let acts = client.acts_at(&self.sockets, &self.book) < u64::MAX;
        let is_served = self.backends.iter().any(|backend| {
            let socket = &self.sockets[backend.socket];
            let connects = socket.connecting == Some(Connecting::Lost) && !socket.closed;
            // One that stalled behind an answer may have been used again.
            connects || (!backend.closed && (backend.stalled || backend.acts_at(socket) < u64::MAX))
        });
        !acts && !is_served
    }

    /// When Apex has let go of that client at the latest, as far as that does not depend on others.
    fn ends_by(&self, client: &Client, since: u64) -> u64 {
        let wait = self.scene.wait;
        let since = since.max(client.served_at);
        let frozen = u64::try_from(self.book.frozen).unwrap_or(u64::MAX) * (self.scene.frozen_for() + wait);
        let lingers = if self.sockets[client.socket].was_written_to() { LINGER + wait } else { 0 };
        let slack = SLACK + frozen + lingers;
        let rests = if client.is_surely_over_limit() { LAST_CALL } else { self.scene.idle() };
        match client.script.manner {
            Manner::EmptyLines if self.book.leaving => {
                (since + rests).min(since.max(self.book.left_at) + LAST_CALL) + slack
            }
            Manner::EmptyLines => since + rests + slack,
            // What moves either way keeps an exchange whose answer has begun, and a tunnel.
            Manner::Drips(_) if self.answers_early(client) || client.is_in_tunnel() => u64::MAX,
            Manner::Drips(_) => {
                let slow = u64::try_from(client.octets() / 4_096 + 15).unwrap_or(u64::MAX);
                since + self.scene.idle() + slow * wait + self.slowest_answer() + slack
            }
            Manner::Plain | Manner::Reads(_) => u64::MAX,
        }
    }

    /// Its request may be answered before it is there.
    fn answers_early(&self, client: &Client) -> bool {
        let plan = client.current().map(|id| &self.book.plans[id]);
        plan.is_some_and(|plan| plan.answers.iter().any(|answer| answer.when == When::Head))
    }

    /// What a backend may take for its answer at the most.
    const fn slowest_answer(&self) -> u64 {
        4 * self.scene.wait
    }

    /// The worker's turn is over.
    pub(crate) fn check_turn(&mut self, held: Held) {
        let accepted = self.accepted;
        if held.clients != accepted {
            self.fail(format!("{} clients, of whom {accepted} have a socket", held.clients));
        }
        if held.timers > held.clients + held.links {
            self.fail(format!("more timers than connections: {held:?}"));
        }
        // Of a client that went, its place in the queue or its wait for much may be left for a moment.
        let waits_max = self.clients.len();
        if held.queued > waits_max || held.low_water_waits > waits_max || held.exchanges > held.clients {
            self.fail(format!("more of something than clients: {held:?}"));
        }
        if held.large_buffers > 4 * held.exchanges {
            self.fail(format!("large buffers that no exchange has: {held:?}"));
        }
        if self.pipes.get() > 2 * held.exchanges + 40 {
            self.fail(format!("{} pipes for {held:?}", self.pipes.get()));
        }
        for id in 0..self.sockets.len() {
            let moved = std::mem::take(&mut self.sockets[id].moved);
            if moved.iter().any(|&octets| octets > TURN_OCTETS_MAX) {
                self.fail(format!("{moved:?} octets through socket {id} in one turn"));
            }
        }
    }

    /// Nothing can happen any more, and no alarm is set: nobody is left.
    pub(crate) fn check_end(&mut self, held: Held) {
        let left = Held { listeners: 0, large_buffers: 0, ..held };
        let none = Held {
            listeners: 0,
            clients: 0,
            exchanges: 0,
            links: 0,
            timers: 0,
            queued: 0,
            low_water_waits: 0,
            large_buffers: 0,
        };
        if left != none {
            self.fail(format!("nothing can happen any more, and there is {held:?}"));
        }
        if held.large_buffers > 0 {
            self.fail(format!("{} large buffers are lost", held.large_buffers));
        }
        let snapshot = self.control.shared.snapshot.load_full();
        let load: u64 = snapshot.table.backends().map(|backend| backend.load()).sum();
        if load > 0 {
            self.fail(format!("{load} exchanges are counted that have ended"));
        }
    }
}
