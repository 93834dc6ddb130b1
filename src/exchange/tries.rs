//! The failed tries of an exchange, and whether another may follow. The retry rule is in this file only.
//!
//! After a failure a request is sent to an endpoint that it has not tried, if it can be sent again (RFC 9110
//! section 9.2.2: all of it is still in memory, and either none of it was sent or its method is idempotent),
//! within these bounds:
//!
//! - **[`TRIES_MAX`] tries in all.** A connection that is refused, or that this machine cannot start, costs
//!   next to nothing. Up to this many may fail before a working endpoint is found; each failed endpoint is
//!   marked as out of service.
//! - **`retries_max` retries after tries that cost something**: a connect timeout costs the client's time, a
//!   request that is sent again costs a backend's work, and a try at an endpoint that is known to be out of
//!   service would multiply an outage.
//! - **`timeout_secs`** for all connection attempts together (`Exchange::deadline`).
//!
//! A response timeout is never retried. A fresh connection after a pooled one was found closed is not a
//! failed try: that happens once per exchange and is no evidence against the endpoint.

use super::step::Asked;
use crate::route::endpoint::Try;
use crate::route::health::{Admission, Failure};

/// The most tries of one exchange, cheap ones included.
pub const TRIES_MAX: usize = 128;

/// The failed tries of one exchange. It allocates nothing before the first failure.
#[derive(Debug, Default)]
pub(super) struct Tries {
    failed: Vec<Try>,
    /// The number of tries that cost something.
    costly: u32,
}

impl Tries {
    /// Notes a failed try, either in the step that began it or later.
    pub(super) fn note(&mut self, asked: Asked, failure: Failure, when: When) {
        let is_cheap = when == When::AtOnce || failure == Failure::Refused;
        self.costly += u32::from(!is_cheap || asked.admission != Admission::Regular);
        self.failed.push(Try { endpoint: asked.endpoint, failure });
    }

    /// Whether another try is allowed.
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
    /// In the step that began it: no time passed.
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
