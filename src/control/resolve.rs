//! Names of backends, resolved in a thread of their own, again and again: a name that moves is followed, and one that does not
//! resolve marks its backend down until it does.

use super::report::info;
use crate::base::Address;
use crate::route::backend::Backend;
use crate::worker::Snapshot;
use arc_swap::ArcSwap;
use std::collections::HashSet;
use std::io;
use std::net::ToSocketAddrs;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::time::Duration;

/// How often names are resolved again. The system's resolver does not info how long an answer holds.
const AGAIN: Duration = Duration::from_secs(10);

/// How often while a name does not resolve.
const AGAIN_SOON: Duration = Duration::from_secs(1);

/// The start waits so long for the first answers: without them the first requests would be refused for nothing.
const FIRST_WAIT: Duration = Duration::from_secs(2);

/// The thread that resolves.
#[derive(Debug)]
pub(super) struct Resolver {
    orders: Sender<Order>,
}

/// Backends whose names are wanted at once.
#[derive(Debug)]
struct Order {
    backends: Vec<Arc<Backend>>,
    /// Nothing is ever sent: it is dropped when they are resolved.
    done: Sender<()>,
}

impl Resolver {
    /// Starts the thread. It keeps the names of whatever is published.
    ///
    /// # Errors
    /// No thread is left.
    pub(super) fn start(published: Arc<ArcSwap<Snapshot>>) -> io::Result<Self> {
        let (orders, received) = mpsc::channel();
        std::thread::Builder::new().name("resolver".to_owned()).spawn(move || run(&published, &received))?;
        Ok(Self { orders })
    }

    /// Resolves the names in a version that were never resolved, and waits for it, within bounds: before that version is
    /// published, so that no request is refused for a name that was merely not asked for yet.
    pub(super) fn resolve(&self, version: &Snapshot) {
        let unknown: Vec<_> =
            version.table.backends().filter(|backend| !backend.is_resolved()).cloned().collect();
        if unknown.is_empty() {
            // Not to wait for a thread that may be at a name which nobody answers for.
            return;
        }
        let (done, resolved) = mpsc::channel();
        let order = Order { backends: unknown, done };
        if self.orders.send(order).is_ok() {
            let _ = resolved.recv_timeout(FIRST_WAIT);
        }
    }
}

fn run(published: &ArcSwap<Snapshot>, orders: &Receiver<Order>) {
    // Names that were told of, so that each failure is told once.
    let mut told = HashSet::new();
    let mut pause = Some(AGAIN_SOON);
    loop {
        let order = match pause {
            Some(pause) => orders.recv_timeout(pause),
            None => orders.recv().map_err(|_| RecvTimeoutError::Disconnected),
        };
        match order {
            Ok(Order { backends, done }) => {
                for backend in &backends {
                    resolve(backend, &mut told);
                }
                drop(done);
                pause = Some(AGAIN_SOON);
            }
            Err(RecvTimeoutError::Timeout) => pause = resolve_again(&published.load(), &mut told),
            Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}

/// One round over all names; says when the next is due, if there are names at all.
fn resolve_again(current: &Snapshot, told: &mut HashSet<String>) -> Option<Duration> {
    let named = || current.table.backends().filter(|backend| backend.needs_resolving());
    named().for_each(|backend| resolve(backend, told));
    named().next()?;
    Some(if named().all(|backend| backend.is_resolved()) { AGAIN } else { AGAIN_SOON })
}

/// Resolves one name; says so where that changes anything.
fn resolve(backend: &Backend, told: &mut HashSet<String>) {
    let was_resolved = backend.is_resolved();
    let before = backend.addresses();
    let host = backend.address.host.as_str();
    match (host, backend.address.port).to_socket_addrs() {
        Ok(found) => {
            let mut addresses: Vec<Address> = found.map(Address::from).collect();
            addresses.sort_unstable();
            addresses.dedup();
            if before != addresses {
                info(format_args!("backend {}: {host} is {}", backend.authority, listed(&addresses)));
            }
            told.remove(&backend.authority);
            backend.resolved(&addresses);
        }
        Err(error) => {
            // What it resolved to before is worth more than nothing: a resolver that is down takes no backend with it.
            let state = if was_resolved { "its last addresses are kept" } else { "it is down until it does" };
            if told.insert(backend.authority.clone()) {
                info(format_args!(
                    "backend {}: {host} does not resolve: {error}; {state}",
                    backend.authority
                ));
            }
        }
    }
}

fn listed(addresses: &[Address]) -> String {
    let ips = addresses.iter().filter_map(Address::ip);
    let texts: Vec<String> = ips.map(|address| address.ip().to_string()).collect();
    if texts.is_empty() { String::from("nothing") } else { texts.join(", ") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;
    use crate::control::publish::first;

    #[test]
    fn nobody_waits_for_a_busy_resolver_without_a_name_to_ask_for() {
        let (orders, received) = mpsc::channel();
        let resolver = Resolver { orders };
        let version = |url: &str| {
            let text = format!("[[routes]]\nname = \"a\"\nbackends = [{{ url = \"{url}\" }}]\n");
            first(&config::parse(&text, "apex.toml").unwrap(), 1024)
        };
        resolver.resolve(&version("http://127.0.0.1:9001"));
        assert!(received.try_recv().is_err());
        std::thread::scope(|scope| {
            scope.spawn(|| resolver.resolve(&version("http://name:9001")));
            assert_eq!(received.recv().map(|order| order.backends.len()), Ok(1));
        });
    }
}
