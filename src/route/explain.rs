//! The reasons for the choice of a route: the result of `--explain`, as values.
//!
//! Owns the reasons. Never chooses: the chosen route is the result of `Table::find`. Not used while requests
//! are served.

use super::pattern::HostPattern;
use super::table::{Route, RouteId, Table};
use std::cmp::Reverse;

/// The most routes that an explanation lists, for a human reader. A table of at most this many is listed
/// completely.
pub const LISTED_MAX: usize = 100;

/// The route of a request, and why others were not chosen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explanation {
    /// The chosen route; `None`: no route matches.
    pub chosen: Option<RouteId>,
    /// Routes that were not chosen, the nearest first, then in file order; at most [`LISTED_MAX`].
    pub passed_over: Vec<PassedOver>,
    /// The number of routes that were neither chosen nor listed.
    pub others: usize,
}

/// A route that was passed over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PassedOver {
    /// The route.
    pub route: RouteId,
    /// The reason.
    pub reason: Reason,
}

/// Why a route was passed over, from nearest to farthest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reason {
    /// Host and prefix match, but its prefix is shorter than that of the chosen route, which has the same
    /// host.
    ShorterPrefix,
    /// Host and prefix match, but its host is less exact than that of the chosen route.
    LessExactHost,
    /// Its host matches, its prefix does not.
    PrefixDiffers,
    /// Its prefix matches, its host does not.
    HostDiffers,
    /// Neither matches.
    HostAndPrefixDiffer,
}

impl Table {
    /// The route of a request (arguments as for [`Table::find`]), and why the others were passed over.
    ///
    /// In a table of more than [`LISTED_MAX`] routes, those that match neither in host nor in prefix are only
    /// counted.
    pub fn explain(&self, host: Option<&[u8]>, path: &[u8]) -> Explanation {
        let chosen = self.find(host, path);
        let chosen_host = chosen.map(|id| &self.route(id).identity.host);
        let mut passed_over: Vec<_> = self
            .ids()
            .zip(self.routes())
            .filter(|(id, _)| Some(*id) != chosen)
            .map(|(id, route)| PassedOver { route: id, reason: reason(route, chosen_host, host, path) })
            .collect();
        let all = passed_over.len();
        if self.routes().len() > LISTED_MAX {
            passed_over.retain(|one| one.reason != Reason::HostAndPrefixDiffer);
        }
        passed_over.sort_by_key(|one| {
            let route = self.route(one.route);
            // Matching routes come first, the next best at the top: the route that would be chosen without
            // the chosen one.
            let beaten = matches!(one.reason, Reason::ShorterPrefix | Reason::LessExactHost);
            let next_best =
                Reverse((route.identity.host.exactness(), route.identity.path_prefix.as_str().len()));
            (one.reason, beaten.then_some(next_best), route.identity.number)
        });
        passed_over.truncate(LISTED_MAX);
        let others = all - passed_over.len();
        Explanation { chosen, passed_over, others }
    }
}

/// Why `route` was not chosen.
fn reason(route: &Route, chosen_host: Option<&HostPattern>, host: Option<&[u8]>, path: &[u8]) -> Reason {
    match (route.identity.host.takes(host), route.identity.path_prefix.takes(path)) {
        (true, true) if chosen_host == Some(&route.identity.host) => Reason::ShorterPrefix,
        (true, true) => Reason::LessExactHost,
        (true, false) => Reason::PrefixDiffers,
        (false, true) => Reason::HostDiffers,
        (false, false) => Reason::HostAndPrefixDiffer,
    }
}

#[cfg(test)]
mod tests {
    use super::super::reference::{
        Random, host_matches, prefix_matches, random_request, random_specs, rank, reference, table,
    };
    use super::*;

    #[test]
    fn reasons_of_one_table() {
        let table = table(&[
            ("root", "*", "/"),
            ("api", "*", "/api"),
            ("wild", "*.example.com", "/api"),
            ("exact", "a.example.com", "/api/v1"),
            ("exact-root", "a.example.com", "/"),
            ("exact-other", "a.example.com", "/other"),
            ("other", "b.example.com", "/api"),
            ("far", "b.example.com", "/far"),
        ]);
        let explanation = table.explain(Some(b"a.example.com"), b"/api/v1/users");
        assert_eq!(explanation.chosen, table.ids().nth(3));
        assert_eq!(explanation.others, 0);
        let listed: Vec<_> = explanation
            .passed_over
            .iter()
            .map(|one| (table.route(one.route).identity.number, one.reason))
            .collect();
        assert_eq!(
            listed,
            [
                (4, Reason::ShorterPrefix),
                (2, Reason::LessExactHost),
                (1, Reason::LessExactHost),
                (0, Reason::LessExactHost),
                (5, Reason::PrefixDiffers),
                (6, Reason::HostDiffers),
                (7, Reason::HostAndPrefixDiffer),
            ]
        );
    }

    #[test]
    fn large_tables_list_what_nearly_matched() {
        let names: Vec<_> =
            (0..5_000).map(|n| (n.to_string(), format!("h{}", n / 5), format!("/p{}", n % 5))).collect();
        let rows: Vec<_> = names.iter().map(|(name, host, prefix)| (&**name, &**host, &**prefix)).collect();
        let table = table(&rows);
        let explanation = table.explain(Some(b"h7"), b"/p1");
        assert_eq!(explanation.chosen, table.ids().nth(36));
        assert_eq!(explanation.passed_over.len(), LISTED_MAX);
        assert_eq!(explanation.others, 5_000 - 1 - LISTED_MAX);
        assert!(explanation.passed_over[..4].iter().all(|one| one.reason == Reason::PrefixDiffers));
        assert!(explanation.passed_over[4..].iter().all(|one| one.reason == Reason::HostDiffers));
        let nothing = table.explain(None, b"/none");
        assert_eq!(nothing, Explanation { chosen: None, passed_over: Vec::new(), others: 5_000 });
    }

    #[test]
    fn reasons_agree_with_the_reference() {
        for seed in 1..=1_000 {
            let mut random = Random(seed);
            let specs = random_specs(&mut random);
            let table = Table::compile(&specs, None);
            for _ in 0..10 {
                let (host, path) = random_request(&mut random);
                let explanation = table.explain(host.as_deref().map(str::as_bytes), path.as_bytes());
                let chosen = reference(&specs, host.as_deref(), &path);
                let number = |id| table.route(id).identity.number;
                assert_eq!(explanation.chosen.map(number), chosen);
                assert_eq!(explanation.passed_over.len() + usize::from(chosen.is_some()), specs.len());
                for one in &explanation.passed_over {
                    let index = number(one.route);
                    assert_ne!(Some(index), chosen);
                    let pattern = specs[index].host.to_string();
                    let prefix = specs[index].path_prefix.to_string();
                    let taken = (host_matches(&pattern, host.as_deref()), prefix_matches(&prefix, &path));
                    let expected = match taken {
                        (false, false) => Reason::HostAndPrefixDiffer,
                        (false, true) => Reason::HostDiffers,
                        (true, false) => Reason::PrefixDiffers,
                        (true, true) => {
                            let best = &specs[chosen.unwrap()];
                            if rank(&pattern) < rank(&best.host.to_string()) {
                                Reason::LessExactHost
                            } else {
                                assert!(prefix.len() < best.path_prefix.to_string().len());
                                Reason::ShorterPrefix
                            }
                        }
                    };
                    assert_eq!(one.reason, expected, "seed {seed}: {host:?} {path} {pattern}{prefix}");
                }
            }
        }
    }
}
