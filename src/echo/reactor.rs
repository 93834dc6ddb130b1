//! The loop of one thread: waits for events and timers, accepts, and drives connections. It does not know
//! HTTP.

use super::connection::{Connection, Verdict};
use mio::event::Event;
use mio::net::TcpListener;
use mio::{Events, Interest, Poll, Token, Waker};
use slab::Slab;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Events per turn.
const EVENTS_MAX: usize = 1024;
/// Pause of accepting after the system refused (usually: out of descriptors).
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// The waker's token. Listeners count down from it; connections are far below.
const WAKER: usize = usize::MAX;
/// Listeners of one thread.
const LISTENERS_MAX: usize = 1024;
/// Bits of a token for the index in the slab; the generation is above them.
const PLACE_BITS: u32 = 32;
/// Connections of one thread: the index fits its bits, with room for listeners.
const CONNECTIONS_MAX: usize = 1 << 20;

/// One thread's loop.
pub(super) struct Reactor {
    poll: Poll,
    listeners: Vec<(TcpListener, u16)>,
    slots: Slab<Slot>,
    /// Distinguishes a connection from earlier ones in the same slot.
    generation: u32,
    timers: BinaryHeap<Reverse<(Instant, usize)>>,
    /// Connections with more to do.
    again: Vec<usize>,
    /// A listener has connections that could not be accepted.
    accepts_again: bool,
    waker: Arc<Waker>,
}

struct Slot {
    connection: Connection,
    token: usize,
    /// The time of its entry in the heap.
    armed: Option<Instant>,
}

impl Reactor {
    /// A loop over these nonblocking listeners.
    pub(super) fn new(listeners: Vec<std::net::TcpListener>) -> io::Result<Self> {
        if listeners.len() > LISTENERS_MAX {
            return Err(io::Error::other(format!("more than {LISTENERS_MAX} ports")));
        }
        let poll = Poll::new()?;
        let waker = Arc::new(Waker::new(poll.registry(), Token(WAKER))?);
        let mut taken = Vec::with_capacity(listeners.len());
        for (place, listener) in listeners.into_iter().enumerate() {
            let port = listener.local_addr()?.port();
            let mut listener = TcpListener::from_std(listener);
            poll.registry().register(&mut listener, Token(WAKER - 1 - place), Interest::READABLE)?;
            taken.push((listener, port));
        }
        Ok(Self {
            poll,
            listeners: taken,
            slots: Slab::new(),
            generation: 0,
            timers: BinaryHeap::new(),
            again: Vec::new(),
            accepts_again: false,
            waker,
        })
    }

    /// Wakes the loop from another thread.
    pub(super) fn waker(&self) -> Arc<Waker> {
        Arc::clone(&self.waker)
    }

    /// Runs until `stops` is set and the loop is woken.
    ///
    /// # Errors
    /// The poll failed.
    pub(super) fn run(mut self, stops: &AtomicBool) -> io::Result<()> {
        let mut events = Events::with_capacity(EVENTS_MAX);
        let mut now = clock();
        let mut driven = Vec::new();
        while !stops.load(Ordering::Acquire) {
            match self.poll.poll(&mut events, self.patience(now)) {
                Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
                _ => now = clock(),
            }
            std::mem::swap(&mut self.again, &mut driven);
            for token in driven.drain(..) {
                self.drive(token, None, now);
            }
            if std::mem::take(&mut self.accepts_again) {
                (0..self.listeners.len()).for_each(|place| self.accept(place));
            }
            for event in &events {
                match event.token().0 {
                    WAKER => {}
                    token if token >= WAKER - LISTENERS_MAX => self.accept(WAKER - 1 - token),
                    token => self.drive(token, Some(event), now),
                }
            }
            while let Some(&Reverse((due, token))) = self.timers.peek().filter(|timer| timer.0.0 <= now) {
                self.timers.pop();
                if let Some(slot) = self.slots.get_mut(place(token)).filter(|slot| slot.token == token) {
                    slot.armed = slot.armed.filter(|&armed| armed != due);
                    self.drive(token, None, now);
                }
            }
        }
        Ok(())
    }

    /// Timeout of the next poll.
    fn patience(&self, now: Instant) -> Option<Duration> {
        if !self.again.is_empty() {
            return Some(Duration::ZERO);
        }
        let timer = self.timers.peek().map(|timer| timer.0.0.saturating_duration_since(now));
        let pause = self.accepts_again.then_some(ACCEPT_PAUSE);
        timer.into_iter().chain(pause).min()
    }

    fn accept(&mut self, place: usize) {
        let Some((listener, port)) = self.listeners.get(place) else { return };
        loop {
            match listener.accept() {
                Ok((mut socket, _)) => {
                    let entry = self.slots.vacant_entry();
                    if entry.key() >= CONNECTIONS_MAX {
                        // Dropping the connection closes it at once; the loop stays bounded.
                        continue;
                    }
                    // Half the bits of a token minus one, so that no token equals a listener's.
                    self.generation = (self.generation + 1) & (u32::MAX >> 1);
                    let token = (self.generation as usize) << PLACE_BITS | entry.key();
                    let interest = Interest::READABLE | Interest::WRITABLE;
                    if self.poll.registry().register(&mut socket, Token(token), interest).is_ok() {
                        entry.insert(Slot { connection: Connection::new(socket, *port), token, armed: None });
                    }
                }
                Err(error) => {
                    match error.kind() {
                        io::ErrorKind::WouldBlock => return,
                        io::ErrorKind::Interrupted | io::ErrorKind::ConnectionAborted => continue,
                        _ => self.accepts_again = true,
                    }
                    return;
                }
            }
        }
    }

    fn drive(&mut self, token: usize, event: Option<&Event>, now: Instant) {
        let place = place(token);
        // An event of this batch may be for a closed connection whose slot was reused.
        let Some(slot) = self.slots.get_mut(place).filter(|slot| slot.token == token) else { return };
        if let Some(event) = event {
            slot.connection.mark(event);
        }
        match slot.connection.drive(now) {
            Verdict::Wait(None) => {}
            Verdict::Wait(Some(due)) => {
                if slot.armed != Some(due) {
                    slot.armed = Some(due);
                    self.timers.push(Reverse((due, token)));
                }
            }
            Verdict::Again => self.again.push(token),
            Verdict::Over => {
                // Closing the socket removes it from epoll; no call is needed.
                self.slots.remove(place);
            }
        }
    }
}

fn place(token: usize) -> usize {
    token & ((1 << PLACE_BITS) - 1)
}

#[expect(clippy::disallowed_methods, reason = "the loop samples its clock here, once a turn")]
fn clock() -> Instant {
    Instant::now()
}
