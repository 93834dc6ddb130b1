//! The time up to which polls have reported all events. Deadlines are judged by that time, not by the clock.
//!
//! The clock may jump between two lines of code: the process was stopped or frozen, or the machine was
//! suspended. The next poll reports events that arrived meanwhile. A timer judged before that poll would
//! answer 504 although the response has arrived.

use crate::base::Tick;
use crate::net::system::Poll;

/// Everything that arrived before [`Told::until`] was reported.
#[derive(Debug)]
pub(super) struct Told {
    pub(super) until: Tick,
    /// The clock before the next poll, or before the first of the last incomplete polls in a row.
    from: Tick,
    /// Events since then.
    count: usize,
}

impl Told {
    /// State at the start: there is nothing from before `now`.
    pub(super) fn new(now: Tick) -> Self {
        Self { until: now, from: now, count: 0 }
    }

    /// A poll reported `count` events; `sockets` are registered; `now` is the clock after the poll.
    pub(super) fn polled(&mut self, poll: Poll, count: usize, sockets: usize, now: Tick) {
        self.count += count;
        let is_all = match poll {
            Poll::Complete => true,
            // epoll reports sockets in the order in which they became ready, each once. After as many events
            // as there are sockets, all sockets that were ready before the first of these polls were
            // reported. So deadlines are judged under any load.
            Poll::Full => self.count >= sockets,
            Poll::Interrupted => false,
        };
        if is_all {
            self.until = self.from;
            self.from = now;
            self.count = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_came_before_a_poll_is_known_after_it() {
        let mut told = Told::new(Tick(1));
        told.polled(Poll::Complete, 3, 9, Tick(10));
        assert_eq!(told.until, Tick(1));
        // The process was stopped: a signal ends the poll, and the clock has jumped.
        told.polled(Poll::Interrupted, 0, 9, Tick(90_000));
        assert_eq!(told.until, Tick(1));
        told.polled(Poll::Complete, 9, 9, Tick(90_010));
        assert_eq!(told.until, Tick(10));
        told.polled(Poll::Complete, 0, 9, Tick(90_020));
        assert_eq!(told.until, Tick(90_010));
    }

    #[test]
    fn under_full_polls_time_goes_on_when_every_socket_was_told_of() {
        let mut told = Told::new(Tick(1));
        for (now, until) in [(20, 1), (30, 1), (40, 1), (50, 1), (60, 1), (70, 40), (80, 40)] {
            told.polled(Poll::Full, 512, 1300, Tick(now));
            assert_eq!(told.until, Tick(until), "{now}");
        }
    }
}
