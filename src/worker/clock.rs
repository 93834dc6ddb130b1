//! The clock of a worker, sampled once a turn: the process clock in ticks, and the wall clock as texts made once a second.

use crate::exchange::Tick;
use std::time::{Duration, Instant, SystemTime};

/// Where the process clock stands at 0; the same for all threads.
#[derive(Debug, Clone, Copy)]
pub struct Epoch(Instant);

impl Epoch {
    /// Starts the process clock.
    #[expect(clippy::disallowed_methods, reason = "this is the clock that others are given")]
    pub fn start() -> Self {
        Self(Instant::now())
    }

    /// Now on the process clock.
    pub fn now(&self) -> Tick {
        // Tick 0 stands for "never was", so the clock starts one tick later.
        Tick(1).after(self.0.elapsed())
    }
}

#[derive(Debug)]
pub(super) struct Clock {
    epoch: Epoch,
    /// The time of this turn.
    pub(super) now: Tick,
    texts_until: Tick,
    /// The wall clock as an IMF-fixdate (RFC 9110 section 5.6.7).
    pub(super) imf_date: String,
    /// The wall clock as an access line has it.
    pub(super) log_date: String,
}

impl Clock {
    pub(super) fn new(epoch: Epoch) -> Self {
        let mut clock = Self {
            epoch,
            now: Tick::default(),
            texts_until: Tick::default(),
            imf_date: String::new(),
            log_date: String::new(),
        };
        clock.sample();
        clock
    }

    /// Begins a turn.
    pub(super) fn sample(&mut self) {
        self.now = self.epoch.now();
        if self.now >= self.texts_until {
            self.write_texts();
        }
    }

    #[expect(clippy::disallowed_methods, reason = "this is the clock that others are given")]
    fn write_texts(&mut self) {
        let wall = SystemTime::now();
        self.imf_date = httpdate::fmt_http_date(wall);
        self.log_date = log_date(&self.imf_date);
        let into_second = wall.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.subsec_nanos());
        self.texts_until = self.now.after(Duration::from_nanos(u64::from(1_000_000_000 - into_second)));
    }
}

/// `Sun, 22 Nov 2026 19:51:00 GMT` as `22/Nov/2026:19:51:00 +0000`.
fn log_date(imf_date: &str) -> String {
    match imf_date.split(' ').collect::<Vec<_>>()[..] {
        [_, day, month, year, time, _] => format!("{day}/{month}/{year}:{time} +0000"),
        _ => String::from("-"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_log_has_its_own_form_of_a_date() {
        assert_eq!(log_date("Sun, 22 Nov 2026 19:51:00 GMT"), "22/Nov/2026:19:51:00 +0000");
    }

    #[test]
    fn texts_follow_the_clock() {
        let mut clock = Clock::new(Epoch::start());
        assert!(clock.imf_date.ends_with(" GMT") && clock.log_date.ends_with(" +0000"));
        let before = clock.now;
        clock.sample();
        assert!(clock.now >= before && clock.texts_until > clock.now);
    }
}
