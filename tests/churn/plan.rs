//! What each version of the file says: routes, backends, balancing and addresses, all of them others than in the version before.
//! From the number of a version everything follows, so that an answer can be judged by the version that gave it.

use std::fmt::Write as _;
use std::net::SocketAddr;

/// Addresses beside the one that stays. Each is in two versions of so many.
pub const EXTRAS: usize = 12;

/// Versions after which the oldest backend goes and another one comes.
const GENERATION: usize = 4;

/// Backends of a generation.
const LIVING: usize = 3;

/// Routes that are in about every second version.
pub const CHANCE_ROUTES: usize = 6;

/// A route of one version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    pub name: String,
    pub prefix: String,
    pub strips: bool,
    pub balancing: &'static str,
    /// Numbers of backends, with their weights.
    pub backends: Vec<(usize, usize)>,
}

/// Numbers of the backends that version `v` may name.
pub fn living(v: usize) -> [usize; LIVING] {
    std::array::from_fn(|index| v / GENERATION + index)
}

/// The last version that names backend `number`.
pub fn last_version_of(number: usize) -> usize {
    number * GENERATION + GENERATION - 1
}

/// The routes of version `v`: one for the load, which is always there, and some that come and go.
pub fn routes(v: usize) -> Vec<Route> {
    const BALANCINGS: [&str; 3] = ["round_robin", "least_connections", "random"];
    let living = living(v);
    let left_out = v % GENERATION;
    let named = living.iter().enumerate().filter(|(index, _)| *index != left_out);
    let load = Route {
        name: format!("load-{v}"),
        prefix: String::from("/w"),
        strips: false,
        balancing: BALANCINGS[v % BALANCINGS.len()],
        backends: named.map(|(index, &number)| (number, 1 + (v + index) % 3)).collect(),
    };
    let by_chance = (0..CHANCE_ROUTES).filter(|&k| is_there(v, k)).map(|k| Route {
        name: format!("route-{k}"),
        prefix: format!("/r{k}"),
        strips: (v + k).is_multiple_of(3),
        balancing: "round_robin",
        backends: vec![(living[(v + k) % LIVING], 1)],
    });
    std::iter::once(load).chain(by_chance).collect()
}

/// Is the route `/rK` in version `v`?
pub fn is_there(v: usize, k: usize) -> bool {
    // The top bits of a product by the golden ratio are as good as chance.
    let mixed = (v as u64 * 64 + k as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    mixed >> 63 == 0
}

/// The route of version `v` that takes this target.
pub fn route_of(v: usize, target: &str) -> Option<Route> {
    let under = |prefix: &str| target.strip_prefix(prefix).is_some_and(|rest| rest.starts_with('/'));
    routes(v).into_iter().find(|route| under(&route.prefix))
}

/// Is the extra address with that index in version `v`?
pub fn listens(v: usize, extra: usize) -> bool {
    v % EXTRAS == extra || (v + 1) % EXTRAS == extra
}

/// The file of version `v` for Apex. `Via` tells backends which version a request was sent by.
pub fn file(v: usize, listen: &[SocketAddr], keys: &str, backend: impl Fn(usize) -> SocketAddr) -> String {
    let listen: Vec<_> = listen.iter().map(|address| format!("\"{address}\"")).collect();
    let mut text = format!(
        "[server]\nlisten = [{}]\nworkers = 2\naccess_log = false\nvia = \"v{v}\"\nbackend_idle_timeout_secs = 600\n{keys}\n",
        listen.join(", ")
    );
    for route in routes(v) {
        let backends: Vec<_> = route
            .backends
            .iter()
            .map(|&(number, weight)| format!("{{ url = \"http://{}\", weight = {weight} }}", backend(number)))
            .collect();
        let _ = write!(
            text,
            "[[routes]]\nname = \"{}\"\npath_prefix = \"{}\"\nstrip_prefix = {}\nload_balancing = \"{}\"\nbackends = [{}]\n",
            route.name,
            route.prefix,
            route.strips,
            route.balancing,
            backends.join(", ")
        );
    }
    text
}
