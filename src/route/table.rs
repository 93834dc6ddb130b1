//! The compiled table: hosts by hash, paths by the depths at which a host's prefixes end. A lookup does not
//! grow with the number of routes.
//!
//! Owns the routes of one file and the identity of their backends across reloads. Never changes once
//! compiled, except for the endpoints inside its backends.

use super::backend::Backend;
use super::balance::Pool;
use super::endpoint::EndpointIds;
use super::index::Index;
use super::pattern::{HostPattern, PathPrefix};
use super::policy::RoutePolicy;
use super::spec::{BackendAddress, RouteSpec};
use foldhash::fast::FixedState;
use std::collections::HashMap;
use std::num::NonZeroU32;
use std::sync::Arc;

/// The place of a route in its table. Independent of the order of the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RouteId(pub u32);

/// One compiled route. All that a request needs of it is in one cache line: with many routes, each request
/// waits for the memory of its own.
#[derive(Debug)]
#[repr(align(64))]
pub struct Route {
    /// Its name and patterns, for human readers.
    pub identity: Box<Identity>,
    /// Octets to remove from the front of a path before forwarding (0 without `strip_prefix`).
    pub strip_bytes: usize,
    /// Its own limits and timeouts, if it sets any.
    pub policy: Option<Arc<RoutePolicy>>,
    /// Its backends.
    pub pool: Pool,
}

/// The name and patterns of a route: needed for messages, not on the path of a request.
#[derive(Debug)]
pub struct Identity {
    /// Its name.
    pub name: String,
    /// The hosts that it matches.
    pub host: HostPattern,
    /// The paths that it matches.
    pub path_prefix: PathPrefix,
    /// Its index in the order of the file, from 0.
    pub number: usize,
}

/// All routes, compiled. Immutable; published to the workers by a pointer swap.
#[derive(Debug)]
pub struct Table {
    /// The index with the routes inside, each next to the entry that leads to it.
    index: Index<Route>,
    /// The places of the routes, in file order.
    ids: Vec<u32>,
    /// The number of pools with more than one member; a worker keeps a cursor for each.
    cursors: u32,
    /// The backends, one for each address.
    backends: HashMap<BackendAddress, Arc<Backend>, FixedState>,
    /// The source of endpoint ids: the same along a chain of tables.
    endpoint_ids: Arc<EndpointIds>,
}

impl Table {
    /// Compiles `specs` (already checked: names unique, no two with the same host and prefix, each with a
    /// backend). A backend whose address is in `previous` is taken over with its endpoints. The same address
    /// in several routes is one backend.
    ///
    /// Endpoint ids are unique along one chain: `previous` must be the table published last.
    pub fn compile(specs: &[RouteSpec], previous: Option<&Table>) -> Self {
        let endpoint_ids = previous.map_or_else(Arc::default, |table| Arc::clone(&table.endpoint_ids));
        let mut backends: HashMap<BackendAddress, Arc<Backend>, FixedState> = HashMap::default();
        let mut backend = |address: &BackendAddress| {
            if let Some(known) = backends.get(address) {
                return Arc::clone(known);
            }
            let kept = previous.and_then(|table| table.backends.get(address)).cloned();
            let backend = kept.unwrap_or_else(|| Arc::new(Backend::new(address.clone(), &endpoint_ids)));
            backends.insert(address.clone(), Arc::clone(&backend));
            backend
        };
        let mut cursors = 0;
        let mut pool = |balancing, members: Vec<_>| {
            let mut pool = Pool::new(balancing, members);
            if pool.members.len() > 1 {
                cursors += 1;
                pool.cursor = NonZeroU32::new(cursors);
            }
            pool
        };
        let routes: Vec<_> = specs
            .iter()
            .enumerate()
            .map(|(number, spec)| Route {
                identity: Box::new(Identity {
                    number,
                    name: spec.name.clone(),
                    host: spec.host.clone(),
                    path_prefix: spec.path_prefix.clone(),
                }),
                strip_bytes: if spec.strip_prefix { spec.path_prefix.as_str().len() } else { 0 },
                policy: spec.policy.clone(),
                pool: pool(
                    spec.balancing,
                    spec.backends.iter().map(|each| (backend(&each.address), each.weight)).collect(),
                ),
            })
            .collect();
        let patterns: Vec<_> = specs.iter().map(|spec| (&spec.host, &spec.path_prefix)).collect();
        let (index, ids) = Index::compile(&patterns, routes);
        Self { index, ids, cursors, backends, endpoint_ids }
    }

    /// The route of a request: most specific host, then longest prefix. `host` without port, any case; `path`
    /// without query.
    ///
    /// Both must match: if no prefix of the most specific host does, the routes of the next host are tried.
    /// Path elements are compared octet by octet, nothing is decoded, and an empty element (`//`) is an
    /// element.
    pub fn find(&self, host: Option<&[u8]>, path: &[u8]) -> Option<RouteId> {
        self.index.find(host, path).map(RouteId)
    }

    /// The route with that id. An id is valid in its own table only.
    ///
    /// # Panics
    /// If the id belongs to another table.
    pub fn route(&self, id: RouteId) -> &Route {
        let Some(route) = self.index.get(id.0) else { panic!("{id:?} is of another table") };
        route
    }

    /// All ids, in file order.
    pub fn ids(&self) -> impl ExactSizeIterator<Item = RouteId> {
        self.ids.iter().map(|&place| RouteId(place))
    }

    /// All routes, in file order.
    pub fn routes(&self) -> impl ExactSizeIterator<Item = &Route> {
        self.ids().map(|id| self.route(id))
    }

    /// This table replaces `previous`: retires what only `previous` names, so that workers close those idle
    /// connections and keep no others.
    pub fn retire_others(&self, previous: &Table) {
        for (address, backend) in &previous.backends {
            if !self.backends.get(address).is_some_and(|kept| Arc::ptr_eq(kept, backend)) {
                backend.retire();
            }
        }
    }

    /// Changes whenever an endpoint of a table of the chain is retired.
    pub fn endpoints_retired(&self) -> u32 {
        self.endpoint_ids.retired()
    }

    /// The number of cursors that a worker keeps for this table: its pools are numbered from 1 to this.
    pub fn cursors(&self) -> usize {
        self.cursors as usize
    }

    /// All backends, each once, in no order.
    pub fn backends(&self) -> impl ExactSizeIterator<Item = &Arc<Backend>> {
        self.backends.values()
    }
}

#[cfg(test)]
mod tests {
    use super::super::balance::Cursor;
    use super::super::reference::{Random, random_request, random_specs, reference, route, table};
    use super::super::spec::Balancing;
    use super::*;
    use crate::base::Tick;
    use std::net::SocketAddr;

    #[test]
    fn golden_look_ups() {
        let table = table(&[
            ("root", "*", "/"),
            ("any-api", "*", "/api"),
            ("any-deep", "*", "/only/any"),
            ("exact-api", "a.example.com", "/api"),
            ("exact-v1", "a.example.com", "/api/v1"),
            ("wild", "*.example.com", "/w"),
            ("wild-api", "*.example.com", "/api"),
            ("wild-long", "*.b.example.com", "/w"),
            ("self", "example.com", "/"),
            ("six", "[::1]", "/"),
            ("empty", "*", "/x//y"),
        ]);
        for (host, path, expected) in [
            (None, "/", "root"),
            (None, "*", "root"),
            (None, "", "root"),
            (None, "/api", "any-api"),
            (None, "/api/", "any-api"),
            (None, "/apix", "root"),
            (None, "//api", "root"),
            (None, "/API", "root"),
            (None, "/%61pi", "root"),
            (None, "/x//y/z", "empty"),
            (None, "/x/y", "root"),
            (None, "/x//", "root"),
            (Some("a.example.com"), "/api/v1/users", "exact-v1"),
            (Some("A.Example.COM."), "/api/v1", "exact-v1"),
            (Some("a.example.com"), "/api/v10", "exact-api"),
            (Some("a.example.com"), "/w", "wild"),
            (Some("a.example.com"), "/only/any", "any-deep"),
            (Some("a.example.com"), "/", "root"),
            (Some("x.example.com"), "/api/v1", "wild-api"),
            (Some("x.b.example.com"), "/w", "wild-long"),
            (Some("y.x.b.example.com"), "/w/", "wild-long"),
            (Some("b.example.com"), "/w", "wild"),
            (Some("x.b.example.com"), "/api", "wild-api"),
            (Some(".example.com"), "/w", "root"),
            (Some("example.com"), "/w", "self"),
            (Some("[0:0:0:0:0:0:0:1]"), "/", "six"),
            (Some(""), "/api", "any-api"),
            (Some("."), "/api", "any-api"),
        ] {
            let found = table
                .find(host.map(str::as_bytes), path.as_bytes())
                .map(|id| &*table.route(id).identity.name);
            assert_eq!(found, Some(expected), "{host:?} {path}");
        }
    }

    #[test]
    fn a_route_is_one_cache_line() {
        assert_eq!(size_of::<Route>(), 64);
    }

    #[test]
    fn only_pools_with_a_choice_have_a_cursor() {
        let urls = ["http://127.0.0.1:1", "http://127.0.0.1:2"];
        let counts = [1, 2, 1, 2];
        let specs: Vec<_> = ["a", "b", "c", "d"]
            .iter()
            .zip(counts)
            .map(|(host, count)| route(host, host, "/", &urls[..count]))
            .collect();
        let table = Table::compile(&specs, None);
        let cursors: Vec<_> = table.routes().map(|route| route.pool.cursor.map(NonZeroU32::get)).collect();
        assert_eq!((table.cursors(), &cursors[..]), (2, &[None, Some(1), None, Some(2)][..]));
    }

    #[test]
    fn nothing_matches() {
        let none = table(&[]);
        assert_eq!(none.find(None, b"/"), None);
        let one = table(&[("one", "a", "/x")]);
        for (host, path) in [(None, "/x"), (Some("b"), "/x"), (Some("a"), "/"), (Some("a"), "/xy")] {
            assert_eq!(one.find(host.map(str::as_bytes), path.as_bytes()), None);
        }
    }

    #[test]
    fn find_agrees_with_a_linear_search() {
        for seed in 1..=3_000 {
            let mut random = Random(seed);
            let specs = random_specs(&mut random);
            let table = Table::compile(&specs, None);
            for _ in 0..30 {
                let (host, path) = random_request(&mut random);
                let found = table.find(host.as_deref().map(str::as_bytes), path.as_bytes());
                let expected = reference(&specs, host.as_deref(), &path);
                assert_eq!(
                    found.map(|id| table.route(id).identity.number),
                    expected,
                    "seed {seed}: {host:?} {path}"
                );
            }
        }
    }

    #[test]
    fn strip_bytes_follow_the_prefix() {
        let mut spec = route("a", "*", "/api/", &["http://127.0.0.1:1"]);
        assert_eq!(nth(&Table::compile(&[spec.clone()], None), 0).strip_bytes, 0);
        spec.strip_prefix = true;
        assert_eq!(nth(&Table::compile(&[spec], None), 0).strip_bytes, 4);
    }

    fn nth(table: &Table, number: usize) -> &Route {
        table.routes().nth(number).unwrap()
    }

    fn of_urls(urls: &[&str], previous: Option<&Table>) -> Table {
        Table::compile(&[route("a", "*", "/", urls)], previous)
    }

    #[test]
    fn backends_are_kept_over_reloads() {
        let specs = [
            route("a", "a", "/", &["http://127.0.0.1:1", "http://127.0.0.1:2"]),
            route("b", "b", "/", &["http://127.0.0.1:2", "http://name:3"]),
        ];
        let first = Table::compile(&specs, None);
        assert_eq!(first.backends().len(), 3);
        let shared = &nth(&first, 0).pool.members[1].0;
        assert!(Arc::ptr_eq(shared, &nth(&first, 1).pool.members[0].0));

        let second = of_urls(&["http://name:3", "http://127.0.0.1:2", "http://127.0.0.1:9"], Some(&first));
        let members = &nth(&second, 0).pool.members;
        assert!(Arc::ptr_eq(&members[1].0, shared));
        assert!(Arc::ptr_eq(&members[0].0, &nth(&first, 1).pool.members[1].0));
        assert!(!Arc::ptr_eq(&members[2].0, &nth(&first, 0).pool.members[0].0));
    }

    #[test]
    fn endpoints_of_backends_that_went_are_retired() {
        let first = of_urls(&["http://127.0.0.1:1", "http://127.0.0.1:2", "http://name:3"], None);
        for (backend, _) in nth(&first, 0).pool.members.iter() {
            backend.resolved(&["10.0.0.1:3".parse::<SocketAddr>().unwrap().into()]);
        }
        let second = of_urls(&["http://127.0.0.1:2", "http://127.0.0.1:4"], Some(&first));
        let is_retired = |table: &Table| -> Vec<bool> {
            let members = nth(table, 0).pool.members.iter();
            let any = |backend| Pool::new(Balancing::Random, vec![(backend, 1)]);
            members
                .map(|(backend, _)| {
                    let pool = any(Arc::clone(backend));
                    let choice = pool.choose(&mut Cursor::default(), 0, &[], Tick(0)).unwrap();
                    choice.endpoint.is_retired()
                })
                .collect()
        };
        assert_eq!(is_retired(&first), [false; 3], "before it is in force");
        let before = second.endpoints_retired();
        second.retire_others(&first);
        assert_eq!(is_retired(&first), [true, false, true]);
        assert_eq!(is_retired(&second), [false; 2]);
        assert_ne!(second.endpoints_retired(), before, "workers are told");
        // A backend that comes back is another one, with other endpoints.
        let third = of_urls(&["http://127.0.0.1:1"], Some(&second));
        third.retire_others(&second);
        assert_eq!(is_retired(&third), [false]);
    }

    #[test]
    fn a_hundred_thousand_routes() {
        let specs: Vec<_> = (0..100_000)
            .map(|n| {
                let backend = format!("http://10.{}.{}.1:9001", n / 256 % 256, n % 256);
                route(
                    &n.to_string(),
                    &format!("h{}.example.com", n / 10),
                    &format!("/p{}", n % 10),
                    &[&backend],
                )
            })
            .collect();
        let first = Table::compile(&specs, None);
        let second = Table::compile(&specs, Some(&first));
        for n in (0..100_000).step_by(997) {
            let (host, path) = (format!("h{}.example.com", n / 10), format!("/p{}/x", n % 10));
            let found = second.find(Some(host.as_bytes()), path.as_bytes());
            assert_eq!(found.map(|id| second.route(id).identity.number), Some(n));
        }
    }
}
