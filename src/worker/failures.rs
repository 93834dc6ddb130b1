//! Reports results of exchanges: to the health of endpoints, to the operator when an endpoint is taken out or
//! is back, and to the access log line.

use super::active::Active;
use super::resources::{OperatorLine, Resources};
use crate::base::{Address, Key, Tick};
use crate::net::System;
use crate::route::balance::Pool;
use crate::route::endpoint::{Endpoint, Try};
use crate::route::health::{Admission, Failure};
use std::fmt::Write;
use std::time::Duration;

/// Lines about endpoints that one worker logs within [`LINES_SPAN`]: enough for a failing endpoint and its
/// neighbours, few enough to keep the log readable when hundreds of endpoints change.
const LINES_MAX: u32 = 16;

const LINES_SPAN: Duration = Duration::from_secs(1);

/// Endpoints named in an access log line. Further ones are only counted.
const TRIED_MAX: usize = 8;

/// Rate limit of lines about endpoints.
#[derive(Debug, Default)]
pub(super) struct EndpointChanges {
    since: Tick,
    told: u32,
    untold: u32,
}

impl EndpointChanges {
    /// Whether another line may be logged; if so, the number of lines dropped since the last one.
    fn admit(&mut self, now: Tick) -> Option<u32> {
        if now >= self.since.after(LINES_SPAN) {
            (self.since, self.told) = (now, 0);
        }
        if self.told == LINES_MAX {
            self.untold += 1;
            return None;
        }
        self.told += 1;
        Some(std::mem::take(&mut self.untold))
    }
}

impl<S: System> Resources<S> {
    /// Records a failure of an endpoint.
    pub(super) fn endpoint_failed(
        &mut self,
        backend: &str,
        endpoint: &Endpoint,
        failure: Failure,
        admission: Admission,
    ) {
        if let Some(pause) = endpoint.health.failed(failure, admission, self.clock.now) {
            let (secs, reason) = (pause.as_secs(), failure.reason());
            self.tell_change(
                backend,
                endpoint,
                OperatorLine::Warning,
                format_args!("is taken out for {secs} s: {reason}"),
            );
        }
    }

    /// Judges an endpoint when an exchange releases its connection, or when a trial has its response head.
    #[cold]
    pub(super) fn judge(&mut self, active: &mut Active<S::Pipe>, link: Key) {
        let Some(link) = self.links.get_mut(link) else { return };
        link.is_trial = false;
        let endpoint = link.endpoint.clone();
        let admission = std::mem::take(&mut active.admission);
        let record = active.exchange.record();
        let pool = record.route.map(|route| &active.local.table.route(route).pool);
        let member = pool.zip(record.asked).and_then(|(pool, asked)| pool.members.get(asked.member));
        let backend = member.map_or("", |(backend, _)| &backend.authority);
        if let Some(failure) = active.exchange.failure() {
            self.endpoint_failed(backend, &endpoint, failure, admission);
        } else if record.answered.is_none() {
            if admission == Admission::Trial {
                endpoint.health.give_back(self.clock.now);
            }
        } else if endpoint.health.succeeded(admission) {
            self.tell_change(backend, &endpoint, OperatorLine::Info, format_args!("is back"));
        }
    }

    /// Judges a trial at its response head: other exchanges need not wait for the end of the content.
    #[cold]
    pub(super) fn judge_early(&mut self, active: &mut Active<S::Pipe>) {
        if active.exchange.record().answered.is_some()
            && let Some(link) = active.link
        {
            self.judge(active, link);
        }
    }

    fn tell_change(
        &mut self,
        backend: &str,
        endpoint: &Endpoint,
        line: fn(String) -> OperatorLine,
        change: std::fmt::Arguments<'_>,
    ) {
        let Some(untold) = self.changes.admit(self.clock.now) else { return };
        let mut words = format!("backend {backend}");
        let address = endpoint.address.to_string();
        if address != backend {
            let _ = write!(words, " at {address}");
        }
        let _ = write!(words, " {change}");
        if untold > 0 {
            let _ = write!(words, " ({untold} more changes of backends were not logged)");
        }
        (self.report)(line(words));
    }
}

/// Failed tries in the format of the access log line: `address:reason`, comma-separated. Without failures it
/// is empty and allocates nothing.
pub(super) fn tried(pool: &Pool, tries: &[Try]) -> String {
    let mut text = String::new();
    for (number, Try { endpoint, failure }) in tries.iter().enumerate() {
        if number == TRIED_MAX {
            let _ = write!(text, ",+{}", tries.len() - TRIED_MAX);
            break;
        }
        let comma = if number == 0 { "" } else { "," };
        let address: Option<Address> =
            pool.members.iter().find_map(|(backend, _)| backend.address_of(*endpoint));
        let _ = match address {
            Some(address) => write!(text, "{comma}{address}:{}", failure.as_str()),
            // The endpoint was removed meanwhile.
            None => write!(text, "{comma}?:{}", failure.as_str()),
        };
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::route::balance::Cursor;
    use crate::route::spec::Balancing;
    use crate::route::{backend::Backend, spec::BackendAddress};
    use std::sync::Arc;

    #[test]
    fn lines_about_endpoints_are_bounded() {
        let (mut changes, now) = (EndpointChanges::default(), Tick(50_000_000));
        let told: Vec<_> = (0..20).map(|_| changes.admit(now)).collect();
        assert_eq!(told, [[Some(0); 16].as_slice(), &[None; 4]].concat());
        assert_eq!(changes.admit(Tick(now.0 + 999_999)), None);
        assert_eq!(changes.admit(Tick(now.0 + 1_000_000)), Some(5), "those that were not told are counted");
        assert_eq!(changes.admit(Tick(now.0 + 1_000_000)), Some(0));
    }

    #[test]
    fn what_an_access_line_names() {
        let ids = Arc::default();
        let backend = |port| Backend::new(BackendAddress::Tcp { host: "::1".to_owned(), port }, &ids);
        let members = (1..=10).map(|port| (Arc::new(backend(port)), 1)).collect();
        let pool = Pool::new(Balancing::RoundRobin, members);
        assert_eq!(tried(&pool, &[]), "");
        let mut tries = Vec::new();
        let mut cursor = Cursor::default();
        for failure in [Failure::Refused, Failure::ConnectTimeout].into_iter().cycle().take(10) {
            let endpoint = pool.choose(&mut cursor, 0, &tries, Tick(0)).unwrap().endpoint.id;
            tries.push(Try { endpoint, failure });
        }
        assert_eq!(tried(&pool, &tries[..2]), "[::1]:1:refused,[::1]:2:connect_timeout");
        assert!(tried(&pool, &tries).ends_with("[::1]:8:connect_timeout,+2"), "{}", tried(&pool, &tries));
        assert_eq!(tried(&Pool::new(Balancing::Random, Vec::new()), &tries[..1]), "?:refused");
    }
}
