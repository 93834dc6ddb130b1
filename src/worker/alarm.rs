//! Wakes a worker at a given time. One kernel timer, left as it is while no earlier time is needed, so that
//! polls need no timeout: a poll with a timeout starts and stops a kernel timer each time
//! (docs/performance.md).

use crate::base::Tick;
use crate::net::System;
use std::io;
use std::time::Duration;

/// The time that the system's alarm is set to. Its events carry no data.
#[derive(Debug)]
pub(super) struct Alarm {
    /// Time of the next or last alarm.
    at: Tick,
}

impl Alarm {
    /// An alarm that is not set.
    pub(super) fn new() -> Self {
        Self { at: Tick::NEVER }
    }

    /// Wakes the worker at `at`, which is after `now`, or earlier: an earlier alarm that is no longer needed
    /// stays set, because to cancel it each time would cost more.
    ///
    /// # Errors
    /// The system refused to set the timer, which is not expected.
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

        /// Whether the alarm fires within `time`.
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
        // The alarm has fired, so the later time must be set.
        let now = ringer.now();
        ringer.set(never, now);
        assert_eq!(ringer.alarm.at, soon);
        ringer.set(later, now);
        assert_eq!(ringer.alarm.at, later);
        // A time that has come already gives the shortest pause.
        ringer.set(now, now);
        assert!(ringer.rings_within(SOON));
    }
}
