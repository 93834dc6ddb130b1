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
            if alarm <= next {
                self.alarm = None;
                return;
            }
        }
    }

    fn is_ready(&self) -> bool {
        let has_edge = |id: usize| self.sockets[id].edge && self.keys[id].is_some();
        (0..self.sockets.len()).any(has_edge)
            || self.listeners.iter().any(|one| one.edge && one.key.is_some())
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

    /// Tells of what is ready, as far as one poll tells.
    pub(crate) fn deliver(&mut self, events: &mut Vec<Event>) -> Poll {
        let event = |key| Event { key, readable: true, writable: false, read_closed: false, gone: false };
        let events_max = self.scene.events_max;
        if self.alarm.is_some_and(|alarm| alarm <= self.now) {
            self.alarm = None;
            events.push(event(SYSTEM_KEY));
        }
        for listener in &mut self.listeners {
            if let Some(key) = listener.key.filter(|_| events.len() < events_max)
                && std::mem::take(&mut listener.edge)
            {
                events.push(event(key));
            }
        }
        let count = self.sockets.len();
        let first = if count > 0 { self.choices.below(count) } else { 0 };
        for id in (0..count).map(|step| (first + step) % count) {
            let Some(key) = self.keys[id].filter(|_| events.len() < events_max) else { continue };
            if std::mem::take(&mut self.sockets[id].edge) {
                let levels = self.sockets[id].levels();
                self.trace.note(Entry::Event(id, levels));
                let Levels { readable, writable, read_closed, gone } = levels;
                events.push(Event { key, readable, writable, read_closed, gone });
            }
        }
        if events.len() >= events_max { Poll::Full } else { Poll::Complete }
    }
}
