//! Slot maps whose keys outlive their entries: a key names one entry for ever, so that a stale event or timer reaches no other
//! entry.

use slab::Slab;

/// Size from which glibc gives a block pages of its own (`M_MMAP_THRESHOLD` of mallopt(3)), octets. Tables that grow with the
/// number of connections begin at this size: such a block takes no memory before it is written to, grows by mremap(2), gives its
/// tail back when it shrinks, and never keeps the heap below it from being trimmed.
const MAPPED_BYTES: usize = 128 * 1024;

/// How many items make a block that has pages of its own.
pub const fn mapped<T>() -> usize {
    MAPPED_BYTES.div_ceil(size_of::<T>())
}

/// Bits of a key that hold its tag.
const TAG_BITS: u32 = 3;
/// Bits of a key that tell the successive entries of one slot apart; they come round after 536,870,912 entries.
const GENERATION_BITS: u32 = 32 - TAG_BITS;
const GENERATION_MASK: u32 = (1 << GENERATION_BITS) - 1;

/// Names one entry of one map: the map's tag, a generation and an index, in one word, such as epoll carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Key(u64);

impl Key {
    /// A key of the map with `tag` (0 to 7). The generation is cut to its bits.
    pub const fn new(tag: u8, generation: u32, index: u32) -> Self {
        let head = ((tag as u32) << GENERATION_BITS) | (generation & GENERATION_MASK);
        Self((head as u64) << 32 | index as u64)
    }

    /// The tag of its map.
    pub const fn tag(self) -> u8 {
        (self.0 >> (64 - TAG_BITS)) as u8
    }

    /// The slot.
    pub const fn index(self) -> usize {
        (self.0 & 0xFFFF_FFFF) as usize
    }

    const fn generation(self) -> u32 {
        (self.0 >> 32) as u32 & GENERATION_MASK
    }

    /// The key as a word.
    pub const fn bits(self) -> u64 {
        self.0
    }

    /// The key that [`Key::bits`] made that word of.
    pub const fn from_bits(bits: u64) -> Self {
        Self(bits)
    }
}

#[derive(Debug)]
struct Entry<T> {
    generation: u32,
    value: Option<T>,
}

/// Entries of one kind, each with a [`Key`].
#[derive(Debug)]
pub struct SlotMap<T> {
    tag: u8,
    generation: u32,
    /// Its first entry is never used. An empty slab frees its block instead of shrinking it, and glibc then raises its threshold,
    /// so that the next block could come to lie in the heap.
    slab: Slab<Entry<T>>,
    /// How many were removed since it was last shrunk.
    removed: usize,
}

impl<T> SlotMap<T> {
    /// An empty map whose keys have `tag` (0 to 7).
    pub fn new(tag: u8) -> Self {
        let mut slab = Slab::with_capacity(mapped::<Entry<T>>());
        slab.insert(Entry { generation: 0, value: None });
        Self { tag, generation: 0, slab, removed: 0 }
    }

    /// The key that the next [`SlotMap::insert`] gives.
    ///
    /// # Panics
    /// The map has 2³² entries, more than descriptors.
    pub fn next_key(&self) -> Key {
        let index = u32::try_from(self.slab.vacant_key()).expect("fewer than 2^32 entries");
        Key::new(self.tag, self.generation + 1, index)
    }

    /// Adds an entry.
    ///
    /// # Panics
    /// As [`SlotMap::next_key`].
    pub fn insert(&mut self, value: T) -> Key {
        let key = self.next_key();
        self.generation = key.generation();
        self.slab.insert(Entry { generation: self.generation, value: Some(value) });
        key
    }

    /// The entry, unless it was removed.
    pub fn get(&self, key: Key) -> Option<&T> {
        self.slab
            .get(key.index())
            .filter(|entry| entry.generation == key.generation())
            .and_then(|entry| entry.value.as_ref())
    }

    /// The entry, unless it was removed.
    pub fn get_mut(&mut self, key: Key) -> Option<&mut T> {
        let entry = self.slab.get_mut(key.index()).filter(|entry| entry.generation == key.generation());
        entry.and_then(|entry| entry.value.as_mut())
    }

    /// Takes an entry out.
    pub fn remove(&mut self, key: Key) -> Option<T> {
        self.get(key)?;
        self.removed += 1;
        self.slab.remove(key.index()).value
    }

    /// How many entries there are.
    pub fn len(&self) -> usize {
        self.slab.len() - 1
    }

    /// The next entry makes it grow.
    pub fn is_full(&self) -> bool {
        self.slab.len() == self.slab.capacity()
    }

    /// Octets that it takes, those of its free slots among them.
    pub fn bytes(&self) -> usize {
        self.slab.capacity() * size_of::<Entry<T>>()
    }

    /// There is no entry.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// It has room for many more entries than there are. Where the entries that are left stand at its end, so that shrinking did
    /// little, shrinking is not tried again before many more were removed.
    pub fn has_surplus(&self) -> bool {
        let capacity = self.slab.capacity();
        capacity > mapped::<Entry<T>>() && self.slab.len() * 4 <= capacity && self.removed * 4 >= capacity
    }

    /// Gives back the memory after the last entry, where there is room for many more entries than there are.
    pub fn trim(&mut self) {
        if self.has_surplus() {
            self.removed = 0;
            self.slab.shrink_to_fit();
            self.slab.reserve(mapped::<Entry<T>>().saturating_sub(self.slab.len()));
        }
    }

    /// All keys, for a walk that may remove entries.
    pub fn keys(&self) -> Vec<Key> {
        let key = |(index, entry): (usize, &Entry<T>)| {
            Some(Key::new(self.tag, entry.generation, u32::try_from(index).ok()?))
        };
        self.slab.iter().skip(1).filter_map(key).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_survives_as_a_word() {
        for tag in 0..8 {
            let key = Key::new(tag, GENERATION_MASK, u32::MAX);
            let back = Key::from_bits(key.bits());
            assert_eq!(
                (back.tag(), back.generation(), back.index()),
                (tag, GENERATION_MASK, u32::MAX as usize)
            );
        }
    }

    #[test]
    fn a_stale_key_reaches_no_entry() {
        let mut map = SlotMap::new(2);
        let old = map.insert('a');
        assert_eq!(map.remove(old), Some('a'));
        let new = map.insert('b');
        assert_eq!(old.index(), new.index());
        assert_eq!((map.get(old), map.get(new)), (None, Some(&'b')));
        assert_eq!(map.get_mut(old), None);
        assert_eq!(map.get_mut(new), Some(&mut 'b'));
        assert_eq!(map.remove(old), None);
        assert_eq!(map.keys(), vec![new]);
    }

    #[test]
    fn memory_of_many_entries_is_given_back_down_to_the_last_entry() {
        let mut map = SlotMap::new(2);
        let base = map.slab.capacity();
        let keys: Vec<_> = (0..4 * base).map(|number| map.insert(number)).collect();
        let kept = base / 2;
        for &key in keys.iter().filter(|&&key| key != keys[kept]) {
            assert!(map.remove(key).is_some());
        }
        assert!(map.has_surplus());
        map.trim();
        assert!(!map.has_surplus() && map.slab.capacity() < 2 * base, "{}", map.slab.capacity());
        assert_eq!((map.get(keys[kept]), map.get(keys[0])), (Some(&kept), None));
        assert_eq!(map.insert(7).index(), keys[0].index());
    }

    #[test]
    fn generations_come_round() {
        let mut map = SlotMap::new(3);
        map.generation = GENERATION_MASK;
        let key = map.insert(1);
        assert_eq!((key.generation(), map.get(key)), (0, Some(&1)));
    }
}
