//! Hosts and path prefixes in one flat hash table.
//!
//! An entry leads from a node by a label to what is known there. Three nodes are there from the start: one that all exact hosts
//! leave from, one for the names of wildcards, and the node of any-host routes. Each host is a node, and from it leave its
//! prefixes, each as a whole. A host knows at which depths its prefixes end (a prefix of three elements ends at depth 3), and a
//! look-up asks for the front of the path at these depths alone: mostly one, so that a look-up is two probes, and does not grow
//! with the number of routes.
//!
//! Three choices make a probe wait for the memory of a large table once, and let the processor fetch what comes next meanwhile: an
//! entry stands in one line with its label inside, and what is found there in the next; no two entries want the same slot
//! ([`super::displace`]); and the hash of an entry is made from labels alone, so that no address depends on what an earlier slot
//! holds. Never allocates in a look-up, and never asks what it holds.

use super::pattern::{HostPattern, PathPrefix, with_normal_host};
use super::perfect_hash::PerfectHash;
use foldhash::fast::FixedState;
use memchr::{memchr, memchr_iter};
use std::collections::HashMap;
use std::hash::{BuildHasher, Hasher};

/// Stands for "nothing" and "no node": tables hold fewer than 2^32 routes and entries.
const NONE: u32 = u32::MAX;
/// Labels up to this many octets stand in their slot; so an entry fits into 64 octets, one cache line.
const INLINE_BYTES: usize = 46;

/// At which depths prefixes end: bit 0 is depth 1. The last bit is of its own depth and all further ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Depths(u32);

impl Depths {
    const NONE: Self = Self(0);

    /// Takes a depth in, which is 1 or more.
    fn add(&mut self, depth: u32) {
        self.0 |= 1 << (depth.min(u32::BITS) - 1);
    }

    fn has(self, depth: u32) -> bool {
        self.0 >> (depth.min(u32::BITS) - 1) & 1 == 1
    }

    /// Is there one beyond `depth`?
    fn go_beyond(self, depth: u32) -> bool {
        // The last bit stands for all further ones.
        self.0 >> depth.min(u32::BITS - 1) != 0
    }
}

/// A node, the hash of the label that led to it, and what is known of it without another probe.
#[derive(Debug, Clone, Copy)]
struct Place {
    hash: u64,
    node: u32,
    /// Whose host and prefix end here, or `NONE`: while the index grows, its number; then, where it stands.
    value: u32,
    /// Of what leaves from here; of the nodes that hosts leave from, depth 1 where there are any.
    depths: Depths,
}

impl Place {
    /// A node with nothing in it.
    const fn new(hash: u64, node: u32) -> Self {
        Self { hash, node, value: NONE, depths: Depths::NONE }
    }

    /// Nothing leaves from here, so that no probe is needed to know.
    fn is_leaf(self) -> bool {
        self.depths == Depths::NONE
    }
}

/// The three first nodes: of exact hosts, of the names of wildcards, of any-host routes.
const ROOTS: [u32; 3] = [0, 1, 2];

#[derive(Debug)]
enum Label {
    Inline { length: u8, octets: [u8; INLINE_BYTES] },
    Boxed(Box<[u8]>),
}

/// One entry, and what stands there. A value of one cache line lies in the line beside that of the entry, and in the same page.
#[derive(Debug)]
#[repr(align(128))]
struct Slot<V> {
    label: Label,
    /// The node that it leaves; `NONE`: the slot is free.
    parent: u32,
    node: u32,
    depths: Depths,
    value: Option<V>,
}

/// The compiled form. Immutable.
#[derive(Debug)]
pub(super) struct Index<V> {
    slots: Box<[Slot<V>]>,
    /// Values that no entry leads to: of any host and path, and those that are never found.
    others: Vec<V>,
    /// Which slot an entry stands in.
    places: PerfectHash,
    exact: Place,
    wildcard: Place,
    any: Place,
    /// Labels of the longest wildcard: longer ends of a host are not looked up.
    wildcard_labels_max: usize,
    /// Octets of the longest prefix, without its first slash: longer fronts of a path are not looked up.
    prefix_bytes_max: usize,
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

impl<V> Index<V> {
    /// Compiles what is to be found under these patterns, and says where each stands, in their order. Of two with the same host
    /// and prefix the first is found.
    pub(super) fn compile(patterns: &[(&HostPattern, &PathPrefix)], values: Vec<V>) -> (Self, Vec<u32>) {
        let mut seed = 0;
        let (build, places) = loop {
            let mut build = Build::new(seed);
            for (number, (host, prefix)) in (0..NONE).zip(patterns) {
                build.add(host, prefix, number);
            }
            if let Some(places) = build.places() {
                break (build, places);
            }
            seed += 1;
        };
        build.finish(places, values)
    }

    /// What stands there, if there is such a place.
    pub(super) fn get(&self, place: u32) -> Option<&V> {
        let place = place as usize;
        match self.slots.get(place) {
            Some(slot) => slot.value.as_ref(),
            None => self.others.get(place - self.slots.len()),
        }
    }

    /// Where that stands what takes a request; see `Table::find`.
    pub(super) fn find(&self, host: Option<&[u8]>, path: &[u8]) -> Option<u32> {
        if self.exact.is_leaf() && self.wildcard.is_leaf() {
            return self.longest_prefix(self.any, path);
        }
        with_normal_host(host, |host| {
            host.and_then(|host| self.find_named(host, path)).or_else(|| self.longest_prefix(self.any, path))
        })
    }

    /// Among the routes that name `host`, exactly or by a wildcard.
    fn find_named(&self, host: &[u8], path: &[u8]) -> Option<u32> {
        let exact = self.step(self.exact, host).and_then(|place| self.longest_prefix(place, path));
        if exact.is_some() || self.wildcard.is_leaf() {
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

    /// Asks for the fronts of `path` that end where a prefix of this host does; the last one found is the longest.
    fn longest_prefix(&self, at: Place, path: &[u8]) -> Option<u32> {
        let mut found = at.value;
        if !at.is_leaf()
            && let Some(path) = path.strip_prefix(b"/")
        {
            let (mut depth, mut end) = (0, 0);
            loop {
                let rest = path.get(end..).unwrap_or_default();
                end = memchr(b'/', rest).map_or(path.len(), |slash| end + slash);
                depth += 1;
                let front = path.get(..end).unwrap_or_default();
                if at.depths.has(depth)
                    && end <= self.prefix_bytes_max
                    && let Some(next) = self.step(at, front)
                {
                    found = next.value;
                }
                end += 1;
                if end > path.len() || end > self.prefix_bytes_max || !at.depths.go_beyond(depth) {
                    break;
                }
            }
        }
        (found != NONE).then_some(found)
    }

    /// Looks for one entry.
    fn step(&self, from: Place, label: &[u8]) -> Option<Place> {
        let hash = hash_entry(from.hash, label);
        let place = self.places.of(hash);
        let slot = self.slots.get(place as usize)?;
        // Its other line is asked for whatever the first says, so that both are on their way together.
        let value = if slot.value.is_some() { place } else { NONE };
        (slot.parent == from.node && slot.label.octets() == label).then_some(Place {
            hash,
            node: slot.node,
            value,
            depths: slot.depths,
        })
    }
}

/// The hash of an entry. Labels come from the file and requests add none, so that a fixed seed gives no one a handle.
fn hash_entry(before: u64, label: &[u8]) -> u64 {
    let mut hasher = FixedState::with_seed(before).build_hasher();
    hasher.write(label);
    hasher.finish()
}

/// The index as it grows.
struct Build<'a> {
    entries: HashMap<(u32, &'a [u8]), Place, FixedState>,
    /// The three first nodes.
    roots: [Place; 3],
    nodes: u32,
    wildcard_labels_max: usize,
    prefix_bytes_max: usize,
}

impl<'a> Build<'a> {
    /// A seed makes all hashes others.
    fn new(seed: u64) -> Self {
        let roots = ROOTS.map(|node| Place::new(seed * ROOTS.len() as u64 + u64::from(node) + 1, node));
        Self { entries: HashMap::default(), roots, nodes: 3, wildcard_labels_max: 0, prefix_bytes_max: 0 }
    }

    fn add(&mut self, host: &'a HostPattern, prefix: &'a PathPrefix, number: u32) {
        let [exact, wildcard, any] = &mut self.roots;
        let host = match host {
            HostPattern::Any => any,
            HostPattern::Exact(name) | HostPattern::Wildcard(name) => {
                let root = if matches!(host, HostPattern::Exact(_)) { exact } else { wildcard };
                if matches!(host, HostPattern::Wildcard(_)) {
                    let labels = memchr_iter(b'.', name.as_bytes()).count() + 1;
                    self.wildcard_labels_max = self.wildcard_labels_max.max(labels);
                }
                root.depths.add(1);
                let nodes = &mut self.nodes;
                self.entries.entry((root.node, name.as_bytes())).or_insert_with(|| {
                    let node = *nodes;
                    *nodes += 1;
                    Place::new(hash_entry(root.hash, name.as_bytes()), node)
                })
            }
        };
        let mut end = host;
        if let Some(label) = prefix.as_str().strip_prefix('/') {
            let elements = memchr_iter(b'/', label.as_bytes()).count() + 1;
            end.depths.add(u32::try_from(elements).unwrap_or(u32::MAX));
            self.prefix_bytes_max = self.prefix_bytes_max.max(label.len());
            let (parent, hash) = (end.node, hash_entry(end.hash, label.as_bytes()));
            // Nothing leaves from a prefix, so that it needs no node.
            end = self.entries.entry((parent, label.as_bytes())).or_insert(Place::new(hash, NONE));
        }
        if end.value == NONE {
            end.value = number;
        }
    }

    /// `None`: these hashes cannot be told apart.
    fn places(&self) -> Option<PerfectHash> {
        PerfectHash::find(self.entries.values().map(|place| place.hash).collect())
    }

    /// Puts each value where it is found, and says where that is.
    fn finish<V>(self, places: PerfectHash, values: Vec<V>) -> (Index<V>, Vec<u32>) {
        let mut left: Vec<_> = values.into_iter().map(Some).collect();
        let mut stand_at = vec![NONE; left.len()];
        let mut slots = Vec::new();
        slots.resize_with(places.count() as usize, || Slot {
            label: Label::new(b""),
            parent: NONE,
            node: NONE,
            depths: Depths::NONE,
            value: None,
        });
        for ((parent, label), Place { hash, node, value: number, depths }) in self.entries {
            let place = places.of(hash);
            let value = left.get_mut(number as usize).and_then(Option::take);
            if value.is_some() {
                stand_at[number as usize] = place;
            }
            slots[place as usize] = Slot { label: Label::new(label), parent, node, depths, value };
        }
        let mut others = Vec::new();
        for (place, value) in stand_at.iter_mut().zip(left) {
            if let Some(value) = value {
                *place = places.count() + u32::try_from(others.len()).unwrap_or(NONE);
                others.push(value);
            }
        }
        let [exact, wildcard, mut any] = self.roots;
        any.value = stand_at.get(any.value as usize).copied().unwrap_or(NONE);
        let index = Index {
            slots: slots.into_boxed_slice(),
            others,
            places,
            exact,
            wildcard,
            any,
            wildcard_labels_max: self.wildcard_labels_max,
            prefix_bytes_max: self.prefix_bytes_max,
        };
        (index, stand_at)
    }
}

#[cfg(test)]
mod tests {
    use super::super::table::Route;
    use super::*;

    #[test]
    fn a_slot_is_two_cache_lines_side_by_side() {
        assert_eq!((size_of::<Slot<Route>>(), align_of::<Slot<Route>>()), (128, 128));
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
    fn deep_prefixes_are_found_at_every_depth() {
        let deep = |depth: usize| format!("/{}", vec!["x"; depth].join("/"));
        let depths = [1, 2, 30, 31, 32, 33, 40, 64, 65, 300];
        let prefixes: Vec<_> = depths.iter().map(|&depth| PathPrefix::parse(&deep(depth)).unwrap()).collect();
        let routes: Vec<_> = prefixes.iter().map(|prefix| (&HostPattern::Any, prefix)).collect();
        let (index, stand_at) = Index::compile(&routes, (0..prefixes.len()).collect());
        for depth in 1..400 {
            let expected = depths.iter().rposition(|&end| end <= depth);
            let found = index.find(None, deep(depth).as_bytes());
            assert_eq!(found.and_then(|place| index.get(place)), expected.as_ref(), "depth {depth}");
            assert_eq!(found, expected.map(|number| stand_at[number]));
        }
    }
}
