//! What a worker keeps for later use, and gives back once it was not needed for a while.

/// Things for later use, the last used on top: it is the one still in the processor's cache.
#[derive(Debug)]
pub struct ObjectPool<T> {
    /// Has room for `count_max` from the start, and so lies below what a peak takes: a list that grew at a peak would keep the
    /// allocator from giving back the memory below it.
    free: Vec<T>,
    /// The fewest there were at a time since the last look: that many were not needed.
    unused: usize,
    /// No more than these are not worth a look.
    base: usize,
    /// More than these are not kept.
    count_max: usize,
}

impl<T> ObjectPool<T> {
    /// An empty one that never keeps more than `count_max`; no more than `base` are not worth a look.
    pub fn new(base: usize, count_max: usize) -> Self {
        Self { free: Vec::with_capacity(count_max), unused: 0, base, count_max }
    }

    /// The one that was given last.
    #[inline]
    pub fn take(&mut self) -> Option<T> {
        let taken = self.free.pop();
        self.unused = self.unused.min(self.free.len());
        taken
    }

    /// Keeps one for later, if there is room.
    #[inline]
    pub fn give(&mut self, one: T) {
        if self.free.len() < self.count_max {
            self.free.push(one);
        }
    }

    /// More are kept than is worth a look.
    #[inline]
    pub fn has_surplus(&self) -> bool {
        self.free.len() > self.base
    }

    /// More were not needed since the last look than is worth keeping.
    pub fn is_unneeded(&self) -> bool {
        self.unused > self.base
    }

    /// Looks at what was needed since the last look, and begins anew; nothing goes.
    pub fn look(&mut self) {
        self.unused = self.free.len();
    }

    /// Looks at what was needed since the last look. Where that was less than half of what there is, or these are few, all goes, also
    /// what was needed: it may lie anywhere between what others gave back, and keeps the allocator from giving that to the system.
    /// What takes its place lies where memory is in use. True where any went.
    pub fn trim(&mut self) -> bool {
        let is_little_needed = self.unused * 2 >= self.free.len() || !self.has_surplus();
        let trims = is_little_needed && !self.is_empty();
        if trims {
            self.free.clear();
        }
        self.look();
        trims
    }

    /// Lets go of all of them.
    pub fn clear(&mut self) {
        self.free.clear();
        self.unused = 0;
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.free.len()
    }

    /// Is there none?
    pub fn is_empty(&self) -> bool {
        self.free.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BASE: usize = 4;

    fn pool_of(count: usize) -> ObjectPool<usize> {
        let mut pool = ObjectPool::new(BASE, 100);
        for number in 0..count {
            pool.give(number);
        }
        pool
    }

    /// Takes `count` at a time and gives them back.
    fn need(pool: &mut ObjectPool<usize>, count: usize) {
        let taken: Vec<_> = (0..count).map(|_| pool.take().unwrap()).collect();
        for one in taken {
            pool.give(one);
        }
    }

    #[test]
    fn what_was_not_needed_between_two_looks_goes() {
        for (count, needed, left) in
            [(BASE, BASE, 0), (BASE + 1, 0, 0), (100, 0, 0), (100, 50, 0), (100, 51, 100), (100, 100, 100)]
        {
            let mut pool = pool_of(count);
            assert_eq!((pool.has_surplus(), pool.is_unneeded()), (count > BASE, false));
            pool.look();
            need(&mut pool, needed);
            assert_eq!(pool.is_unneeded(), count - needed > BASE, "{needed} of {count}");
            assert_eq!(pool.trim(), left < count, "{needed} of {count}");
            assert_eq!((pool.len(), pool.has_surplus()), (left, left > BASE), "{needed} of {count}");
        }
    }

    #[test]
    fn the_last_given_is_the_first_taken_and_there_is_a_maximum() {
        let mut pool = pool_of(101);
        assert_eq!((pool.len(), pool.take()), (100, Some(99)));
        pool.clear();
        assert_eq!((pool.is_empty(), pool.take()), (true, None));
    }
}
