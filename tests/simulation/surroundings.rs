//! What comes with the calls of an exchange that is driven by hand: time, table, settings, buffers.

use apex::base::Tick;
use apex::exchange::{AccessLog, Asked, Buffers, Env, RequestIds, Serving, Settings};
use apex::http::limits::HeadLimits;
use apex::route::endpoint::EndpointId;
use apex::route::health::Admission;
use apex::route::pattern::{HostPattern, PathPrefix};
use apex::route::policy::{Policy, RoutePolicy};
use apex::route::spec::{BackendAddress, BackendSpec, Balancing, RouteSpec};
use apex::route::table::Table;
use std::sync::Arc;
use std::time::Duration;

/// Octets of content that requests to `/s` may have.
const SMALL_BYTES_MAX: usize = 1_000;

pub(crate) const DATE: &str = "Sun, 06 Nov 1994 08:49:37 GMT";

/// What is the same for all exchanges of a world.
#[derive(Debug)]
pub(crate) struct Surroundings {
    pub(crate) now: Tick,
    pub(crate) table: Table,
    pub(crate) rules: Settings,
    pub(crate) buffers: Buffers,
    names: apex::base::Random,
    pub(crate) serving: Serving,
}

impl Surroundings {
    pub(crate) fn new() -> Self {
        let route = |prefix: &str, body_bytes_max: Option<u64>| RouteSpec {
            name: prefix.into(),
            host: HostPattern::parse("*").expect("a pattern"),
            path_prefix: PathPrefix::parse(prefix).expect("a prefix"),
            strip_prefix: false,
            balancing: Balancing::RoundRobin,
            policy: body_bytes_max
                .map(|_| Arc::new(RoutePolicy { body_bytes_max, ..RoutePolicy::default() })),
            backends: (1..=3)
                .map(|port| BackendSpec {
                    address: BackendAddress::Tcp { host: "127.0.0.1".into(), port },
                    weight: 1,
                })
                .collect(),
        };
        let small = u64::try_from(SMALL_BYTES_MAX).ok();
        Self {
            // Later than any timeout: a deadline counted from nothing has passed.
            now: Tick(1_000_000_000),
            table: Table::compile(&[route("/i", None), route("/s", small)], None),
            rules: Settings {
                head: HeadLimits::DEFAULT,
                header_timeout: Duration::from_secs(10),
                policy: Policy::default(),
                via: None,
                request_ids: RequestIds::Passed,
                access_log: AccessLog::On,
            },
            buffers: Buffers::default(),
            names: apex::base::Random::new(1),
            serving: Serving::On,
        }
    }

    pub(crate) fn given(&mut self) -> Env<'_> {
        Env {
            now: self.now,
            date: DATE,
            table: &self.table,
            settings: &self.rules,
            buffers: &mut self.buffers,
            random: &mut self.names,
            client: Some(b"192.0.2.1"),
            client_trusted: false,
            serving: self.serving,
        }
    }
}

/// A member of the pool, which is an endpoint here.
pub(crate) fn asked(member: usize) -> Asked {
    let slot = u32::try_from(member).unwrap_or(u32::MAX);
    Asked { member, endpoint: EndpointId { slot, generation: 0 }, admission: Admission::Regular }
}
