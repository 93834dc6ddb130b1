//! Passive health of one endpoint: which failures take it out of service, for how long, when one exchange may
//! try it again, and what brings it back. Pure: time is an argument. The state is one word, so that a request
//! to an endpoint without failures costs one load.
//!
//! | event | endpoint is up | endpoint is out |
//! | --- | --- | --- |
//! | no connection (refused, unreachable, timed out) | out for 1 s | of a trial: out twice as long, at most 60 s |
//! | other failure (closed, not HTTP, no answer) | the third in a row: out for 1 s | the same |
//! | an answer | resets the count | to an exchange sent while it was out: up |
//!
//! While an endpoint is out, a failure of any exchange but its trial changes nothing. An exchange that began
//! before the endpoint was taken out is no new evidence: its result changes nothing.

use crate::base::Tick;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Failures in a row that take an endpoint out although connections to it succeed.
pub const FAILS_MAX: u8 = 3;

/// The pauses of an endpoint that is out, in seconds: the first, then one after each failed trial.
const PAUSES_SECS: [u64; 7] = [1, 2, 4, 8, 16, 32, 60];

/// The time for which one trial excludes others. If it takes longer, because of long configured timeouts,
/// another may begin.
const TRIAL_MAX: Duration = Duration::from_secs(60);

/// Why an exchange got no answer from an endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// The endpoint refused the connection.
    Refused,
    /// No route, no address of its family on this machine, or a firewall.
    Unreachable,
    /// The endpoint did not accept the connection within `connect_timeout_secs`.
    ConnectTimeout,
    /// The endpoint closed or reset the connection before its answer was complete.
    Closed,
    /// The answer is not HTTP, or is not allowed.
    NotHttp,
    /// No answer within `timeout_secs`.
    NoAnswer,
}

impl Failure {
    /// No connection was established: nothing was sent.
    pub const fn is_connecting(self) -> bool {
        matches!(self, Self::Refused | Self::Unreachable | Self::ConnectTimeout)
    }

    /// One word, for the access log line.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Refused => "refused",
            Self::Unreachable => "unreachable",
            Self::ConnectTimeout => "connect_timeout",
            Self::Closed => "closed",
            Self::NotHttp => "not_http",
            Self::NoAnswer => "no_answer",
        }
    }

    /// The text for the operator.
    pub const fn reason(self) -> &'static str {
        match self {
            Self::Refused => "connection refused",
            Self::Unreachable => "it cannot be reached",
            Self::ConnectTimeout => "connecting timed out",
            Self::Closed => "it closed connections without an answer",
            Self::NotHttp => "its answers are not HTTP",
            Self::NoAnswer => "it did not answer in time",
        }
    }
}

/// Whether an endpoint may be tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It is up.
    Up,
    /// It is out, and its pause is over: one exchange may try it, by [`Health::claim`].
    Due,
    /// It is out.
    Out,
}

/// Why an exchange was sent to an endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Admission {
    /// The endpoint is up.
    #[default]
    Regular,
    /// The endpoint is out, and this exchange is its trial.
    Trial,
    /// The endpoint is out, and so are all others.
    Forced,
}

/// The unpacked state. `pause` 0: up, after `fails` failures in a row. Else out, in the `pause`-th pause,
/// until `until_us`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct State {
    /// Microseconds of the process clock; 52 bits, which last 142 years.
    until_us: u64,
    pause: u8,
    fails: u8,
}

impl State {
    const fn unpack(word: u64) -> Self {
        let [fails, low, ..] = word.to_le_bytes();
        Self { until_us: word >> 12, pause: low & 0xf, fails }
    }

    fn pack(self) -> u64 {
        self.until_us << 12 | u64::from(self.pause & 0xf) << 8 | u64::from(self.fails)
    }

    fn standing(self, now: Tick) -> Standing {
        match self.pause {
            0 => Standing::Up,
            _ if self.until_us <= now.0 => Standing::Due,
            _ => Standing::Out,
        }
    }

    fn out(pause: u8, now: Tick) -> Self {
        let pause = pause.clamp(1, 7);
        Self { until_us: now.after(pause_of(pause)).0, pause, fails: 0 }
    }

    fn after_failure(self, failure: Failure, admission: Admission, now: Tick) -> Self {
        match (self.pause, admission) {
            (0, _) if failure.is_connecting() || self.fails + 1 >= FAILS_MAX => Self::out(1, now),
            (0, _) => Self { fails: self.fails + 1, ..self },
            (pause, Admission::Trial) => Self::out(pause + 1, now),
            _ => self,
        }
    }

    fn after_success(self, admission: Admission) -> Self {
        if self.pause > 0 && admission == Admission::Regular { self } else { Self::default() }
    }

    fn after_claim(self, now: Tick) -> Option<Self> {
        (self.standing(now) == Standing::Due).then(|| Self { until_us: now.after(TRIAL_MAX).0, ..self })
    }

    fn after_give_back(self, now: Tick) -> Self {
        if self.pause == 0 { self } else { Self { until_us: self.until_us.min(now.0), ..self } }
    }
}

fn pause_of(number: u8) -> Duration {
    let secs = PAUSES_SECS.get(usize::from(number).saturating_sub(1));
    Duration::from_secs(*secs.unwrap_or(&60))
}

/// The health of one endpoint, shared by all workers. Written only on a failure, and on the first answer
/// after one.
#[derive(Debug, Default)]
pub struct Health(AtomicU64);

impl Health {
    /// It is up, without a failure since its last answer. One relaxed load, because every request reads it.
    #[inline]
    pub fn is_clean(&self) -> bool {
        self.0.load(Ordering::Relaxed) == 0
    }

    /// Whether it may be tried at `now`.
    pub fn standing(&self, now: Tick) -> Standing {
        State::unpack(self.0.load(Ordering::Relaxed)).standing(now)
    }

    /// Begins the one trial of an endpoint that is due. False: another exchange was first.
    pub fn claim(&self, now: Tick) -> bool {
        self.change(|state| state.after_claim(now)).is_some()
    }

    /// Ends a trial without a result, for example because its client left: the next exchange may try.
    pub fn give_back(&self, now: Tick) {
        self.change(|state| Some(state.after_give_back(now)));
    }

    /// An exchange sent with `admission` failed. If that takes the endpoint out of service, returns for how
    /// long.
    pub fn failed(&self, failure: Failure, admission: Admission, now: Tick) -> Option<Duration> {
        let (before, after) = self.change(|state| Some(state.after_failure(failure, admission, now)))?;
        (before.pause == 0 && after.pause > 0).then(|| pause_of(after.pause))
    }

    /// The endpoint answered an exchange sent with `admission`. True: it was out, and is up again.
    pub fn succeeded(&self, admission: Admission) -> bool {
        if self.is_clean() {
            return false;
        }
        let changed = self.change(|state| Some(state.after_success(admission)));
        changed.is_some_and(|(before, after)| before.pause > 0 && after.pause == 0)
    }

    /// Applies a transition; returns the states before and after, if it took place.
    fn change(&self, transition: impl Fn(State) -> Option<State>) -> Option<(State, State)> {
        let next = |word| transition(State::unpack(word)).map(State::pack);
        let before = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next).ok()?;
        Some((State::unpack(before), transition(State::unpack(before))?))
    }
}

#[cfg(test)]
mod tests {
    use super::Admission::{Forced, Regular, Trial};
    use super::Failure::{Closed, ConnectTimeout, NoAnswer, NotHttp, Refused, Unreachable};
    use super::*;

    const SECOND: u64 = 1_000_000;
    const UP: State = State { until_us: 0, pause: 0, fails: 0 };

    fn up(fails: u8) -> State {
        State { fails, ..UP }
    }

    fn out(pause: u8, until_secs: u64) -> State {
        State { until_us: until_secs * SECOND, pause, fails: 0 }
    }

    #[test]
    fn what_a_failure_changes() {
        let now = Tick(100 * SECOND);
        for (case, before, failure, admission, after) in [
            ("one refusal is enough", UP, Refused, Regular, out(1, 101)),
            ("no route is as good", UP, Unreachable, Regular, out(1, 101)),
            ("a black hole, too", UP, ConnectTimeout, Regular, out(1, 101)),
            ("one closed connection is counted", UP, Closed, Regular, up(1)),
            ("failures of all kinds are one count", up(1), NotHttp, Regular, up(2)),
            ("three in a row", up(2), NoAnswer, Regular, out(1, 101)),
            ("a refusal needs no count", up(1), Refused, Regular, out(1, 101)),
            ("who began before learns nothing new", out(1, 101), Refused, Regular, out(1, 101)),
            ("nor who was sent there at need", out(3, 103), Refused, Forced, out(3, 103)),
            ("a failed trial doubles the pause", out(1, 160), ConnectTimeout, Trial, out(2, 102)),
            ("of whatever kind", out(2, 160), NoAnswer, Trial, out(3, 104)),
            ("again", out(3, 160), Closed, Trial, out(4, 108)),
            ("and again", out(4, 160), Closed, Trial, out(5, 116)),
            ("and again", out(5, 160), Closed, Trial, out(6, 132)),
            ("60 s at most", out(6, 160), Closed, Trial, out(7, 160)),
            ("however often", out(7, 160), Closed, Trial, out(7, 160)),
            ("a trial of what came back meanwhile", UP, Closed, Trial, up(1)),
        ] {
            assert_eq!(before.after_failure(failure, admission, now), after, "{case}");
        }
    }

    #[test]
    fn what_an_answer_changes() {
        for (case, before, admission, after) in [
            ("nothing", UP, Regular, UP),
            ("the count", up(2), Regular, UP),
            ("nothing, of one that began before", out(2, 5), Regular, out(2, 5)),
            ("all, of a trial", out(7, 5), Trial, UP),
            ("all, of one that was sent there at need", out(2, 5), Forced, UP),
        ] {
            assert_eq!(before.after_success(admission), after, "{case}");
        }
    }

    #[test]
    fn a_state_is_a_word() {
        assert_eq!(UP.pack(), 0);
        for state in [UP, up(2), out(1, 1), out(7, 100 * 365 * 86_400)] {
            assert_eq!(State::unpack(state.pack()), state);
        }
    }

    #[test]
    fn one_trial_at_a_time() {
        let (health, at) = (Health::default(), |secs| Tick(secs * SECOND));
        assert!(health.is_clean() && !health.claim(at(0)));
        assert_eq!(health.failed(Refused, Regular, at(10)), Some(Duration::from_secs(1)));
        assert_eq!((health.standing(at(10)), health.claim(at(10))), (Standing::Out, false));
        assert_eq!(health.standing(at(11)), Standing::Due);
        assert!(health.claim(at(11)), "the pause is over");
        assert!(!health.claim(at(11)), "also while the trial is being connected");
        assert_eq!(health.standing(at(70)), Standing::Out);
        health.give_back(at(12));
        assert!(health.claim(at(12)), "a trial that showed nothing gives way to another");
        assert_eq!(health.failed(ConnectTimeout, Trial, at(15)), None, "it was out already");
        assert_eq!((health.standing(at(16)), health.standing(at(17))), (Standing::Out, Standing::Due));
        assert!(health.claim(at(17)));
        assert!(health.claim(at(77)), "a trial that never ends keeps others away for a minute");
        assert!(health.succeeded(Trial));
        assert!(health.is_clean() && !health.succeeded(Trial));
        health.give_back(at(80));
        assert!(health.is_clean(), "nothing to give back");
    }

    #[test]
    fn only_failures_in_a_row_count() {
        let health = Health::default();
        for second in 0..10 {
            for _ in 1..FAILS_MAX {
                assert_eq!(health.failed(NoAnswer, Regular, Tick(second * SECOND)), None);
            }
            assert_eq!(health.standing(Tick(0)), Standing::Up);
            assert!(!health.is_clean() && !health.succeeded(Regular) && health.is_clean());
        }
        let told: Vec<_> = (0..5).map(|_| health.failed(NotHttp, Regular, Tick(0)).is_some()).collect();
        assert_eq!(told, [false, false, true, false, false], "told once");
    }
}
