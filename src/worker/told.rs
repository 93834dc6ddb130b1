//! Up to which time polls have told of everything that came: deadlines are judged by that time and not by the clock.
//!
//! The clock may jump between two lines of code: a stopped process, a frozen one, a paused machine. What came meanwhile is told by the
//! next poll, and a timer that is judged before it would answer 504 to a response that is there already.

use crate::base::Tick;
use crate::net::system::Poll;

/// What came before [`Told::until`] was told.
#[derive(Debug)]
pub(super) struct Told {
    pub(super) until: Tick,
    /// The clock before the next poll, or before the first of those in a row that did not tell everything.
    from: Tick,
    /// Events since then.
    count: usize,
}

impl Told {
    /// Nothing came before `now`.
    pub(super) fn new(now: Tick) -> Self {
        Self { until: now, from: now, count: 0 }
    }

    /// A poll has told of `count` events, of `sockets` that are registered; `now` is the clock after it.
    pub(super) fn polled(&mut self, poll: Poll, count: usize, sockets: usize, now: Tick) {
        self.count += count;
        let is_all = match poll {
            Poll::Complete => true,
            // epoll tells in the order in which sockets became ready, each once: after as many events as there are sockets, what was
            // ready before the first of these polls was told. So deadlines are judged under any load.
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
        // Stopped: a signal ends the poll, and the clock has jumped.
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
