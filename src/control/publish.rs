//! What workers go by, made of a configuration and published to them.

use crate::config::diff::ConfigDiff;
use crate::config::{Config, Server};
use crate::exchange::{AccessLog, RequestIds, Settings};
use crate::route::table::Table;
use crate::worker::{Handle, Shared, Snapshot};
use std::sync::Arc;

/// Descriptors that are never given to clients: the log, signals, the resolver, a listener and an epoll a worker.
const DESCRIPTORS_KEPT: u64 = 128;

/// The first version, and what it is made of.
#[derive(Debug)]
pub(super) struct Loaded {
    pub(super) config: Config,
    pub(super) version: Snapshot,
}

/// The first version, where `descriptors` may be open at a time.
pub(super) fn first(config: &Config, descriptors: u64) -> Snapshot {
    publish(config, None, connections_allowed(descriptors))
}

/// Client connections that the descriptor limit allows: a quarter of it is kept for backend connections and pipes. Where all
/// clients have a request under way at once, a failing descriptor is an answer of 502, never a crash.
fn connections_allowed(descriptors: u64) -> u32 {
    let kept = DESCRIPTORS_KEPT.max(descriptors / 4);
    u32::try_from(descriptors.saturating_sub(kept).max(16)).unwrap_or(u32::MAX)
}

/// What workers go by, made of a configuration. Backends are taken over from the table before.
fn publish(config: &Config, previous: Option<&Snapshot>, connections_allowed: u32) -> Snapshot {
    let server = &config.server;
    Snapshot {
        table: Table::compile(&config.routes, previous.map(|previous| &previous.table)),
        settings: rules_of(server),
        idle_timeout: server.idle_timeout,
        backend_idle_timeout: server.backend_idle_timeout,
        trusted: server.trusted_proxies.clone(),
        connections_max: server.connections_max.unwrap_or(connections_allowed),
    }
}

fn rules_of(server: &Server) -> Settings {
    Settings {
        head: server.head,
        header_timeout: server.header_timeout,
        policy: server.policy(),
        via: server.via.clone(),
        request_ids: if server.request_id { RequestIds::Made } else { RequestIds::Passed },
        access_log: if server.access_log { AccessLog::On } else { AccessLog::Off },
    }
}

/// Another version, compiled, and what it changes. It is in force once it is published.
#[derive(Debug)]
pub(super) struct Prepared {
    pub(super) config: Config,
    pub(super) difference: ConfigDiff,
    pub(super) version: Snapshot,
}

/// Compiles another version. It takes its time for a large table.
pub(super) fn prepare(config: Config, before: &Config, previous: &Snapshot, descriptors: u64) -> Prepared {
    let difference = ConfigDiff::between(before, &config);
    let version = publish(&config, Some(previous), connections_allowed(descriptors));
    Prepared { config, difference, version }
}

/// Puts another version in force, and gives back the one before, which exchanges may still go by. Workers take the new one up at
/// their next turn.
pub(super) fn put_in_force(published: Snapshot, shared: &Shared, workers: &[Handle]) -> Arc<Snapshot> {
    let published = Arc::new(published);
    let before = shared.snapshot.swap(Arc::clone(&published));
    published.table.retire_others(&before.table);
    // A worker that sleeps would hold the old version, and what only it names, until its next event.
    workers.iter().for_each(Handle::wake);
    before
}
