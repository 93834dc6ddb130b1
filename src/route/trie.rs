//! Hosts and path elements as one trie, all its edges in one flat hash table.
//!
//! An edge leads from a node by a label (a host, the name of a wildcard, or one path element) to the next node. Three nodes
//! are there from the start: one that all exact hosts leave from, one for the names of wildcards, and the node of any-host
//! routes, where their paths begin. A look-up takes one probe for an edge, so that it does not grow with the number of routes.
//!
//! Two choices keep a probe to one cache line and let the processor fetch the next while it waits for this one: a slot is one
//! line with its label inside, and the hash of an edge is made from the hashes of the labels before it alone, so that no
//! address depends on what an earlier slot holds. Never allocates in a look-up; knows routes by number only.

use super::pattern::{HostPattern, PathPrefix, with_normal_host};
use foldhash::fast::FixedState;
use memchr::{memchr, memchr_iter};
use std::collections::HashMap;
use std::hash::{BuildHasher, Hasher};

/// Stands for "no route" and "no node": tables hold fewer than 2^32 routes and edges.
const NONE: u32 = u32::MAX;
/// Labels up to this many octets stand in their slot; this makes a slot 64 octets, one cache line.
const INLINE_BYTES: usize = 46;

/// A node, the hash of the labels that led to it, and what is known of it without another probe.
#[derive(Debug, Clone, Copy)]
struct Place {
    hash: u64,
    node: u32,
    /// The route whose host and prefix end here, or `NONE`.
    route: u32,
    /// Nothing leaves from here, so that no probe is needed to know.
    leaf: bool,
}

/// Where the hashes of the three first nodes begin: any three numbers do.
const EXACT: Place = Place { hash: 1, node: 0, route: NONE, leaf: true };
const WILDCARD: Place = Place { hash: 2, node: 1, route: NONE, leaf: true };
const ANY: Place = Place { hash: 3, node: 2, route: NONE, leaf: true };

#[derive(Debug)]
enum Label {
    Inline { length: u8, octets: [u8; INLINE_BYTES] },
    Boxed(Box<[u8]>),
}

/// One edge.
#[derive(Debug)]
#[repr(align(64))]
struct Slot {
    label: Label,
    /// The node that the edge leaves; `NONE`: the slot is free.
    parent: u32,
    node: u32,
    route: u32,
    leaf: bool,
}

/// The compiled form. Immutable.
#[derive(Debug)]
pub(super) struct Trie {
    /// Open addressing with linear probing; a third is free, so that every probe ends.
    slots: Box<[Slot]>,
    exact: Place,
    wildcard: Place,
    any: Place,
    /// Labels of the longest wildcard: longer ends of a host are not looked up.
    wildcard_labels_max: usize,
}

impl Label {
    fn new(octets: &[u8]) -> Self {
        let mut inline = [0; INLINE_BYTES];
        match (inline.get_mut(..octets.len()), u8::try_from(octets.len())) {
            (Some(place), Ok(length)) => {
                place.copy_from_slice(octets);
                Self::Inline { length, octets: inline }
            }
            _ => Self::Boxed(octets.into()),
        }
    }

    fn octets(&self) -> &[u8] {
        match self {
            Self::Inline { length, octets } => octets.get(..usize::from(*length)).unwrap_or_default(),
            Self::Boxed(octets) => octets,
        }
    }
}

impl Trie {
    /// Compiles the routes, numbered in their order. Of two with the same host and prefix the first is held.
    pub(super) fn compile<'a>(routes: impl Iterator<Item = (&'a HostPattern, &'a PathPrefix)>) -> Self {
        let mut build = Build::default();
        for (route, (host, prefix)) in (0..NONE).zip(routes) {
            build.add(host, prefix, route);
        }
        build.finish()
    }

    /// The number of the route that takes a request; see `Table::find`.
    pub(super) fn find(&self, host: Option<&[u8]>, path: &[u8]) -> Option<u32> {
        if self.exact.leaf && self.wildcard.leaf {
            return self.longest_prefix(self.any, path);
        }
        with_normal_host(host, |host| {
            host.and_then(|host| self.find_named(host, path)).or_else(|| self.longest_prefix(self.any, path))
        })
    }

    /// Among the routes that name `host`, exactly or by a wildcard.
    fn find_named(&self, host: &[u8], path: &[u8]) -> Option<u32> {
        let exact = self.step(self.exact, host).and_then(|place| self.longest_prefix(place, path));
        if exact.is_some() || self.wildcard.leaf {
            return exact;
        }
        // The longest wildcard leaves the fewest labels to its star, so that the ends of the host are tried from the left.
        let mut labels = memchr_iter(b'.', host).count();
        for dot in memchr_iter(b'.', host) {
            if dot > 0
                && labels <= self.wildcard_labels_max
                && let Some(place) = self.step(self.wildcard, host.get(dot + 1..)?)
                && let Some(route) = self.longest_prefix(place, path)
            {
                return Some(route);
            }
            labels -= 1;
        }
        None
    }

    /// Walks the elements of `path` from the node of a host; the last route on the way has the longest prefix.
    fn longest_prefix(&self, mut at: Place, path: &[u8]) -> Option<u32> {
        let mut found = at.route;
        let mut left = path.strip_prefix(b"/");
        while let Some(rest) = left
            && !at.leaf
        {
            let (element, after) = match memchr(b'/', rest).and_then(|slash| rest.split_at_checked(slash)) {
                Some((element, after)) => (element, after.get(1..)),
                None => (rest, None),
            };
            let Some(next) = self.step(at, element) else { break };
            if next.route != NONE {
                found = next.route;
            }
            at = next;
            left = after;
        }
        (found != NONE).then_some(found)
    }

    /// Follows one edge.
    fn step(&self, from: Place, label: &[u8]) -> Option<Place> {
        let hash = hash_edge(from.hash, label);
        let mut index = home(hash, self.slots.len());
        loop {
            let slot = self.slots.get(index)?;
            if slot.parent == from.node && slot.label.octets() == label {
                return Some(Place { hash, node: slot.node, route: slot.route, leaf: slot.leaf });
            }
            if slot.parent == NONE {
                return None;
            }
            index = if index + 1 == self.slots.len() { 0 } else { index + 1 };
        }
    }
}

/// The hash of an edge. Labels come from the file and requests add none, so that a fixed seed gives no one a handle.
fn hash_edge(before: u64, label: &[u8]) -> u64 {
    let mut hasher = FixedState::with_seed(before).build_hasher();
    hasher.write(label);
    hasher.finish()
}

/// The slot where the search for a hash begins: the low half of the hash, scaled to the number of slots.
fn home(hash: u64, slots: usize) -> usize {
    let scaled = ((hash & 0xffff_ffff) * slots as u64) >> 32;
    usize::try_from(scaled).unwrap_or_default()
}

/// The trie as it grows.
struct Build<'a> {
    edges: HashMap<(u32, &'a [u8]), Place, FixedState>,
    exact: Place,
    wildcard: Place,
    any: Place,
    nodes: u32,
    wildcard_labels_max: usize,
    /// By node: does an edge leave from it?
    parents: Vec<bool>,
}

impl Default for Build<'_> {
    fn default() -> Self {
        Self {
            edges: HashMap::default(),
            exact: EXACT,
            wildcard: WILDCARD,
            any: ANY,
            nodes: 3,
            wildcard_labels_max: 0,
            parents: vec![false; 3],
        }
    }
}

impl<'a> Build<'a> {
    fn add(&mut self, host: &'a HostPattern, prefix: &'a PathPrefix, route: u32) {
        let (mut node, mut hash) = (self.any.node, self.any.hash);
        let mut end = None;
        let named = match host {
            HostPattern::Exact(name) => Some((self.exact, name)),
            HostPattern::Wildcard(name) => {
                let labels = memchr_iter(b'.', name.as_bytes()).count() + 1;
                self.wildcard_labels_max = self.wildcard_labels_max.max(labels);
                Some((self.wildcard, name))
            }
            HostPattern::Any => None,
        };
        if let Some((root, name)) = named {
            let label = name.as_bytes();
            (node, hash) = self.edge(root.node, root.hash, label);
            end = Some((root.node, label));
        }
        for element in prefix.as_str().split('/').skip(1) {
            let label = element.as_bytes();
            let parent = node;
            (node, hash) = self.edge(parent, hash, label);
            end = Some((parent, label));
        }
        let place = end.and_then(|key| self.edges.get_mut(&key)).unwrap_or(&mut self.any);
        if place.route == NONE {
            place.route = route;
        }
    }

    /// Adds an edge where it is not there yet; the node behind it and its hash.
    fn edge(&mut self, parent: u32, hash: u64, label: &'a [u8]) -> (u32, u64) {
        if let Some(leaves) = self.parents.get_mut(parent as usize) {
            *leaves = true;
        }
        let place = self.edges.entry((parent, label)).or_insert_with(|| {
            let node = self.nodes;
            self.nodes += 1;
            self.parents.push(false);
            Place { hash: hash_edge(hash, label), node, route: NONE, leaf: true }
        });
        (place.node, place.hash)
    }

    fn finish(self) -> Trie {
        let leaf = |node: u32| !self.parents.get(node as usize).copied().unwrap_or_default();
        let mut slots = Vec::new();
        slots.resize_with(self.edges.len() + self.edges.len() / 2 + 1, || Slot {
            label: Label::new(b""),
            parent: NONE,
            node: NONE,
            route: NONE,
            leaf: true,
        });
        for ((parent, label), place) in &self.edges {
            let home = home(place.hash, slots.len());
            let (before, behind) = slots.split_at_mut(home);
            let free = behind.iter_mut().chain(before).find(|slot| slot.parent == NONE);
            // One is always free: there are more slots than edges.
            if let Some(slot) = free {
                let leaf = leaf(place.node);
                let label = Label::new(label);
                *slot = Slot { label, parent: *parent, node: place.node, route: place.route, leaf };
            }
        }
        Trie {
            slots: slots.into_boxed_slice(),
            exact: Place { leaf: leaf(self.exact.node), ..self.exact },
            wildcard: Place { leaf: leaf(self.wildcard.node), ..self.wildcard },
            any: Place { leaf: leaf(self.any.node), ..self.any },
            wildcard_labels_max: self.wildcard_labels_max,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_is_one_cache_line() {
        assert_eq!(size_of::<Slot>(), 64);
    }

    #[test]
    fn labels_inside_and_outside_of_their_slot() {
        for length in [0, 1, INLINE_BYTES, INLINE_BYTES + 1, 300] {
            let octets = vec![b'x'; length];
            let label = Label::new(&octets);
            assert_eq!(label.octets(), octets);
            assert_eq!(matches!(label, Label::Inline { .. }), length <= INLINE_BYTES);
        }
    }

    #[test]
    fn edges_spread_over_their_slots() {
        let prefixes: Vec<_> =
            (0..20_000).map(|n| PathPrefix::parse(&format!("/service-{n}/v{}", n % 7)).unwrap()).collect();
        let trie = Trie::compile(prefixes.iter().map(|prefix| (&HostPattern::Any, prefix)));
        let (mut run, mut longest) = (0, 0);
        for slot in &trie.slots {
            run = if slot.parent == NONE { 0 } else { run + 1 };
            longest = longest.max(run);
        }
        // Linear probing at a load of 2/3 has runs of some tens; a bad hash has runs of hundreds.
        assert!(longest < 200, "{longest} slots in a row are taken");
        for (number, prefix) in (0..).zip(&prefixes) {
            assert_eq!(trie.find(None, prefix.as_str().as_bytes()), Some(number));
        }
    }
}
