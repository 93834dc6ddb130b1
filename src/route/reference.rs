//! The reference for tests of the table: the rules of matching, written a second time as plainly as possible,
//! and the source of pseudo-random tables and requests. Shares no code with the table but the parsing of
//! patterns.

use super::pattern::{HostPattern, PathPrefix};
use super::spec::{BackendAddress, BackendSpec, Balancing, RouteSpec};
use super::table::Table;
use std::collections::HashSet;

/// xorshift64*: a seed replays a run.
pub(super) struct Random(pub(super) u64);

impl Random {
    pub(super) fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    pub(super) fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() >> 33).unwrap() % bound
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }
}

/// A route with defaults.
pub(super) fn route(name: &str, host: &str, prefix: &str, urls: &[&str]) -> RouteSpec {
    RouteSpec {
        name: name.to_owned(),
        host: HostPattern::parse(host).unwrap(),
        path_prefix: PathPrefix::parse(prefix).unwrap(),
        strip_prefix: false,
        balancing: Balancing::RoundRobin,
        policy: None,
        backends: urls
            .iter()
            .map(|url| BackendSpec { address: BackendAddress::parse_url(url).unwrap(), weight: 1 })
            .collect(),
    }
}

/// A table of `(name, host, prefix)`.
pub(super) fn table(routes: &[(&str, &str, &str)]) -> Table {
    let specs: Vec<_> = routes
        .iter()
        .map(|(name, host, prefix)| route(name, host, prefix, &["http://127.0.0.1:1"]))
        .collect();
    Table::compile(&specs, None)
}

/// Whether the host matches, by lists of labels.
pub(super) fn host_matches(pattern: &str, host: Option<&str>) -> bool {
    if pattern == "*" {
        return true;
    }
    let Some(host) = host else { return false };
    let host = host.strip_suffix('.').unwrap_or(host).to_lowercase();
    let labels: Vec<_> = host.split('.').collect();
    match pattern.strip_prefix("*.") {
        None => pattern == host,
        Some(name) => {
            let name: Vec<_> = name.split('.').collect();
            let before = labels.len().saturating_sub(name.len());
            before > 0 && labels.ends_with(&name) && labels[..before] != [""]
        }
    }
}

/// Whether the prefix matches, by lists of elements.
pub(super) fn prefix_matches(prefix: &str, path: &str) -> bool {
    let wanted: Vec<_> = prefix.split('/').skip(1).filter(|_| prefix != "/").collect();
    let elements: Vec<_> = path.split('/').skip(1).collect();
    wanted.is_empty() || (path.starts_with('/') && elements.starts_with(&wanted))
}

/// The specificity of a host: kind, then length.
pub(super) fn rank(pattern: &str) -> (u8, usize) {
    match pattern {
        "*" => (0, 0),
        wildcard if wildcard.starts_with("*.") => (1, wildcard.len()),
        exact => (2, exact.len()),
    }
}

/// The index of the matching route, by trying all.
pub(super) fn reference(specs: &[RouteSpec], host: Option<&str>, path: &str) -> Option<usize> {
    (0..specs.len())
        .filter(|&index| host_matches(&specs[index].host.to_string(), host))
        .filter(|&index| prefix_matches(&specs[index].path_prefix.to_string(), path))
        .max_by_key(|&index| {
            let spec = &specs[index];
            (rank(&spec.host.to_string()), spec.path_prefix.as_str().len())
        })
}

/// Up to thirty routes over few labels and elements, so that many of them overlap.
pub(super) fn random_specs(random: &mut Random) -> Vec<RouteSpec> {
    let mut seen = HashSet::new();
    let mut specs = Vec::new();
    for number in 0..random.below(30) {
        let labels: Vec<_> = (0..=random.below(3)).map(|_| random.pick(&["a", "b", "cc"])).collect();
        let host = match random.below(4) {
            0 => "*".to_owned(),
            1 | 2 => format!("*.{}", labels.join(".")),
            _ => labels.join("."),
        };
        let elements: Vec<_> = (0..random.below(4)).map(|_| random.pick(&["x", "y", "xy", ""])).collect();
        let prefix = format!("/{}", elements.join("/"));
        let prefix = if prefix.ends_with("//") { format!("{prefix}x") } else { prefix };
        let spec = route(&number.to_string(), &host, &prefix, &["http://127.0.0.1:1"]);
        if seen.insert((spec.host.clone(), spec.path_prefix.clone())) {
            specs.push(spec);
        }
    }
    specs
}

/// A host (or none) and a path over the same labels and elements, and some that are in no table.
pub(super) fn random_request(random: &mut Random) -> (Option<String>, String) {
    let labels: Vec<_> =
        (0..=random.below(5)).map(|_| random.pick(&["a", "b", "cc", "A", "Cc", "d", ""])).collect();
    let dot = random.pick(&["", "", "."]);
    let host = (random.below(8) > 0).then(|| format!("{}{dot}", labels.join(".")));
    let elements: Vec<_> =
        (0..random.below(6)).map(|_| random.pick(&["x", "y", "xy", "", "z", "X"])).collect();
    let slash = random.pick(&["/", "/", "/", "/", "/", ""]);
    (host, format!("{slash}{}", elements.join("/")))
}
