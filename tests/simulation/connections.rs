//! What the worker does beside moving octets: it finds and lets go of backend connections, ends exchanges, and lets time pass.

use super::backend::Backend;
use super::kernel::{Connecting, Socket};
use super::script::Mood;
use super::trace::Entry;
use super::world::World;
use apex::base::Tick;
use apex::exchange::{Asked, Cause, Outcome, Release, Side};
use apex::http::head::Persistence;
use apex::route::endpoint::EndpointId;
use apex::route::health::{Admission, Failure};

/// Deadlines that one exchange may see: one for each member that is not reached, the answer, its delivery, what comes behind; and
/// looks at what a peer has acknowledged meanwhile.
const EXPIRED_MAX: usize = 24;

/// Backend connections that one exchange may write to: a pooled one that was stale, the first and as many as there are retries.
const CONNECTIONS_MAX: usize = 5;

/// A member of the pool, which is an endpoint here.
pub(crate) fn asked(member: usize) -> Asked {
    let slot = u32::try_from(member).unwrap_or(u32::MAX);
    Asked { member, endpoint: EndpointId { slot, generation: 0 }, admission: Admission::Regular }
}

impl World {
    fn id_of(&self, front: usize) -> Option<usize> {
        self.clients[front].id_at(self.fronts[front].place)
    }

    /// The backend had closed the connection that the exchange was given.
    pub(crate) fn mark_stale(&mut self, front: usize) {
        if let Some(id) = self.id_of(front) {
            self.book.records[id].stale = true;
        }
    }

    pub(crate) fn dial(&mut self, at: usize, fresh: bool) -> Outcome {
        let tries = self.fronts[at].exchange.tries();
        let is_tried = |&member: &usize| tries.iter().any(|one| one.endpoint == asked(member).endpoint);
        let untried: Vec<usize> = (0..self.book.members).filter(|member| !is_tried(member)).collect();
        if untried.is_empty() {
            return Outcome::NoBackend;
        }
        let member = self.random.pick(&untried);
        self.fronts[at].wrote = false;
        if !fresh && let Some(socket) = self.take_idle(at, member) {
            self.fronts[at].backend = Some(socket);
            return Outcome::Dialed { asked: asked(member), reused: true, bulk: self.random.percent(50) };
        }
        let luck = if self.mood == Mood::Faulty { self.random.below(100) } else { 100 };
        let connecting = match luck {
            0..16 => {
                if let Some(id) = self.id_of(at) {
                    self.book.records[id].unreachable += 1;
                }
                match luck {
                    0..5 => {
                        let failure = Failure::Unreachable;
                        return Outcome::DialFailed { asked: asked(member), failure };
                    }
                    5..11 => Connecting::Refused,
                    _ => Connecting::Lost,
                }
            }
            _ => Connecting::Accepted,
        };
        let socket = self.sockets.len();
        self.sockets.push(Socket::new(&mut self.random, Some(connecting)));
        let closes_idle = self.mood != Mood::Clean && self.random.percent(50);
        self.backends.push(Backend::new(socket, member, closes_idle));
        self.fronts[at].backend = Some(socket);
        Outcome::Dialed { asked: asked(member), reused: false, bulk: false }
    }

    /// An idle connection: the newest one that is quiet. That it was closed just now is not always known.
    fn take_idle(&mut self, at: usize, member: usize) -> Option<usize> {
        while let Some(place) = self.idle.iter().rposition(|&(idle, _)| idle == member) {
            let (_, socket) = self.idle.remove(place);
            let found = &mut self.sockets[socket];
            let quiet = found.is_quiet();
            if quiet || (!found.has_unread() && self.random.percent(50)) {
                if !quiet {
                    self.mark_stale(at);
                }
                return Some(socket);
            }
            found.close();
        }
        None
    }

    pub(crate) fn release(&mut self, at: usize, fate: Release) -> Result<(), String> {
        let front = &mut self.fronts[at];
        let socket = front.backend.take().ok_or("nothing is there to be let go")?;
        front.drop_request_pipe();
        let found = &mut self.sockets[socket];
        if fate == Release::Close {
            found.close();
            return Ok(());
        }
        if !found.is_quiet() && !found.edge {
            return Err(format!(
                "socket {socket} is pooled although something waits in it that no edge will tell"
            ));
        }
        let member =
            self.backends.iter().find(|backend| backend.socket == socket).map_or(0, |found| found.member);
        self.idle.push((member, socket));
        Ok(())
    }

    pub(crate) fn finish(&mut self, at: usize, persistence: Persistence) -> Result<(), String> {
        self.check_account(at)?;
        let front = &mut self.fronts[at];
        if front.backend.is_some() {
            return Err(format!("connection {at}: an exchange ends and keeps its backend connection"));
        }
        front.next();
        let torn = front.exchange.ends_in_reset();
        if persistence == Persistence::KeepAlive {
            front.exchange.renew(&mut self.env.given());
        } else {
            front.closed = true;
            let socket = &mut self.sockets[front.socket];
            if torn {
                // Earlier responses that the client has not read may be lost with it.
                let client = &self.clients[at];
                for id in (0..front.place).filter_map(|place| client.id_at(place)) {
                    self.book.records[id].failed = true;
                }
                socket.abort();
            } else {
                socket.close();
            }
        }
        Ok(())
    }

    /// What the access line will say is what happened.
    fn check_account(&self, at: usize) -> Result<(), String> {
        let front = &self.fronts[at];
        let account = front.exchange.record();
        let Some(id) = self.id_of(at) else { return Ok(()) };
        let (plan, record) = (&self.book.plans[id], &self.book.records[id]);
        if account.head_read.is_none() {
            return Ok(());
        }
        if front.written_to > if plan.is_idempotent() { CONNECTIONS_MAX } else { 1 } {
            return Err(format!("request {id} was written to {} connections", front.written_to));
        }
        let taken = usize::try_from(account.request_bytes).map_err(|error| error.to_string())?;
        let given = usize::try_from(account.response_bytes).map_err(|error| error.to_string())?;
        let Some(answer) =
            record.tries.checked_sub(1).map(|last| &plan.answers[last.min(plan.answers.len() - 1)])
        else {
            return Ok(());
        };
        if answer.switches {
            return Ok(());
        }
        let content = answer.content_len(plan);
        let whole = account.cause == Cause::Backend;
        // Of an answer of Apex's own the content is not the plan's; its client may have gone while it was given.
        let own = matches!(account.cause, Cause::Apex(_))
            || (account.cause != Cause::Backend && account.status != answer.status);
        if taken > plan.len || (given > content && !own) || (whole && given != content) {
            return Err(format!(
                "request {id}: the account says {taken} of {} octets up and {given} of {content} down ({})",
                plan.len,
                account.cause.as_str()
            ));
        }
        if account.status != answer.status && account.cause == Cause::Backend {
            return Err(format!("request {id}: the account says {}", account.status));
        }
        Ok(())
    }

    /// Nothing more can happen by itself: everyone who waits must wait for a peer that has failed. Then the next deadline passes.
    pub(crate) fn pass_time(&mut self) -> Result<bool, String> {
        let mut next = (Tick::NEVER, 0);
        for at in 0..self.fronts.len() {
            if self.fronts[at].closed {
                continue;
            }
            self.check_wait(at)?;
            let deadline = self.fronts[at].exchange.deadline(&self.env.rules);
            if deadline < next.0 {
                next = (deadline, at);
            }
        }
        let (deadline, at) = next;
        if deadline == Tick::NEVER {
            return Ok(false);
        }
        self.env.now = self.env.now.max(deadline);
        self.trace.note(Entry::Expired(at));
        let front = &mut self.fronts[at];
        front.expired += 1;
        if front.expired > EXPIRED_MAX {
            return Err(format!("connection {at} does not end by its deadline"));
        }
        front.woken();
        let side = front.exchange.awaits_acknowledgement();
        let socket =
            side.and_then(|side| if side == Side::Client { Some(front.socket) } else { front.backend });
        let acknowledged = socket.map(|socket| self.sockets[socket].acknowledged);
        front.exchange.expire(acknowledged, &mut self.env.given());
        self.drive(at)?;
        Ok(true)
    }

    fn check_wait(&self, at: usize) -> Result<(), String> {
        let front = &self.fronts[at];
        let rests = front.exchange.is_at_rest();
        if rests && !self.sockets[front.socket].is_quiet() {
            return Err(format!("connection {at} rests although something waits to be read"));
        }
        let lost =
            front.backend.is_some_and(|socket| self.sockets[socket].connecting == Some(Connecting::Lost));
        let failed =
            self.id_of(at).is_some_and(|id| self.book.records[id].failed || self.book.plans[id].corrupt);
        if self.clients[at].failed || lost || failed {
            return Ok(());
        }
        Err(format!("connection {at} waits for nothing: a wake-up was lost: {:?}", front.exchange))
    }
}
