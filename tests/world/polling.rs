//! What goes on while the worker polls: everybody acts, time passes, events come together.

use super::sim::Sim;
use super::socket::Levels;
use super::trace::Entry;
use apex::net::system::{Event, Poll, SYSTEM_KEY};

impl Sim {
    /// Lets everybody act until the poll comes back: because something is ready, because it may not wait, or for the alarm.
    pub(crate) fn wait(&mut self, at_once: bool) {
        let stops = self.choices.pick(&[30, 5, 100]);
        loop {
            if self.failure.is_some() || std::mem::take(&mut self.control.wakes) {
                return;
            }
            let is_ready = self.is_ready();
            if (is_ready || at_once) && self.choices.percent(stops) {
                return;
            }
            if self.control_acts() || self.act() {
                continue;
            }
            if is_ready || at_once {
                return;
            }
            self.check_sleep();
            let (next, alarm) = (self.next_act(), self.alarm.unwrap_or(u64::MAX));
            if next.min(alarm) == u64::MAX {
                self.rests = true;
                return;
            }
            self.pass_to(next.min(alarm));
            self.ring();
        }
    }

    fn is_ready(&self) -> bool {
        let has_edge = |id: usize| self.sockets[id].edge.is_up() && self.keys[id].is_some();
        self.rung.is_up()
            || (0..self.sockets.len()).any(has_edge)
            || self.listeners.iter().any(|one| one.edge.is_up() && one.key.is_some())
    }

    /// The time of the alarm may have come.
    fn ring(&mut self) {
        if self.alarm.is_some_and(|alarm| alarm <= self.now) {
            self.alarm = None;
            self.rung.raise();
        }
    }

    /// The process is stopped for longer than its timeouts, and everybody else goes on. True where it was.
    pub(crate) fn freeze(&mut self) -> bool {
        if self.scene.freezes == 0 || self.rests || self.choices.below(1_000) >= self.scene.freezes {
            return false;
        }
        self.trace.note(Entry::Control("the process is frozen"));
        let until = self.now + self.scene.frozen_for();
        while self.failure.is_none() {
            if self.act() {
                continue;
            }
            let next = self.next_act();
            if next > until {
                break;
            }
            self.pass_to(next);
        }
        self.pass_to(until);
        self.book.frozen += 1;
        true
    }

    /// Tells of what is ready, in the order in which it became so, as far as one poll tells.
    pub(crate) fn deliver(&mut self, events: &mut Vec<Event>) -> Poll {
        self.ring();
        let mut ready = vec![(self.rung, SYSTEM_KEY, None)];
        ready.extend(self.listeners.iter().filter_map(|one| Some((one.edge, one.key?, None))));
        ready.extend(
            (0..).zip(&self.sockets).filter_map(|(id, one)| Some((one.edge, self.keys[id]?, Some(id)))),
        );
        ready.retain(|(edge, ..)| edge.is_up());
        ready.sort_by_key(|&(edge, ..)| edge);
        ready.truncate(self.scene.events_max);
        for &(edge, key, id) in &ready {
            let mut event = Event { key, readable: true, writable: false, read_closed: false, gone: false };
            if let Some(id) = id {
                self.sockets[id].edge.take();
                let levels = self.sockets[id].levels();
                self.trace.note(Entry::Event(id, levels));
                let Levels { readable, writable, read_closed, gone } = levels;
                event = Event { key, readable, writable, read_closed, gone };
            } else if self.rung == edge {
                self.rung.take();
            } else {
                self.listeners.iter_mut().filter(|one| one.edge == edge).for_each(|one| _ = one.edge.take());
            }
            events.push(event);
        }
        if ready.len() >= self.scene.events_max { Poll::Full } else { Poll::Complete }
    }
}
