//! Look-up of a route, and of what stands there, among 10, 1,000 and 100,000, and the choice of a backend. Run: `cargo bench --bench route`.
//!
//! `hot` asks for the same 16 requests again and again, as most traffic does: it shows the work of a look-up. `spread` asks for
//! all routes of the table evenly, in no order: it shows the cache misses of a large table besides.

use apex::base::Tick;
use apex::route::backend::Backend;
use apex::route::balance::{Cursor, Pool};
use apex::route::pattern::{HostPattern, PathPrefix};
use apex::route::spec::{BackendAddress, BackendSpec, Balancing, RouteSpec};
use apex::route::table::Table;
use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use std::hint::black_box;
use std::sync::Arc;

/// Prefixes of a host.
const PREFIXES: usize = 10;
/// Requests that a `spread` run asks in turn; their text lies in one run of memory in that order.
const SPREAD_REQUESTS: usize = 200_000;

fn host_of(route: usize) -> String {
    format!("shop-{}.example.com", route / PREFIXES)
}

fn prefix_of(route: usize) -> String {
    format!("/api/v{}/orders", route % PREFIXES)
}

fn spec(route: usize, host: &str, prefix: &str) -> RouteSpec {
    RouteSpec {
        name: route.to_string(),
        host: HostPattern::parse(host).expect("a pattern"),
        path_prefix: PathPrefix::parse(prefix).expect("a prefix"),
        strip_prefix: false,
        balancing: Balancing::RoundRobin,
        policy: None,
        backends: vec![BackendSpec {
            address: BackendAddress::Tcp { host: "127.0.0.1".to_owned(), port: 9001 },
            weight: 1,
        }],
    }
}

/// Ten prefixes a host.
fn by_host(routes: usize) -> Vec<RouteSpec> {
    (0..routes).map(|route| spec(route, &host_of(route), &prefix_of(route))).collect()
}

/// All under any host, so that one node has all the edges.
fn by_path(routes: usize) -> Vec<RouteSpec> {
    (0..routes).map(|route| spec(route, "*", &format!("/service-{route}/api"))).collect()
}

/// Requests in one run of memory, as `(start, end of host, end of path)`.
struct Requests {
    text: Vec<u8>,
    ends: Vec<(usize, usize, usize)>,
}

impl Requests {
    /// For the routes in the order of `picks`.
    fn new(specs: &[RouteSpec], picks: impl Iterator<Item = usize>) -> Self {
        let (mut text, mut ends) = (Vec::new(), Vec::new());
        for route in picks {
            let start = text.len();
            match &specs[route].host {
                HostPattern::Exact(name) => text.extend(name.bytes()),
                HostPattern::Wildcard(name) => text.extend(format!("www.{name}").bytes()),
                HostPattern::Any => text.extend(b"shop.example.com"),
            }
            let host_end = text.len();
            text.extend(specs[route].path_prefix.as_str().bytes());
            text.extend(b"/4711/items");
            ends.push((start, host_end, text.len()));
        }
        Self { text, ends }
    }

    fn get(&self, turn: usize) -> (&[u8], &[u8]) {
        let (start, host_end, end) = self.ends[turn];
        (&self.text[start..host_end], &self.text[host_end..end])
    }
}

/// A route number in no order, the same in each run.
fn scattered(turn: usize, routes: usize) -> usize {
    turn.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_right(32) % routes
}

fn look_up(criterion: &mut Criterion, name: &str, routes: usize, specs: &[RouteSpec]) {
    let table = Table::compile(specs, None);
    for (way, count) in [("hot", 16), ("spread", SPREAD_REQUESTS)] {
        let requests = Requests::new(specs, (0..count).map(|turn| scattered(turn, routes)));
        let mut group = criterion.benchmark_group(format!("route/{name}/{way}"));
        let mut turn = 0;
        group.bench_function(BenchmarkId::from_parameter(routes), |bencher| {
            bencher.iter(|| {
                let (host, path) = requests.get(turn);
                turn = if turn + 1 == count { 0 } else { turn + 1 };
                // What a request asks first of its route is part of finding it.
                let id = table.find(Some(black_box(host)), black_box(path));
                black_box(id.map(|id| table.route(id).strip_bytes))
            });
        });
    }
}

fn find(criterion: &mut Criterion) {
    for routes in [10, 1_000, 100_000] {
        look_up(criterion, "exact", routes, &by_host(routes));
        look_up(criterion, "any", routes, &by_path(routes));
        let wildcards: Vec<_> = (0..routes)
            .map(|route| spec(route, &format!("*.{}", host_of(route)), &prefix_of(route)))
            .collect();
        look_up(criterion, "wildcard", routes, &wildcards);
    }
}

fn compile(criterion: &mut Criterion) {
    let specs = by_host(100_000);
    let mut group = criterion.benchmark_group("route/compile");
    group.sample_size(10);
    group.bench_function("100000", |bencher| bencher.iter(|| Table::compile(black_box(&specs), None)));
}

fn choose(criterion: &mut Criterion) {
    let ids = Arc::default();
    let member = |port| {
        let address = BackendAddress::Tcp { host: "127.0.0.1".to_owned(), port };
        Arc::new(Backend::new(address, &ids))
    };
    for (name, balancing, weights) in [
        ("round_robin/equal", Balancing::RoundRobin, [1, 1, 1, 1]),
        ("round_robin/weighted", Balancing::RoundRobin, [4, 3, 2, 1]),
        ("least_connections", Balancing::LeastConnections, [1, 1, 1, 1]),
        ("random", Balancing::Random, [4, 3, 2, 1]),
    ] {
        let members = (1..).zip(weights).map(|(port, weight)| (member(port), weight)).collect();
        let pool = Pool::new(balancing, members);
        let mut cursor = Cursor::default();
        let mut random = 1_u64;
        criterion.bench_function(&format!("route/choose/{name}"), |bencher| {
            bencher.iter(|| {
                random = random.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
                let choice = pool.choose(&mut cursor, random, &[], black_box(Tick(1)));
                choice.map(|choice| choice.member)
            });
        });
    }
}

criterion_group!(benches, find, compile, choose);
criterion_main!(benches);
