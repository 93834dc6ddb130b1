//! The compiled table: host by hash, path by the depths at which prefixes of the host end. A look-up does not grow with the number of routes.
//!
//! Owns the routes of one file and the identity of their backends over reloads. Never changes once compiled, but for the
//! counts and addresses inside its backends.

use super::backend::{Backend, BackendId};
use super::balance::Pool;
use super::index::Index;
use super::pattern::{HostPattern, PathPrefix};
use super::policy::RoutePolicy;
use super::spec::{BackendAddress, RouteSpec};
use foldhash::fast::FixedState;
use std::collections::HashMap;
use std::num::NonZeroU32;
use std::sync::Arc;

/// Where a route stands in its table. Says nothing of the order of the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RouteId(pub u32);

/// One compiled route: what a request needs of it in one cache line, for where there are many routes each request waits for that of
/// its own.
#[derive(Debug)]
#[repr(align(64))]
pub struct Route {
    /// What people know it by.
    pub identity: Box<Identity>,
    /// Octets taken off the front of a path before it is sent (0 without `strip_prefix`).
    pub strip_bytes: usize,
    /// Limits and timeouts of its own, if it sets any.
    pub policy: Option<Arc<RoutePolicy>>,
    /// Its backends.
    pub pool: Pool,
}

/// What names a route: asked for where something is told of it, not on the way of a request.
#[derive(Debug)]
pub struct Identity {
    /// Its name.
    pub name: String,
    /// Which hosts it takes.
    pub host: HostPattern,
    /// Which paths it takes.
    pub path_prefix: PathPrefix,
    /// Its number in the order of the file, from 0.
    pub number: usize,
}

/// All routes, compiled. Immutable; published to the workers by a pointer swap.
#[derive(Debug)]
pub struct Table {
    /// The routes too: each beside the entry that leads to it.
    index: Index<Route>,
    /// Where they stand, in the order of the file.
    ids: Vec<u32>,
    /// Pools with more than one member, each of which a worker keeps a cursor for.
    cursors: u32,
    /// Each once, by address.
    backends: HashMap<BackendAddress, Arc<Backend>, FixedState>,
    /// By slot, the generation of the backend that has it.
    slots: Vec<Option<u32>>,
    /// The generation of backends that were new with this table: one more than the table before. A slot is given once a
    /// table, so that no slot sees a generation twice along a chain of tables (of fewer than 2^32 reloads).
    generation: u32,
}

impl Table {
    /// Compiles `specs` (which were checked: names unique, no two with the same host and prefix, each with a backend).
    /// Backends whose address stands in `previous` are taken over with their id, addresses and counts. The same address in
    /// several routes is one backend.
    ///
    /// Ids are told apart along one chain: `previous` is the table that was published last.
    pub fn compile(specs: &[RouteSpec], previous: Option<&Table>) -> Self {
        let generation = previous.map_or(0, |table| table.generation.wrapping_add(1));
        let mut free_slots = FreeSlots::beside(previous);
        let mut backends: HashMap<BackendAddress, Arc<Backend>, FixedState> = HashMap::default();
        let mut backend = |address: &BackendAddress| {
            if let Some(known) = backends.get(address) {
                return Arc::clone(known);
            }
            let kept = previous.and_then(|table| table.backends.get(address)).cloned();
            let backend = kept.unwrap_or_else(|| {
                let id = BackendId { slot: free_slots.take(), generation };
                Arc::new(Backend::new(id, address.clone()))
            });
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
        let slots = slots(backends.values().map(|backend| backend.id));
        Self { index, ids, cursors, backends, slots, generation }
    }

    /// The route that takes a request: most exact host, then longest prefix. `host` without port, any case; `path` without query.
    ///
    /// Both must match: where no prefix of the most exact host does, the routes of the next one are asked. Path elements are
    /// compared byte by byte, nothing is decoded, and an empty element (`//`) is an element.
    pub fn find(&self, host: Option<&[u8]>, path: &[u8]) -> Option<RouteId> {
        self.index.find(host, path).map(RouteId)
    }

    /// The route with that id. Ids are of this table alone.
    ///
    /// # Panics
    /// The id is of another table.
    pub fn route(&self, id: RouteId) -> &Route {
        let Some(route) = self.index.get(id.0) else { panic!("{id:?} is of another table") };
        route
    }

    /// All ids in the order of the file.
    pub fn ids(&self) -> impl ExactSizeIterator<Item = RouteId> {
        self.ids.iter().map(|&place| RouteId(place))
    }

    /// All routes in the order of the file.
    pub fn routes(&self) -> impl ExactSizeIterator<Item = &Route> {
        self.ids().map(|id| self.route(id))
    }

    /// Is there a backend with that id? No other table of the chain gives it to another one.
    pub fn has_backend(&self, id: BackendId) -> bool {
        self.slots.get(id.slot as usize).is_some_and(|&generation| generation == Some(id.generation))
    }

    /// How many cursors a worker keeps for it: the numbers in its pools go from 1 to this.
    pub fn cursors(&self) -> usize {
        self.cursors as usize
    }

    /// All backends, each once, in no order.
    pub fn backends(&self) -> impl ExactSizeIterator<Item = &Arc<Backend>> {
        self.backends.values()
    }
}

/// The generations of these ids, by slot.
fn slots(ids: impl Iterator<Item = BackendId>) -> Vec<Option<u32>> {
    let mut slots = Vec::new();
    for id in ids {
        let slot = id.slot as usize;
        if slot >= slots.len() {
            slots.resize(slot + 1, None);
        }
        slots[slot] = Some(id.generation);
    }
    slots
}

/// Gives the lowest slots that no backend of the table before has, not even of one that goes away with it: workers still
/// hold that table while the new one is published.
struct FreeSlots {
    taken: Vec<u32>,
    next: u32,
}

impl FreeSlots {
    fn beside(previous: Option<&Table>) -> Self {
        let mut taken: Vec<_> =
            previous.into_iter().flat_map(Table::backends).map(|backend| backend.id.slot).collect();
        taken.sort_unstable_by(|a, b| b.cmp(a));
        Self { taken, next: 0 }
    }

    fn take(&mut self) -> u32 {
        while self.taken.last() == Some(&self.next) {
            self.taken.pop();
            self.next += 1;
        }
        let slot = self.next;
        self.next += 1;
        slot
    }
}

#[cfg(test)]
mod tests {
    use super::super::reference::{Random, random_request, random_specs, reference, route, table};
    use super::*;
    use std::collections::HashSet;
    use std::sync::atomic::Ordering;

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
        shared.begin();
        shared.failed(77);

        let second = of_urls(&["http://name:3", "http://127.0.0.1:2", "http://127.0.0.1:9"], Some(&first));
        let members = &nth(&second, 0).pool.members;
        assert!(Arc::ptr_eq(&members[1].0, shared));
        assert_eq!(members[1].0.in_use.load(Ordering::Relaxed), 1);
        assert!(!members[1].0.is_usable(76));
        assert_eq!(members[0].0.id, nth(&first, 1).pool.members[1].0.id);
        // The slot of the backend that goes away (0) is not given while the table before may still be in use.
        assert_eq!(members[2].0.id, BackendId { slot: 3, generation: 1 });

        let third = of_urls(&["http://127.0.0.1:1", "http://127.0.0.1:9"], Some(&second));
        let members = &nth(&third, 0).pool.members;
        assert_eq!(members[0].0.id, BackendId { slot: 0, generation: 2 });
        assert_eq!(members[1].0.id, BackendId { slot: 3, generation: 1 });
    }

    #[test]
    fn ids_are_never_given_twice_along_a_chain() {
        let mut random = Random(7);
        let mut seen = HashSet::new();
        let mut table = of_urls(&["http://127.0.0.1:1"], None);
        let mut kept: HashSet<_> = table.backends().map(|backend| backend.id).collect();
        seen.extend(kept.iter().copied());
        for _ in 0..2_000 {
            let urls: Vec<_> =
                (0..=random.below(5)).map(|_| format!("http://127.0.0.1:{}", 1 + random.below(12))).collect();
            let urls: Vec<_> = urls.iter().map(String::as_str).collect();
            table = of_urls(&urls, Some(&table));
            let now: HashSet<_> = table.backends().map(|backend| backend.id).collect();
            for id in now.difference(&kept) {
                assert!(seen.insert(*id), "{id:?} was given before");
                assert!(id.slot < 12, "slots stay low: {id:?}");
            }
            let slots: HashSet<_> = now.iter().map(|id| id.slot).collect();
            assert_eq!(slots.len(), now.len(), "a slot has one backend");
            kept = now;
        }
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
