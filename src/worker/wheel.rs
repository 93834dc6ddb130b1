//! The timer wheel: which connections are to be asked about their deadline, and when.
//!
//! It is lazy. Activity writes a later deadline into the connection and never touches the wheel; when the wheel's own time
//! comes, it hands the token out, and the owner, who knows the deadline, acts or inserts the token anew. So a connection
//! costs the wheel one entry a timeout, however much goes through it. Entries are never taken out before their time: a
//! token whose connection is gone is told by its generation.
//!
//! The wheel knows no clock: the time is an argument.

use crate::base::Tick;
use crate::base::mapped;

/// Microseconds of one slot. Timeouts are fractions of a second at the least, so being up to 64 ms late is nothing.
pub(super) const SLOT_US: u64 = 64_000;

/// Slots of the wheel, a power of two. One revolution takes 65 seconds, and longer timeouts are asked once a revolution.
pub(super) const SLOTS: usize = 1024;

/// The end of a slot's list.
const NONE: u32 = u32::MAX;

#[derive(Debug, Clone, Copy)]
struct Node<T> {
    at: Tick,
    token: T,
    /// The next node of the same slot, or of the free list.
    next: u32,
}

/// Tokens by the time at which they are to be asked about.
#[derive(Debug)]
pub(super) struct Wheel<T> {
    /// All entries, in one piece of memory that grows to the most there ever were at a time.
    nodes: Vec<Node<T>>,
    free: u32,
    /// The first entry of each slot. Slot number `n` (time divided by [`SLOT_US`]) stands at `n % SLOTS`.
    heads: Box<[u32; SLOTS]>,
    /// One bit a slot: it has entries.
    filled: [u64; SLOTS / 64],
    /// The number of the first slot that was not expired yet; entries are in this one and the `SLOTS - 1` after it.
    front: u64,
}

impl<T: Copy> Default for Wheel<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T: Copy> Wheel<T> {
    /// An empty wheel.
    pub(super) fn new() -> Self {
        Self {
            nodes: Vec::with_capacity(mapped::<Node<T>>()),
            free: NONE,
            heads: Box::new([NONE; SLOTS]),
            filled: [0; SLOTS / 64],
            front: 0,
        }
    }

    /// Asks for `token` to be handed out at `at`: never before, unless `at` is more than a revolution away, and up to one
    /// slot after. A time that is past is handed out with the next slot.
    ///
    /// # Panics
    /// At 2³² - 1 entries, which connections bounded by descriptors cannot make.
    pub(super) fn insert(&mut self, at: Tick, token: T) {
        // Rounded up: when the slot's time has come, that of all its entries has.
        let number = at.0.div_ceil(SLOT_US).clamp(self.front, self.front + (SLOTS as u64 - 1));
        let slot = slot_of(number);
        let node = Node { at, token, next: self.heads[slot] };
        self.heads[slot] = if self.free == NONE {
            let index = u32::try_from(self.nodes.len()).ok().filter(|&index| index != NONE);
            self.nodes.push(node);
            index.expect("a worker has fewer than 2^32 - 1 timers")
        } else {
            let index = self.free;
            let group = &mut self.nodes[index as usize];
            self.free = group.next;
            *group = node;
            index
        };
        self.filled[slot / 64] |= 1 << (slot % 64);
    }

    /// Moves every entry whose time has come into `due`, with the time it was inserted for (which lies after `now` only
    /// if it was more than a revolution away). Slots come in their order, entries of one slot in no order to rely on.
    pub(super) fn expire(&mut self, now: Tick, due: &mut Vec<(Tick, T)>) {
        let last = now.0 / SLOT_US;
        while let Some(number) = self.first_filled().filter(|&number| number <= last) {
            let slot = slot_of(number);
            self.filled[slot / 64] &= !(1 << (slot % 64));
            let mut index = std::mem::replace(&mut self.heads[slot], NONE);
            while index != NONE {
                let node = &mut self.nodes[index as usize];
                due.push((node.at, node.token));
                let next = std::mem::replace(&mut node.next, self.free);
                self.free = index;
                index = next;
            }
        }
        self.front = self.front.max(last + 1);
    }

    /// When the next entries are due; [`Tick::NEVER`] while there are none, so that an idle worker sleeps until the network wakes
    /// it.
    pub(super) fn next(&self) -> Tick {
        self.first_filled().map_or(Tick::NEVER, |number| Tick(number * SLOT_US))
    }

    /// It has no entries, and room for many.
    pub(super) fn has_surplus(&self) -> bool {
        self.nodes.capacity() > mapped::<Node<T>>() && self.first_filled().is_none()
    }

    /// Gives back what it has not needed since it became empty, if it is.
    pub(super) fn trim(&mut self) {
        if self.has_surplus() {
            self.nodes.clear();
            self.nodes.shrink_to(mapped::<Node<T>>());
            self.free = NONE;
        }
    }

    /// The number of the first slot from the front that has entries: at most 17 words are looked at.
    fn first_filled(&self) -> Option<u64> {
        let front = slot_of(self.front);
        let words = self.filled.len();
        (0..=words).find_map(|step| {
            let index = (front / 64 + step) % words;
            let mut word = self.filled[index];
            // The front's word comes twice: its upper part first, its lower part a revolution later.
            if step == 0 {
                word &= u64::MAX << (front % 64);
            }
            let slot = index * 64 + word.trailing_zeros() as usize;
            let distance = (slot + SLOTS - front) % SLOTS;
            (word != 0).then_some(self.front + distance as u64)
        })
    }
}

/// Makes the wheel ask at `deadline`, unless it does so before anyway.
pub(super) fn schedule<T: Copy>(wheel: &mut Wheel<T>, asked_at: &mut Tick, deadline: Tick, token: T) {
    if deadline < *asked_at {
        *asked_at = deadline;
        wheel.insert(deadline, token);
    }
}

/// Where the slot of that number stands.
#[expect(clippy::cast_possible_truncation, reason = "the remainder is below SLOTS")]
const fn slot_of(number: u64) -> usize {
    (number % SLOTS as u64) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    const REVOLUTION_US: u64 = SLOT_US * SLOTS as u64;

    fn expired(wheel: &mut Wheel<u32>, now: u64) -> Vec<u32> {
        let mut due = Vec::new();
        wheel.expire(Tick(now), &mut due);
        due.into_iter().map(|(_, token)| token).collect()
    }

    #[test]
    fn never_early_and_at_most_a_slot_late() {
        for at in [0, 1, SLOT_US - 1, SLOT_US, SLOT_US + 1, 30_000_000, REVOLUTION_US - SLOT_US] {
            let mut wheel = Wheel::new();
            wheel.insert(Tick(at), 7);
            if at > 0 {
                assert_eq!(expired(&mut wheel, at - 1), [], "{at}");
            }
            // Its slot may have passed at the moment before, but not by more than one.
            let wait = wheel.next().since_us(Tick(at));
            assert!(wait < SLOT_US, "{at}: {wait}");
            if wait > 0 {
                assert_eq!(expired(&mut wheel, at + wait - 1), [], "{at}");
            }
            assert_eq!(expired(&mut wheel, at + wait), [7], "{at}");
            assert_eq!(wheel.next(), Tick::NEVER);
        }
    }

    #[test]
    fn what_is_past_comes_with_the_next_slot() {
        let mut wheel = Wheel::new();
        let now = 100 * SLOT_US + 5;
        assert_eq!(expired(&mut wheel, now), []);
        wheel.insert(Tick(3), 1);
        assert_eq!(wheel.next(), Tick(101 * SLOT_US));
        assert_eq!(expired(&mut wheel, now), []);
        assert_eq!(expired(&mut wheel, 101 * SLOT_US), [1]);
    }

    #[test]
    fn what_is_far_is_asked_within_a_revolution_and_keeps_its_time() {
        let mut wheel = Wheel::new();
        let at = Tick(10 * REVOLUTION_US + 1);
        wheel.insert(at, 'a');
        let mut asked = 0;
        let mut due = Vec::new();
        let mut now = 0;
        while wheel.next() != Tick::NEVER {
            now = wheel.next().0;
            wheel.expire(Tick(now), &mut due);
            let (inserted, token) = due.pop().unwrap();
            assert_eq!((inserted, token, due.len()), (at, 'a', 0));
            asked += 1;
            if inserted.0 > now {
                wheel.insert(inserted, token);
            }
        }
        assert!(asked <= 12, "{asked}");
        assert!(now >= at.0 && now - at.0 < SLOT_US);
    }

    #[test]
    fn a_long_pause_hands_everything_out() {
        let mut wheel = Wheel::new();
        for token in 0..1000 {
            wheel.insert(Tick(u64::from(token) * 60_000), token);
        }
        let mut all = expired(&mut wheel, 5 * REVOLUTION_US);
        all.sort_unstable();
        assert!(all.into_iter().eq(0..1000));
        wheel.insert(Tick(5 * REVOLUTION_US + 1), 1);
        assert_eq!(expired(&mut wheel, 5 * REVOLUTION_US + SLOT_US), [1]);
    }

    #[test]
    fn a_warm_wheel_does_not_grow() {
        let mut wheel = Wheel::new();
        let mut due = Vec::new();
        for turn in 0..10_000_u64 {
            let now = Tick(turn * 10_000);
            due.clear();
            wheel.expire(now, &mut due);
            wheel.insert(Tick(now.0 + 1_000_000), turn);
        }
        // One a 10 ms, each for a second and a slot.
        assert!(wheel.nodes.len() <= 108, "{}", wheel.nodes.len());
    }

    #[test]
    fn an_empty_wheel_gives_back_what_many_entries_took() {
        let mut wheel = Wheel::new();
        let base = wheel.nodes.capacity();
        for number in 0..2 * u32::try_from(base).unwrap() {
            wheel.insert(Tick(1), number);
        }
        assert!(!wheel.has_surplus());
        assert_eq!(expired(&mut wheel, SLOT_US).len(), 2 * base);
        assert!(wheel.has_surplus());
        wheel.trim();
        assert!(!wheel.has_surplus() && wheel.nodes.capacity() < 2 * base);
        wheel.insert(Tick(SLOT_US), 7);
        assert_eq!(expired(&mut wheel, 3 * SLOT_US), [7]);
    }

    /// A naive wheel: a list that is looked through.
    #[derive(Default)]
    struct Model {
        entries: Vec<(u64, Tick, u32)>,
        front: u64,
    }

    impl Model {
        fn insert(&mut self, at: Tick, token: u32) {
            let number = at.0.div_ceil(SLOT_US).max(self.front).min(self.front + SLOTS as u64 - 1);
            self.entries.push((number, at, token));
        }
        fn expire(&mut self, now: Tick) -> Vec<(Tick, u32)> {
            self.front = self.front.max(now.0 / SLOT_US + 1);
            let front = self.front;
            let (due, rest): (Vec<_>, Vec<_>) =
                self.entries.iter().copied().partition(|entry| entry.0 < front);
            self.entries = rest;
            let mut due: Vec<_> = due.into_iter().map(|(_, at, token)| (at, token)).collect();
            due.sort_unstable();
            due
        }
        fn next(&self) -> Tick {
            let number = self.entries.iter().map(|entry| entry.0).min();
            number.map_or(Tick::NEVER, |number| Tick(number * SLOT_US))
        }
    }

    #[test]
    fn agrees_with_a_naive_model() {
        for seed in 1..=50_u64 {
            let mut random = seed;
            let mut below = |bound: u64| {
                // xorshift64: any sequence does that a seed replays.
                random ^= random << 13;
                random ^= random >> 7;
                random ^= random << 17;
                random % bound
            };
            let (mut wheel, mut model) = (Wheel::new(), Model::default());
            let mut now = Tick(below(3 * REVOLUTION_US));
            let mut due = Vec::new();
            for token in 0..2_000 {
                match below(8) {
                    0..4 => {
                        let ahead = [SLOT_US, 1_000_000, 30_000_000, 3 * REVOLUTION_US][token as usize % 4];
                        let at = Tick((now.0 + below(ahead)).saturating_sub(below(2) * SLOT_US));
                        wheel.insert(at, token);
                        model.insert(at, token);
                    }
                    4 => now.0 += below(REVOLUTION_US / 8),
                    5 if below(50) == 0 => now.0 += below(3 * REVOLUTION_US),
                    5 if wheel.next() != Tick::NEVER => now = now.max(wheel.next()),
                    _ => now.0 += below(SLOT_US),
                }
                if below(2) == 0 {
                    due.clear();
                    wheel.expire(now, &mut due);
                    due.sort_unstable();
                    assert_eq!(due, model.expire(now), "seed {seed}, step {token}");
                }
                assert_eq!(wheel.next(), model.next(), "seed {seed}, step {token}");
            }
        }
    }
}
