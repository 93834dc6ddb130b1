//! What an exchange has tried in vain, and whether it may go on: the rule of retries stands here and nowhere else.
//!
//! After a failure a request goes on to an endpoint that it has not tried, if it can be sent again (RFC 9110 section 9.2.2: all of
//! it is still there, and nothing of it was sent or its method is idempotent), and within these bounds:
//!
//! - **[`TRIES_MAX`] tries in all.** A connection that is refused, or that this machine cannot even begin, costs next to nothing. So
//!   many of them may fail before the one endpoint that works is found; each is known to be out from then on.
//! - **`retries_max` retries after those that cost something**: a connect timeout costs the client's time, a request that is sent
//!   again costs a backend's work, and a try at an endpoint that is known to be out would multiply an outage.
//! - **`timeout_secs`** for all attempts to connect together (`Exchange::deadline`).
//!
//! A response that does not come in time is no reason to try again. Going on over a fresh connection because a pooled one had been
//! closed is no try that failed: that happens once an exchange, and says nothing of the endpoint.

use super::step::Asked;
use crate::route::endpoint::Try;
use crate::route::health::{Admission, Failure};

/// Tries of one exchange, those that cost next to nothing included.
pub const TRIES_MAX: usize = 128;

/// The tries of one exchange that failed. It allocates nothing before the first one.
#[derive(Debug, Default)]
pub(super) struct Tries {
    failed: Vec<Try>,
    /// How many of them cost something.
    costly: u32,
}

impl Tries {
    /// A try failed: within the step that began it, or later.
    pub(super) fn note(&mut self, asked: Asked, failure: Failure, when: When) {
        let is_cheap = when == When::AtOnce || failure == Failure::Refused;
        self.costly += u32::from(!is_cheap || asked.admission != Admission::Regular);
        self.failed.push(Try { endpoint: asked.endpoint, failure });
    }

    /// Another try is allowed.
    pub(super) fn may_go_on(&self, retries_max: u32) -> bool {
        self.costly <= retries_max && self.failed.len() < TRIES_MAX
    }

    pub(super) fn failed(&self) -> &[Try] {
        &self.failed
    }
}

/// When a try failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum When {
    /// Within the step that began it: no time passed.
    AtOnce,
    /// After a wait.
    Later,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::route::endpoint::EndpointId;
    use crate::route::policy::RETRIES_MAX;

    const FIRST: Asked =
        Asked { member: 0, endpoint: EndpointId { slot: 0, generation: 0 }, admission: Admission::Regular };

    #[test]
    fn how_often_a_request_is_tried() {
        let known = |admission| Asked { admission, ..FIRST };
        for (case, asked, failure, when, tries) in [
            ("refused", FIRST, Failure::Refused, When::Later, TRIES_MAX),
            ("refused at once", FIRST, Failure::Refused, When::AtOnce, TRIES_MAX),
            ("no route", FIRST, Failure::Unreachable, When::AtOnce, TRIES_MAX),
            ("no route, found out late", FIRST, Failure::Unreachable, When::Later, 4),
            ("black holes", FIRST, Failure::ConnectTimeout, When::Later, 4),
            ("closed", FIRST, Failure::Closed, When::Later, 4),
            ("a trial", known(Admission::Trial), Failure::Refused, When::Later, 4),
            ("all are out", known(Admission::Forced), Failure::Refused, When::AtOnce, 4),
        ] {
            let mut all = Tries::default();
            while all.may_go_on(RETRIES_MAX) {
                all.note(asked, failure, when);
            }
            assert_eq!(all.failed().len(), tries, "{case}");
        }
    }

    #[test]
    fn a_route_without_retries_still_finds_the_one_that_works() {
        let mut tries = Tries::default();
        tries.note(FIRST, Failure::Refused, When::Later);
        assert!(tries.may_go_on(0));
        tries.note(FIRST, Failure::ConnectTimeout, When::Later);
        assert!(!tries.may_go_on(0));
    }
}
