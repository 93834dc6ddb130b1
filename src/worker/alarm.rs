//! Wakes a worker at a time. A poll with a timeout of its own starts and stops a timer of the kernel each time it waits, and a short
//! one sets the core's clock each time, which takes a virtual machine longer than the poll. This timer stays where it is while
//! nothing is due earlier, and the polls wait without any.

use crate::base::Tick;
use crate::net::System;
use std::io;
use std::time::Duration;

/// What the system's alarm is set to. Its events say nothing that the clock does not say.
#[derive(Debug)]
pub(super) struct Alarm {
    /// When it rings, or rang last.
    at: Tick,
}

impl Alarm {
    /// One that is not set.
    pub(super) fn new() -> Self {
        Self { at: Tick::NEVER }
    }

    /// Sees to it that the worker wakes at `at` at the latest, which is later than `now`. It may wake before, at an earlier time
    /// that is not wanted any more: taking that back would cost more, each time.
    ///
    /// # Errors
    /// The system refuses it, which it has no reason for.
    pub(super) fn set(&mut self, system: &mut impl System, at: Tick, now: Tick) -> io::Result<()> {
        let is_set = self.at > now;
        if at == Tick::NEVER || (is_set && self.at <= at) {
            return Ok(());
        }
        system.set_alarm(Duration::from_micros(at.since_us(now)))?;
        self.at = at;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::{Epoch, Kernel};

    const SOON: Duration = Duration::from_secs(5);

    struct Ringer {
        kernel: Kernel,
        alarm: Alarm,
    }

    impl Ringer {
        fn new() -> Self {
            Self { kernel: Kernel::new(Epoch::start()).unwrap().0, alarm: Alarm::new() }
        }

        fn now(&mut self) -> Tick {
            self.kernel.now()
        }

        fn set(&mut self, at: Tick, now: Tick) {
            self.alarm.set(&mut self.kernel, at, now).unwrap();
        }

        /// True where it rings within that time.
        fn rings_within(&mut self, time: Duration) -> bool {
            let mut events = Vec::new();
            self.kernel.poll(&mut events, Some(time));
            !events.is_empty()
        }
    }

    #[test]
    fn it_rings_again_and_again_without_being_read() {
        let mut ringer = Ringer::new();
        for _ in 0..5 {
            let now = ringer.now();
            let at = now.after(Duration::from_millis(2));
            ringer.set(at, now);
            assert!(ringer.rings_within(SOON));
            assert!(ringer.now() >= at, "it never rings before its time");
        }
        assert!(!ringer.rings_within(Duration::from_millis(5)), "it rings once");
    }

    #[test]
    fn the_earliest_time_counts() {
        let mut ringer = Ringer::new();
        let now = ringer.now();
        let [soon, later, never] =
            [now.after(Duration::from_millis(3)), now.after(Duration::from_secs(3600)), Tick::NEVER];
        for at in [later, soon, later, never] {
            ringer.set(at, now);
        }
        assert_eq!(ringer.alarm.at, soon);
        assert!(ringer.rings_within(SOON));
        // It has rung, so the later time is one to be set.
        let now = ringer.now();
        ringer.set(never, now);
        assert_eq!(ringer.alarm.at, soon);
        ringer.set(later, now);
        assert_eq!(ringer.alarm.at, later);
        // The time that is there already is the shortest one.
        ringer.set(now, now);
        assert!(ringer.rings_within(SOON));
    }
}
