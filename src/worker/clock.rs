//! A worker's clock, sampled once per turn: the process clock in ticks, and the wall clock as texts that are
//! made once per second.

use crate::base::Tick;
use crate::net::System;
use httpdate::HttpDate;
use std::fmt::Write;
use std::time::{Duration, SystemTime};

#[derive(Debug)]
pub(super) struct Clock {
    /// The time of this turn.
    pub(super) now: Tick,
    texts_until: Tick,
    /// The wall clock as an IMF-fixdate (RFC 9110 section 5.6.7).
    pub(super) imf_date: String,
    /// The wall clock in the format of the access log.
    pub(super) log_date: String,
}

impl Clock {
    pub(super) fn new(system: &mut impl System) -> Self {
        let mut clock = Self {
            now: Tick::default(),
            texts_until: Tick::default(),
            imf_date: String::new(),
            log_date: String::new(),
        };
        clock.sample(system);
        clock
    }

    /// Begins a turn.
    pub(super) fn sample(&mut self, system: &mut impl System) {
        self.now = system.now();
        if self.now >= self.texts_until {
            self.write_texts(system.wall());
        }
    }

    fn write_texts(&mut self, wall: SystemTime) {
        // In place: a warm worker never allocates.
        self.imf_date.clear();
        let _ = write!(self.imf_date, "{}", HttpDate::from(wall));
        write_log_date(&self.imf_date, &mut self.log_date);
        let into_second = wall.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.subsec_nanos());
        self.texts_until = self.now.after(Duration::from_nanos(u64::from(1_000_000_000 - into_second)));
    }
}

/// Converts `Sun, 22 Nov 2026 19:51:00 GMT` to `22/Nov/2026:19:51:00 +0000`: all parts have fixed positions.
fn write_log_date(imf_date: &str, text: &mut String) {
    let part = |range| imf_date.get(range).unwrap_or("-");
    let (day, month, year, time) = (part(5..7), part(8..11), part(12..16), part(17..25));
    text.clear();
    // Writing to a string cannot fail.
    let _ = write!(text, "{day}/{month}/{year}:{time} +0000");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::{Epoch, Kernel};

    #[test]
    fn the_log_has_its_own_form_of_a_date() {
        let mut text = String::from("what was before");
        write_log_date("Sun, 22 Nov 2026 19:51:00 GMT", &mut text);
        assert_eq!(text, "22/Nov/2026:19:51:00 +0000");
    }

    #[test]
    fn texts_follow_the_clock() {
        let (mut kernel, _) = Kernel::new(Epoch::start()).unwrap();
        let mut clock = Clock::new(&mut kernel);
        assert!(clock.imf_date.ends_with(" GMT") && clock.log_date.ends_with(" +0000"));
        let before = clock.now;
        clock.sample(&mut kernel);
        assert!(clock.now >= before && clock.texts_until > clock.now);
    }
}
