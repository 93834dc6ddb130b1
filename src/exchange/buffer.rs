//! Buffers of the data path, and their pool. A buffer that holds nothing owns no memory once it was settled.

use crate::base::ObjectPool;

/// Octets of one pooled buffer. A head of the usual size or a small complete message fits; larger bodies go
/// through pipes.
pub const BUFFER_BYTES: usize = 16 * 1024;

/// Octets of a small buffer. It fits what is kept of a usual request while the response is awaited: its head
/// and the parts of its access log line.
pub(super) const SMALL_BYTES: usize = 2 * 1024;

/// Octets of a large buffer, for content that arrives too fast for usual buffers and goes through no pipe.
/// Below 128 KiB, because from there on glibc returns addresses where copies are slow: `docs/performance.md`,
/// "Measurements behind design decisions".
pub const LARGE_BYTES: usize = 124 * 1024;

/// The most octets that are moved out of a buffer before a wait.
const SHRINKS_MAX: usize = BUFFER_BYTES / 4;

/// The most free buffers that a worker keeps; further ones go back to the allocator at once.
const FREE_MAX: usize = 256;

/// Pools of at most this many buffers are never trimmed: a few clients need as many.
const FREE_BASE: usize = 32;

/// Free buffers at the start of a step that reads: more than any step takes.
const RESERVE: usize = 4;

/// The most free small buffers that a worker keeps, two for each request that awaits a response: half the
/// memory of [`FREE_MAX`] usual ones.
const SMALL_FREE_MAX: usize = 4 * FREE_MAX;

/// The most free large buffers that a worker keeps. A transfer holds one only for a moment, so few are in use
/// at a time.
const LARGE_FREE_MAX: usize = 16;

/// The most large buffers that a worker has in use. Only slow peers hold one for long, and there may be any
/// number of them: beyond this, transfers use usual buffers.
const LARGE_USED_MAX: usize = 128;

/// Octets of a kernel page.
const PAGE_BYTES: usize = 4096;

/// The free buffers of one worker, the last used on top, because it is still in the processor's cache.
#[derive(Debug)]
pub struct Buffers {
    small: ObjectPool<Vec<u8>>,
    free: ObjectPool<Vec<u8>>,
    large: ObjectPool<Vec<u8>>,
    large_used: usize,
}

impl Default for Buffers {
    fn default() -> Self {
        Self {
            small: ObjectPool::new(FREE_BASE, SMALL_FREE_MAX),
            free: ObjectPool::new(FREE_BASE, FREE_MAX),
            // There are too few to trim them alone.
            large: ObjectPool::new(LARGE_FREE_MAX, LARGE_FREE_MAX),
            large_used: 0,
        }
    }
}

impl Buffers {
    /// Ensures that there are enough free buffers for one step, within which taking one cannot fail; false if
    /// the system has no memory for them.
    #[inline]
    pub fn keep_reserve(&mut self) -> bool {
        while self.free.len() < RESERVE {
            let Some(buffer) = allocate(BUFFER_BYTES) else { return false };
            self.free.give(buffer);
        }
        true
    }

    /// An empty buffer with room for [`BUFFER_BYTES`].
    pub fn take(&mut self) -> Vec<u8> {
        self.free.take().unwrap_or_else(|| Vec::with_capacity(BUFFER_BYTES))
    }

    /// An empty buffer of the smallest size that has room for `length` octets, at most [`BUFFER_BYTES`].
    pub(super) fn take_for(&mut self, length: usize) -> Vec<u8> {
        if length > SMALL_BYTES {
            return self.take();
        }
        self.small.take().unwrap_or_else(|| Vec::with_capacity(SMALL_BYTES))
    }

    /// An empty buffer with room for [`LARGE_BYTES`]; `None` if too many are in use.
    fn take_large(&mut self) -> Option<Vec<u8>> {
        if self.large_used == LARGE_USED_MAX {
            return None;
        }
        let large = self.large.take().or_else(allocate_large)?;
        self.large_used += 1;
        Some(large)
    }

    /// Large buffers in use.
    pub fn large_used(&self) -> usize {
        self.large_used
    }

    /// Takes a buffer back. One that grew for a large head goes to the allocator.
    #[inline]
    pub fn give(&mut self, mut bytes: Vec<u8>) {
        let free = match bytes.capacity() {
            BUFFER_BYTES => &mut self.free,
            SMALL_BYTES => &mut self.small,
            _ => return,
        };
        bytes.clear();
        free.give(bytes);
    }

    /// Takes back a buffer of [`Buffers::take_large`], which may have grown since; another may then be taken.
    #[inline(never)]
    fn give_large(&mut self, mut bytes: Vec<u8>) {
        debug_assert!(self.large_used > 0, "more large buffers came back than were taken");
        self.large_used = self.large_used.saturating_sub(1);
        if bytes.capacity() == LARGE_BYTES {
            bytes.clear();
            self.large.give(bytes);
        }
    }

    /// More buffers are free than trimming spares.
    pub fn has_surplus(&self) -> bool {
        self.free.has_surplus() || self.small.has_surplus()
    }

    /// More free buffers than trimming spares went unused since the last look.
    pub fn are_unneeded(&self) -> bool {
        self.free.is_unneeded() || self.small.is_unneeded()
    }

    /// Begins a new span of observation, as [`ObjectPool::look`].
    pub fn look(&mut self) {
        self.small.look();
        self.free.look();
        self.large.look();
    }

    /// Frees buffers that went unused since the last look; true if there were any.
    pub fn trim(&mut self) -> bool {
        self.small.trim() | self.free.trim() | self.large.trim()
    }
}

/// An empty buffer, if the system has memory for it.
fn allocate(capacity: usize) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    bytes.try_reserve_exact(capacity).ok()?;
    Some(bytes)
}

fn allocate_large() -> Option<Vec<u8>> {
    let bytes = allocate(LARGE_BYTES)?;
    if !lies_badly(bytes.as_ptr().addr()) {
        return Some(bytes);
    }
    // Allocated while the first block is still held, so that it gets another address.
    allocate(LARGE_BYTES)
}

/// Memory that begins a few octets after the start of a page: copies through it take a third longer, because
/// a processor takes loads for dependent on stores that are nearly 4 KiB apart (`docs/performance.md`,
/// "Measurements behind design decisions").
fn lies_badly(address: usize) -> bool {
    let within = address % PAGE_BYTES;
    within != 0 && within.min(PAGE_BYTES - within) < 32
}

/// A queue of octets: appended at the back, taken from the front.
#[derive(Default)]
pub(super) struct Buffer {
    bytes: Vec<u8>,
    start: usize,
    /// It came from the large buffers, whatever it has grown to since.
    is_large: bool,
}

/// Content is private and long: only lengths are shown.
impl std::fmt::Debug for Buffer {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "Buffer({} of {})", self.len(), self.bytes.capacity())
    }
}

impl Buffer {
    /// The octets that were not taken yet.
    pub(super) fn unread(&self) -> &[u8] {
        &self.bytes[self.start..]
    }

    pub(super) fn len(&self) -> usize {
        self.bytes.len() - self.start
    }

    pub(super) fn is_empty(&self) -> bool {
        self.start == self.bytes.len()
    }

    /// Takes `count` octets off the front; they stay in memory until [`Buffer::forget`].
    pub(super) fn take(&mut self, count: usize) {
        assert!(count <= self.len(), "more was taken from a buffer than it holds");
        self.start += count;
    }

    /// Forgets taken octets if that costs nothing.
    pub(super) fn forget(&mut self) {
        if self.start == self.bytes.len() {
            self.bytes.clear();
            self.start = 0;
        }
    }

    /// Drops all octets.
    pub(super) fn clear(&mut self) {
        self.bytes.clear();
        self.start = 0;
    }

    /// Makes all taken octets unread again.
    pub(super) fn rewind(&mut self) {
        self.start = 0;
    }

    /// The octets that can be appended without growth; a buffer without memory counts as a fresh one.
    pub(super) fn room(&self) -> usize {
        if self.bytes.capacity() == 0 { BUFFER_BYTES } else { self.bytes.capacity() - self.bytes.len() }
    }

    /// The memory to append to; taken from the pool if the buffer has none.
    pub(super) fn open(&mut self, buffers: &mut Buffers) -> &mut Vec<u8> {
        if self.bytes.capacity() == 0 {
            self.bytes = buffers.take();
        }
        &mut self.bytes
    }

    /// The memory to append up to `length` octets to; taken from the pool if the buffer has none.
    pub(super) fn open_for(&mut self, buffers: &mut Buffers, length: usize) -> &mut Vec<u8> {
        if self.bytes.capacity() == 0 {
            self.bytes = buffers.take_for(length);
        }
        &mut self.bytes
    }

    /// Moves the few octets that it holds into memory of that size, so that a wait for more does not hold a
    /// whole buffer.
    pub(super) fn shrink(&mut self, buffers: &mut Buffers) {
        if self.bytes.capacity() == BUFFER_BYTES && self.len() <= SHRINKS_MAX {
            let Some(mut few) = allocate(self.len()) else { return };
            few.extend_from_slice(self.unread());
            self.reclaim(buffers);
            self.bytes = few;
        }
    }

    /// Replaces an empty buffer by a large one, if one is available.
    pub(super) fn widen(&mut self, buffers: &mut Buffers) {
        if self.is_empty()
            && !self.is_large
            && self.bytes.capacity() < LARGE_BYTES
            && let Some(large) = buffers.take_large()
        {
            self.reclaim(buffers);
            self.bytes = large;
            self.is_large = true;
        }
    }

    /// Moves the octets of a large buffer into a usual one if they fit: this exchange waits, and others can
    /// use the large one.
    pub(super) fn narrow(&mut self, buffers: &mut Buffers) {
        if self.is_large && self.len() <= BUFFER_BYTES && buffers.keep_reserve() {
            let mut bytes = buffers.take();
            bytes.extend_from_slice(self.unread());
            self.reclaim(buffers);
            self.bytes = bytes;
        }
    }

    /// The memory to read into: taken octets are forgotten, and a full buffer grows up to `len_max` octets.
    /// It has no room left if the system has no memory for that.
    pub(super) fn open_for_read(&mut self, buffers: &mut Buffers, len_max: usize) -> &mut Vec<u8> {
        if self.start > 0 {
            self.bytes.copy_within(self.start.., 0);
            self.bytes.truncate(self.bytes.len() - self.start);
            self.start = 0;
        }
        if self.bytes.capacity() < BUFFER_BYTES {
            let few = std::mem::replace(&mut self.bytes, buffers.take());
            self.bytes.extend_from_slice(&few);
            buffers.give(few);
        }
        let bytes = &mut self.bytes;
        if bytes.len() == bytes.capacity() {
            let grown = (bytes.capacity() * 2).min(len_max).max(bytes.len() + 1);
            let _ = bytes.try_reserve_exact(grown - bytes.len());
        }
        bytes
    }

    /// Returns its memory to the pool if it holds nothing.
    #[inline]
    pub(super) fn settle(&mut self, buffers: &mut Buffers) {
        if self.start == self.bytes.len() {
            self.reclaim(buffers);
        }
    }

    /// Returns its memory to the pool, whatever it holds.
    #[inline]
    pub(super) fn reclaim(&mut self, buffers: &mut Buffers) {
        if self.bytes.capacity() > 0 {
            self.start = 0;
            let bytes = std::mem::take(&mut self.bytes);
            if self.is_large {
                self.is_large = false;
                buffers.give_large(bytes);
            } else {
                buffers.give(bytes);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_waits_for_more_keeps_no_whole_buffer() {
        let mut buffers = Buffers::default();
        let mut buffer = Buffer::default();
        for (held, shrunk) in [(5, 5), (SHRINKS_MAX, SHRINKS_MAX), (SHRINKS_MAX + 1, BUFFER_BYTES)] {
            buffer.clear();
            let content: Vec<u8> = (0..=255).cycle().take(held + 3).collect();
            buffer.open_for_read(&mut buffers, BUFFER_BYTES).extend_from_slice(&content);
            buffer.take(3);
            buffer.shrink(&mut buffers);
            assert_eq!((buffer.unread(), buffer.bytes.capacity()), (&content[3..], shrunk));
            // A read continues in a whole buffer, after the octets of the small one.
            let bytes = buffer.open_for_read(&mut buffers, BUFFER_BYTES);
            assert_eq!((&bytes[..], bytes.capacity()), (&content[3..], BUFFER_BYTES));
            assert!(buffers.free.len() <= 1, "no buffer is taken without being given back");
        }
    }

    #[test]
    fn what_is_kept_for_later_has_a_bound() {
        let mut buffers = Buffers::default();
        for (capacity, kept) in [
            (SMALL_BYTES, SMALL_FREE_MAX),
            (BUFFER_BYTES, FREE_MAX),
            (LARGE_BYTES, LARGE_FREE_MAX),
            (BUFFER_BYTES + 1, 0),
        ] {
            let larges: Vec<_> = (0..=LARGE_FREE_MAX).filter_map(|_| buffers.take_large()).collect();
            assert_eq!(larges.len(), LARGE_FREE_MAX + 1);
            for large in larges {
                buffers.give_large(if capacity == LARGE_BYTES { large } else { Vec::new() });
            }
            for _ in 0..=kept {
                buffers.give(Vec::with_capacity(capacity));
            }
            let free = [
                (SMALL_BYTES, buffers.small.len()),
                (BUFFER_BYTES, buffers.free.len()),
                (LARGE_BYTES, buffers.large.len()),
            ];
            let count = free.iter().find(|(of, _)| *of == capacity).map_or(0, |(_, count)| *count);
            assert_eq!(count, kept, "{capacity}");
        }
    }

    #[test]
    fn what_is_taken_is_empty() {
        let mut buffers = Buffers::default();
        buffers.give(vec![b'x'; BUFFER_BYTES]);
        buffers.give(vec![b'x'; SMALL_BYTES]);
        let mut large = buffers.take_large().unwrap();
        large.resize(LARGE_BYTES, b'x');
        buffers.give_large(large);
        let taken = [buffers.take(), buffers.take_for(1), buffers.take_large().unwrap()];
        assert_eq!(
            taken.map(|bytes| (bytes.len(), bytes.capacity())),
            [(0, BUFFER_BYTES), (0, SMALL_BYTES), (0, LARGE_BYTES)]
        );
    }

    #[test]
    fn memory_is_taken_as_long_as_it_is_needed() {
        let mut buffers = Buffers::default();
        for (length, capacity) in
            [(0, SMALL_BYTES), (SMALL_BYTES, SMALL_BYTES), (SMALL_BYTES + 1, BUFFER_BYTES)]
        {
            let mut buffer = Buffer::default();
            assert_eq!(buffer.open_for(&mut buffers, length).capacity(), capacity);
            buffer.reclaim(&mut buffers);
        }
        assert_eq!((buffers.small.len(), buffers.free.len()), (1, 1));
    }

    #[test]
    fn a_large_buffer_that_grew_is_counted_when_it_comes_back() {
        let mut buffers = Buffers::default();
        for _ in 0..=LARGE_USED_MAX {
            let mut buffer = Buffer::default();
            buffer.widen(&mut buffers);
            assert!(buffer.is_large);
            buffer.open_for_read(&mut buffers, 1).resize(LARGE_BYTES, b'x');
            assert!(buffer.open_for_read(&mut buffers, 1).capacity() > LARGE_BYTES);
            buffer.reclaim(&mut buffers);
            assert!(!buffer.is_large);
        }
        assert_eq!(buffers.large_used, 0);
    }

    #[test]
    fn large_buffers_in_use_have_a_bound() {
        let mut buffers = Buffers::default();
        let mut used: Vec<Buffer> = (0..=LARGE_USED_MAX).map(|_| Buffer::default()).collect();
        let rooms: Vec<usize> = (used.iter_mut())
            .map(|buffer| {
                buffer.widen(&mut buffers);
                buffer.open_for_read(&mut buffers, BUFFER_BYTES).capacity()
            })
            .collect();
        assert!(rooms[..LARGE_USED_MAX].iter().all(|&room| room == LARGE_BYTES));
        assert_eq!(rooms[LARGE_USED_MAX], BUFFER_BYTES);
        // A buffer that was returned can be taken again.
        used[0].reclaim(&mut buffers);
        used[LARGE_USED_MAX].widen(&mut buffers);
        assert_eq!(used[LARGE_USED_MAX].bytes.capacity(), LARGE_BYTES);
    }

    #[test]
    fn large_buffers_lie_where_the_kernel_copies_fast() {
        for (address, badly) in
            [(0, false), (16, true), (31, true), (32, false), (2048, false), (4064, false), (4080, true)]
        {
            assert_eq!(lies_badly(3 * PAGE_BYTES + address), badly, "{address}");
        }
    }
}
