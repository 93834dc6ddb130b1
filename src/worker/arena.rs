//! Slabs whose keys outlive their entries: a key names one entry for ever, so that a stale event or timer reaches nobody else.

use mio::Token;
use slab::Slab;

/// Octets from which on glibc maps pages for a block by themselves. What grows with the number of connections begins there: it
/// takes no memory before it is written to, grows by mremap(2), gives its tail back when it shrinks, and never lies above what
/// came at a peak and would keep the allocator from giving that back.
const MAPPED_BYTES: usize = 128 * 1024;

/// So many items are a block that is mapped.
pub(super) const fn mapped<T>() -> usize {
    MAPPED_BYTES.div_ceil(size_of::<T>())
}

/// Bits of a key that tell kinds apart.
const KIND_BITS: u32 = 2;
/// Bits of a key that tell the entries of one slot apart; they come round after a thousand million entries.
const GENERATION_BITS: u32 = 30;
const GENERATION_MASK: u32 = (1 << GENERATION_BITS) - 1;

/// What a key names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Control = 0,
    Listener = 1,
    Client = 2,
    Backend = 3,
}

/// Kind, generation and index, in one word that epoll carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Key(u64);

impl Key {
    pub(super) const fn new(kind: Kind, generation: u32, index: u32) -> Self {
        let head = (kind as u64) << GENERATION_BITS | (generation & GENERATION_MASK) as u64;
        Self(head << 32 | index as u64)
    }

    pub(super) const fn kind(self) -> Kind {
        match self.0 >> (64 - KIND_BITS) {
            0 => Kind::Control,
            1 => Kind::Listener,
            2 => Kind::Client,
            _ => Kind::Backend,
        }
    }

    /// The slot; of a listener its number.
    pub(super) const fn index(self) -> usize {
        (self.0 & 0xFFFF_FFFF) as usize
    }

    const fn generation(self) -> u32 {
        (self.0 >> 32) as u32 & GENERATION_MASK
    }

    #[expect(clippy::cast_possible_truncation, reason = "a word has 64 bits: `lib.rs` holds that")]
    pub(super) const fn token(self) -> Token {
        Token(self.0 as usize)
    }

    pub(super) const fn of(token: Token) -> Self {
        Self(token.0 as u64)
    }
}

#[derive(Debug)]
struct Entry<T> {
    generation: u32,
    value: Option<T>,
}

/// Entries of one kind.
#[derive(Debug)]
pub(super) struct Arena<T> {
    kind: Kind,
    generation: u32,
    /// The first entry is never used: where there is none, the slab frees its block instead of shrinking it, and the next one may
    /// lie among others, for glibc maps what is larger than the largest that was freed.
    slab: Slab<Entry<T>>,
    /// How many were removed since it was last shrunk.
    removed: usize,
}

impl<T> Arena<T> {
    pub(super) fn new(kind: Kind) -> Self {
        let mut slab = Slab::with_capacity(mapped::<Entry<T>>());
        slab.insert(Entry { generation: 0, value: None });
        Self { kind, generation: 0, slab, removed: 0 }
    }

    /// The key that the next [`Arena::insert`] gives.
    pub(super) fn next_key(&self) -> Key {
        let index = u32::try_from(self.slab.vacant_key()).expect("a worker has fewer than 2^32 sockets");
        Key::new(self.kind, self.generation + 1, index)
    }

    pub(super) fn insert(&mut self, value: T) -> Key {
        let key = self.next_key();
        self.generation = key.generation();
        self.slab.insert(Entry { generation: self.generation, value: Some(value) });
        key
    }

    pub(super) fn get(&self, key: Key) -> Option<&T> {
        self.slab
            .get(key.index())
            .filter(|entry| entry.generation == key.generation())
            .and_then(|entry| entry.value.as_ref())
    }

    pub(super) fn get_mut(&mut self, key: Key) -> Option<&mut T> {
        let entry = self.slab.get_mut(key.index()).filter(|entry| entry.generation == key.generation());
        entry.and_then(|entry| entry.value.as_mut())
    }

    pub(super) fn remove(&mut self, key: Key) -> Option<T> {
        self.get(key)?;
        self.removed += 1;
        self.slab.remove(key.index()).value
    }

    pub(super) fn len(&self) -> usize {
        self.slab.len() - 1
    }

    /// It has room for many more than there are. Where those that are left stand at its end, so that shrinking did little, it is
    /// not tried again before many have gone.
    pub(super) fn has_surplus(&self) -> bool {
        let capacity = self.slab.capacity();
        capacity > mapped::<Entry<T>>() && self.slab.len() * 4 <= capacity && self.removed * 4 >= capacity
    }

    /// Gives back what lies behind the last entry, where it has room for many more than there are.
    pub(super) fn shed(&mut self) {
        if self.has_surplus() {
            self.removed = 0;
            self.slab.shrink_to_fit();
            self.slab.reserve(mapped::<Entry<T>>().saturating_sub(self.slab.len()));
        }
    }

    /// All keys, for a walk that may remove entries.
    pub(super) fn keys(&self) -> Vec<Key> {
        let key = |(index, entry): (usize, &Entry<T>)| {
            Some(Key::new(self.kind, entry.generation, u32::try_from(index).ok()?))
        };
        self.slab.iter().skip(1).filter_map(key).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_survives_the_token() {
        for kind in [Kind::Control, Kind::Listener, Kind::Client, Kind::Backend] {
            let key = Key::new(kind, GENERATION_MASK, u32::MAX);
            let back = Key::of(key.token());
            assert_eq!(
                (back.kind(), back.generation(), back.index()),
                (kind, GENERATION_MASK, u32::MAX as usize)
            );
        }
    }

    #[test]
    fn a_stale_key_reaches_nobody() {
        let mut arena = Arena::new(Kind::Client);
        let old = arena.insert('a');
        assert_eq!(arena.remove(old), Some('a'));
        let new = arena.insert('b');
        assert_eq!(old.index(), new.index());
        assert_eq!((arena.get(old), arena.get(new)), (None, Some(&'b')));
        assert_eq!(arena.get_mut(old), None);
        assert_eq!(arena.get_mut(new), Some(&mut 'b'));
        assert_eq!(arena.remove(old), None);
        assert_eq!(arena.keys(), vec![new]);
    }

    #[test]
    fn what_many_entries_took_is_given_back_but_for_what_lies_below_the_last() {
        let mut arena = Arena::new(Kind::Client);
        let base = arena.slab.capacity();
        let keys: Vec<_> = (0..4 * base).map(|number| arena.insert(number)).collect();
        let kept = base / 2;
        for &key in keys.iter().filter(|&&key| key != keys[kept]) {
            assert!(arena.remove(key).is_some());
        }
        assert!(arena.has_surplus());
        arena.shed();
        assert!(!arena.has_surplus() && arena.slab.capacity() < 2 * base, "{}", arena.slab.capacity());
        assert_eq!((arena.get(keys[kept]), arena.get(keys[0])), (Some(&kept), None));
        assert_eq!(arena.insert(7).index(), keys[0].index());
    }

    #[test]
    fn generations_come_round() {
        let mut arena = Arena::new(Kind::Backend);
        arena.generation = GENERATION_MASK;
        let key = arena.insert(1);
        assert_eq!((key.generation(), arena.get(key)), (0, Some(&1)));
    }
}
