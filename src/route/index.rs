//! Hosts and path prefixes in one flat hash table.
//!
//! An entry leads from a node, by a label, to another node. Three nodes exist from the start: the root of
//! exact hosts, the root of wildcard names, and the node of any-host routes. Each host is a node; its
//! prefixes leave from there, each as one label. A host knows the depths at which its prefixes end (a prefix
//! of three elements ends at depth 3), and a lookup tries the front of the path at these depths only: mostly
//! one, so that a lookup is two probes and does not grow with the number of routes.
//!
//! Three choices let a probe wait for the memory of a large table only once, while the processor fetches what
//! comes next: an entry is one cache line with its label inside, and its value is in the next line; no two
//! entries want the same slot ([`super::perfect_hash`]); and the hash of an entry depends on labels alone, so
//! that no address depends on the content of an earlier slot. A lookup never allocates and never reads a
//! value.

use super::pattern::{HostPattern, PathPrefix, with_normal_host};
use super::perfect_hash::PerfectHash;
use foldhash::fast::FixedState;
use memchr::{memchr, memchr_iter};
use std::collections::HashMap;
use std::hash::{BuildHasher, Hasher};

/// Means "no value" and "no node": tables hold fewer than 2^32 routes and entries.
const NONE: u32 = u32::MAX;
/// Labels of at most this many octets are stored in their slot, so that an entry fits into 64 octets, one
/// cache line.
const INLINE_BYTES: usize = 46;

/// The depths at which prefixes end: bit 0 is depth 1. The last bit stands for its own depth and all greater
/// ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Depths(u32);

impl Depths {
    const NONE: Self = Self(0);

    /// Adds a depth, 1 or more.
    fn add(&mut self, depth: u32) {
        self.0 |= 1 << (depth.min(u32::BITS) - 1);
    }

    fn has(self, depth: u32) -> bool {
        self.0 >> (depth.min(u32::BITS) - 1) & 1 == 1
    }

    /// Whether there is a depth greater than `depth`.
    fn go_beyond(self, depth: u32) -> bool {
        // The last bit stands for all greater depths.
        self.0 >> depth.min(u32::BITS - 1) != 0
    }
}

/// A node, the hash of the label that led to it, and what is known of it without another probe.
#[derive(Debug, Clone, Copy)]
struct Place {
    hash: u64,
    node: u32,
    /// The value whose host and prefix end here, or `NONE`: its number while the index is built, then its
    /// place.
    value: u32,
    /// The depths of the prefixes that leave from here; at the roots of hosts, depth 1 if there are hosts.
    depths: Depths,
}

impl Place {
    /// An empty node.
    const fn new(hash: u64, node: u32) -> Self {
        Self { hash, node, value: NONE, depths: Depths::NONE }
    }

    /// Nothing leaves from here, which saves a probe.
    fn is_leaf(self) -> bool {
        self.depths == Depths::NONE
    }
}

/// The first three nodes: the roots of exact hosts and of wildcard names, and the node of any-host routes.
const ROOTS: [u32; 3] = [0, 1, 2];

#[derive(Debug)]
enum Label {
    Inline { length: u8, octets: [u8; INLINE_BYTES] },
    Boxed(Box<[u8]>),
}

/// One entry and its value. A value of one cache line is in the line next to its entry, in the same page.
#[derive(Debug)]
#[repr(align(128))]
struct Slot<V> {
    label: Label,
    /// The node that the entry leaves; `NONE`: the slot is free.
    parent: u32,
    node: u32,
    depths: Depths,
    value: Option<V>,
}

/// The compiled form. Immutable.
#[derive(Debug)]
pub(super) struct Index<V> {
    slots: Box<[Slot<V>]>,
    /// Values without an entry: those for any host and path, and those that are never found.
    others: Vec<V>,
    /// The slot of each entry.
    places: PerfectHash,
    exact: Place,
    wildcard: Place,
    any: Place,
    /// Labels of the longest wildcard: longer suffixes of a host are not looked up.
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
    /// Compiles an index of the values under these patterns; also returns the place of each, in their order.
    /// Of two values with the same host and prefix, the first is found.
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

    /// The value at that place, if the place exists.
    pub(super) fn get(&self, place: u32) -> Option<&V> {
        let place = place as usize;
        match self.slots.get(place) {
            Some(slot) => slot.value.as_ref(),
            None => self.others.get(place - self.slots.len()),
        }
    }

    /// The place of the value that matches a request; see `Table::find`.
    pub(super) fn find(&self, host: Option<&[u8]>, path: &[u8]) -> Option<u32> {
        if self.exact.is_leaf() && self.wildcard.is_leaf() {
            return self.longest_prefix(self.any, path);
        }
        with_normal_host(host, |host| {
            host.and_then(|host| self.find_named(host, path)).or_else(|| self.longest_prefix(self.any, path))
        })
    }

    /// Searches the routes that name `host`, exactly or by a wildcard.
    fn find_named(&self, host: &[u8], path: &[u8]) -> Option<u32> {
        let exact = self.step(self.exact, host).and_then(|place| self.longest_prefix(place, path));
        if exact.is_some() || self.wildcard.is_leaf() {
            return exact;
        }
        // The longest wildcard leaves the fewest labels to its star: try suffixes of the host from the left.
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

    /// Looks up the fronts of `path` that end at the depth of a prefix of this host; the last one found is
    /// the longest.
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

    /// Looks up one entry.
    fn step(&self, from: Place, label: &[u8]) -> Option<Place> {
        let hash = hash_entry(from.hash, label);
        let place = self.places.of(hash);
        let slot = self.slots.get(place as usize)?;
        // Read the second line whatever the first contains, so that both are fetched at the same time.
        let value = if slot.value.is_some() { place } else { NONE };
        (slot.parent == from.node && slot.label.octets() == label).then_some(Place {
            hash,
            node: slot.node,
            value,
            depths: slot.depths,
        })
    }
}

/// The hash of an entry. Labels come from the file and requests add none, so that a fixed seed gives an
/// attacker no handle.
fn hash_entry(before: u64, label: &[u8]) -> u64 {
    let mut hasher = FixedState::with_seed(before).build_hasher();
    hasher.write(label);
    hasher.finish()
}

/// The index under construction.
struct Build<'a> {
    entries: HashMap<(u32, &'a [u8]), Place, FixedState>,
    /// The first three nodes.
    roots: [Place; 3],
    nodes: u32,
    wildcard_labels_max: usize,
    prefix_bytes_max: usize,
}

impl<'a> Build<'a> {
    /// Each seed gives other hashes.
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

    /// `None`: no perfect hash was found for these hashes.
    fn places(&self) -> Option<PerfectHash> {
        PerfectHash::find(self.entries.values().map(|place| place.hash).collect())
    }

    /// Puts each value into its place; also returns the places.
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
