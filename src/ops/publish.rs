//! What workers go by, made of a configuration and published to them.

use super::resolve::Resolver;
use crate::config::{Config, Server};
use crate::exchange::{Notes, RequestIds, Rules};
use crate::route::table::Table;
use crate::worker::{Handle, Published, Shared};
use std::sync::Arc;

/// Descriptors that are never given to clients: the log, signals, the resolver, a listener and an epoll a worker.
const DESCRIPTORS_KEPT: u64 = 128;

/// The first version, where `descriptors` may be open at a time.
pub(super) fn first(config: &Config, descriptors: u64) -> Published {
    publish(config, None, connections_allowed(descriptors))
}

/// Client connections that the descriptor limit allows: a quarter of it is kept for backend connections and pipes. Where all
/// clients have a request under way at once, a failing descriptor is an answer of 502, never a crash.
fn connections_allowed(descriptors: u64) -> u32 {
    let kept = DESCRIPTORS_KEPT.max(descriptors / 4);
    u32::try_from(descriptors.saturating_sub(kept).max(16)).unwrap_or(u32::MAX)
}

/// What workers go by, made of a configuration. Backends are taken over from the table before.
fn publish(config: &Config, previous: Option<&Published>, connections_allowed: u32) -> Published {
    let server = &config.server;
    Published {
        table: Table::compile(&config.routes, previous.map(|previous| &previous.table)),
        rules: rules_of(server),
        idle_timeout: server.idle_timeout,
        backend_idle_timeout: server.backend_idle_timeout,
        trusted: server.trusted_proxies.clone(),
        connections_max: server.connections_max.unwrap_or(connections_allowed),
    }
}

fn rules_of(server: &Server) -> Rules {
    Rules {
        head: server.head,
        header_timeout: server.header_timeout,
        connect_timeout: server.connect_timeout,
        timeout: server.timeout,
        via: server.via.clone(),
        request_ids: if server.request_id { RequestIds::Made } else { RequestIds::Passed },
        notes: if server.access_log { Notes::Kept } else { Notes::Skipped },
    }
}

/// Another version, with the names of its backends asked for. It is in force once it is published.
pub(super) fn prepare(config: &Config, shared: &Shared, resolver: &Resolver, descriptors: u64) -> Published {
    let previous = shared.published.load_full();
    let published = publish(config, Some(&previous), connections_allowed(descriptors));
    resolver.resolve(&published);
    published
}

/// Puts another version in force, and gives back the one before, which exchanges may still go by. Workers take the new one up at
/// their next turn.
pub(super) fn put_in_force(published: Published, shared: &Shared, workers: &[Handle]) -> Arc<Published> {
    let before = shared.published.swap(Arc::new(published));
    // A worker that sleeps would hold the old version, and what only it names, until its next event.
    workers.iter().for_each(Handle::wake);
    before
}
