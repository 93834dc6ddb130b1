//! The timer wheel: which connections to check for their deadline, and when.
//!
//! The wheel is lazy. Activity writes a later deadline into the connection and never touches the wheel. When
//! a slot is due, the wheel returns its tokens; the owner knows the actual deadline, and acts or schedules
//! again.
//!
//! An owner keeps one [`Timer`] for its whole life and cancels it at the end; then its entry is unlinked and
//! reused. So the wheel holds one entry per open connection.
//!
//! The wheel has no clock: time is an argument.

use crate::base::Tick;
use crate::base::mapped;

/// Microseconds per slot. Timeouts are fractions of a second or longer, so a delay of up to 64 ms does not
/// matter.
pub(super) const SLOT_US: u64 = 64_000;

/// Slots of the wheel, a power of two. One revolution takes 65 s; longer timeouts are checked once per
/// revolution.
pub(super) const SLOTS: usize = 1024;

/// End of a list; index of a timer without an entry.
const NONE: u32 = u32::MAX;

/// Values of `previous` for entries in no slot list: free, ...
const FREE: u32 = u32::MAX - 1;
/// ... or returned to its owner and not scheduled again.
const HANDED_OUT: u32 = u32::MAX - 2;
/// `previous` of the first entry of slot `n` is `FIRST_OF_SLOT + n`. Indexes of entries are lower.
const FIRST_OF_SLOT: u32 = 1 << 31;

/// A doubly linked list runs through the entries of each slot, so that any entry can be unlinked in constant
/// time.
#[derive(Debug, Clone, Copy)]
struct Node<T> {
    token: T,
    /// The next entry of the same slot, or of the free list.
    next: u32,
    /// The previous entry, or one of the constants above.
    previous: u32,
}

/// An owner's entry in a wheel. The owner must cancel it before it drops it.
#[derive(Debug)]
pub(super) struct Timer {
    /// The time at which the wheel returns the token; [`Tick::NEVER`] while not scheduled.
    at: Tick,
    node: u32,
}

impl Timer {
    /// A timer that was never scheduled and has no entry.
    pub(super) const UNSET: Self = Self { at: Tick::NEVER, node: NONE };

    /// Records that the token was returned. To be returned again, the timer must be scheduled again.
    pub(super) fn was_asked(&mut self) {
        self.at = Tick::NEVER;
    }
}

/// Tokens by the time at which they are due.
#[derive(Debug)]
pub(super) struct Wheel<T> {
    /// All entries, in one block of memory that grows to the peak number of entries.
    nodes: Vec<Node<T>>,
    free: u32,
    /// Free entries.
    free_count: usize,
    /// Entries freed since memory was last returned.
    freed: usize,
    /// The first entry of each slot. Slot number `n` (time divided by [`SLOT_US`]) is at `n % SLOTS`.
    heads: Box<[u32; SLOTS]>,
    /// One bit per slot: the slot has entries.
    filled: [u64; SLOTS / 64],
    /// Number of the first slot that has not expired. Entries are in this slot and the `SLOTS - 1` after it.
    front: u64,
    /// Number of the first slot with entries; `u64::MAX` if there are none. Read twice per turn, but seldom
    /// changed.
    first: u64,
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
            free_count: 0,
            freed: 0,
            heads: Box::new([NONE; SLOTS]),
            filled: [0; SLOTS / 64],
            front: 0,
            first: u64::MAX,
        }
    }

    /// Schedules `token` for `deadline`. If the timer is scheduled for an earlier time, nothing changes:
    /// activity that postpones a deadline costs nothing here. The token is returned up to one slot after the
    /// time it was scheduled for, never before it, unless that time is more than a revolution away. A time in
    /// the past is returned with the next slot.
    ///
    /// # Panics
    /// At 2³¹ entries, which cannot occur: descriptors bound the number of connections.
    #[inline]
    pub(super) fn schedule(&mut self, timer: &mut Timer, deadline: Tick, token: T) {
        if deadline < timer.at {
            self.insert(timer, deadline, token);
        }
    }

    /// Frees the entry of an owner at its end.
    pub(super) fn cancel(&mut self, timer: &mut Timer) {
        let index = std::mem::replace(timer, Timer::UNSET).node;
        if index == NONE {
            return;
        }
        self.unlink(index);
        let node = &mut self.nodes[index as usize];
        (node.previous, node.next) = (FREE, self.free);
        self.free = index;
        self.free_count += 1;
        self.freed += 1;
    }

    /// Moves every token that is due into `due`; the caller must call [`Timer::was_asked`] for each. Slots
    /// are in order; tokens of one slot are in no defined order.
    pub(super) fn expire(&mut self, now: Tick, due: &mut Vec<T>) {
        let last = now.0 / SLOT_US;
        while self.first <= last {
            let slot = slot_of(self.first);
            self.filled[slot / 64] &= !(1 << (slot % 64));
            let mut index = std::mem::replace(&mut self.heads[slot], NONE);
            while index != NONE {
                let node = &mut self.nodes[index as usize];
                due.push(node.token);
                node.previous = HANDED_OUT;
                index = node.next;
            }
            self.first = self.first_filled();
        }
        self.front = self.front.max(last + 1);
    }

    /// The time of the next entries; [`Tick::NEVER`] if there are none, so that an idle worker sleeps until
    /// the next event.
    pub(super) fn next(&self) -> Tick {
        if self.first == u64::MAX { Tick::NEVER } else { Tick(self.first * SLOT_US) }
    }

    /// Entries that have an owner.
    pub(super) fn owned(&self) -> usize {
        self.nodes.len() - self.free_count
    }

    /// Whether there is room for many more entries than exist. If live entries at the end of the memory
    /// prevented a trim, the next attempt follows only after many more entries were freed.
    pub(super) fn has_surplus(&self) -> bool {
        let capacity = self.nodes.capacity();
        let count = self.nodes.len() - self.free_count;
        capacity > mapped::<Node<T>>() && count * 4 <= capacity && self.freed * 4 >= capacity
    }

    /// Returns the memory after the last entry, if there is room for many more entries than exist.
    pub(super) fn trim(&mut self) {
        if !self.has_surplus() {
            return;
        }
        let last = self.nodes.iter().rposition(|node| node.previous != FREE);
        self.nodes.truncate(last.map_or(0, |last| last + 1));
        self.nodes.shrink_to(mapped::<Node<T>>());
        (self.free, self.free_count, self.freed) = (NONE, 0, 0);
        for index in (0..self.nodes.len()).rev() {
            if self.nodes[index].previous == FREE {
                self.nodes[index].next = self.free;
                self.free = index_of(index);
                self.free_count += 1;
            }
        }
    }

    fn insert(&mut self, timer: &mut Timer, at: Tick, token: T) {
        // Rounded up: when the slot is due, all its entries are.
        let number = at.0.div_ceil(SLOT_US).clamp(self.front, self.front + (SLOTS as u64 - 1));
        let slot = slot_of(number);
        let index = self.node_of(timer, token);
        timer.at = at;
        let next = std::mem::replace(&mut self.heads[slot], index);
        if let Some(next) = self.nodes.get_mut(next as usize) {
            next.previous = index;
        }
        self.nodes[index as usize] = Node { token, next, previous: FIRST_OF_SLOT + index_of(slot) };
        self.filled[slot / 64] |= 1 << (slot % 64);
        self.first = self.first.min(number);
    }

    /// The timer's entry, unlinked; a free or new entry if it has none.
    fn node_of(&mut self, timer: &mut Timer, token: T) -> u32 {
        if timer.node != NONE {
            self.unlink(timer.node);
        } else if self.free == NONE {
            timer.node = index_of(self.nodes.len());
            self.nodes.push(Node { token, next: NONE, previous: HANDED_OUT });
        } else {
            timer.node = self.free;
            self.free = self.nodes[timer.node as usize].next;
            self.free_count -= 1;
        }
        timer.node
    }

    /// Unlinks an entry from the list of its slot, if it is in one.
    fn unlink(&mut self, index: u32) {
        let Node { next, previous, .. } = self.nodes[index as usize];
        match previous {
            HANDED_OUT => return,
            FIRST_OF_SLOT..FREE => {
                let slot = (previous - FIRST_OF_SLOT) as usize;
                self.heads[slot] = next;
                if next == NONE {
                    self.filled[slot / 64] &= !(1 << (slot % 64));
                    if slot == slot_of(self.first) {
                        self.first = self.first_filled();
                    }
                }
            }
            _ => self.nodes[previous as usize].next = next,
        }
        if let Some(next) = self.nodes.get_mut(next as usize) {
            next.previous = previous;
        }
        self.nodes[index as usize].previous = HANDED_OUT;
    }

    /// Number of the first slot with entries, from `front` on; `u64::MAX` if there is none. Reads at most 17
    /// words.
    fn first_filled(&self) -> u64 {
        let front = slot_of(self.front);
        let words = self.filled.len();
        let found = (0..=words).find_map(|step| {
            let index = (front / 64 + step) % words;
            let mut word = self.filled[index];
            // The word of `front` is read twice: first its upper bits, a revolution later its lower bits.
            if step == 0 {
                word &= u64::MAX << (front % 64);
            }
            let slot = index * 64 + word.trailing_zeros() as usize;
            let distance = (slot + SLOTS - front) % SLOTS;
            (word != 0).then_some(self.front + distance as u64)
        });
        found.unwrap_or(u64::MAX)
    }
}

/// The index of an entry or of a slot.
fn index_of(number: usize) -> u32 {
    let index = u32::try_from(number).ok().filter(|&index| index < FIRST_OF_SLOT);
    index.expect("a worker has fewer than 2^31 timers")
}

/// The position of slot `number`.
#[expect(clippy::cast_possible_truncation, reason = "the remainder is below SLOTS")]
const fn slot_of(number: u64) -> usize {
    (number % SLOTS as u64) as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Random;

    const REVOLUTION_US: u64 = SLOT_US * SLOTS as u64;

    fn expired(wheel: &mut Wheel<u32>, now: u64) -> Vec<u32> {
        let mut due = Vec::new();
        wheel.expire(Tick(now), &mut due);
        due
    }

    /// A timer that is scheduled once.
    fn timer<T: Copy>(wheel: &mut Wheel<T>, at: u64, token: T) -> Timer {
        let mut timer = Timer::UNSET;
        wheel.schedule(&mut timer, Tick(at), token);
        timer
    }

    #[test]
    fn never_early_and_at_most_a_slot_late() {
        for at in [0, 1, SLOT_US - 1, SLOT_US, SLOT_US + 1, 30_000_000, REVOLUTION_US - SLOT_US] {
            let mut wheel = Wheel::new();
            timer(&mut wheel, at, 7);
            if at > 0 {
                assert_eq!(expired(&mut wheel, at - 1), [], "{at}");
            }
            // The token is due less than one slot after `at`.
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
        timer(&mut wheel, 3, 1);
        assert_eq!(wheel.next(), Tick(101 * SLOT_US));
        assert_eq!(expired(&mut wheel, now), []);
        assert_eq!(expired(&mut wheel, 101 * SLOT_US), [1]);
    }

    #[test]
    fn what_is_far_is_asked_within_a_revolution() {
        let mut wheel = Wheel::new();
        let at = Tick(10 * REVOLUTION_US + 1);
        let mut timer = timer(&mut wheel, at.0, 'a');
        let (mut asked, mut now, mut due) = (0, 0, Vec::new());
        while wheel.next() != Tick::NEVER {
            now = wheel.next().0;
            wheel.expire(Tick(now), &mut due);
            assert_eq!((due.pop(), due.len()), (Some('a'), 0));
            asked += 1;
            timer.was_asked();
            if at.0 > now {
                wheel.schedule(&mut timer, at, 'a');
            }
        }
        assert!(asked <= 12, "{asked}");
        assert!(now >= at.0 && now - at.0 < SLOT_US);
    }

    #[test]
    fn a_long_pause_hands_everything_out() {
        let mut wheel = Wheel::new();
        for token in 0..1000 {
            timer(&mut wheel, u64::from(token) * 60_000, token);
        }
        let mut all = expired(&mut wheel, 5 * REVOLUTION_US);
        all.sort_unstable();
        assert!(all.into_iter().eq(0..1000));
        timer(&mut wheel, 5 * REVOLUTION_US + 1, 1);
        assert_eq!(expired(&mut wheel, 5 * REVOLUTION_US + SLOT_US), [1]);
    }

    /// 20,000 connections per second for 100 s, each with a deadline one minute away; 50 are open at a time.
    #[test]
    fn it_grows_with_the_number_of_connections_and_not_with_their_rate() {
        let mut wheel = Wheel::new();
        let mut open = std::collections::VecDeque::new();
        for number in 0..2_000_000_u32 {
            let now = u64::from(number) * 50;
            if number % 1000 == 0 {
                assert_eq!(expired(&mut wheel, now), []);
            }
            open.push_back(timer(&mut wheel, now + 65_000_000, number));
            if open.len() > 50 {
                wheel.cancel(&mut open.pop_front().unwrap());
            }
        }
        assert_eq!(wheel.nodes.len(), 51);
        for timer in &mut open {
            wheel.cancel(timer);
        }
        assert_eq!((wheel.next(), wheel.free_count), (Tick::NEVER, 51));
    }

    #[test]
    fn what_is_earlier_moves_and_what_is_later_stays() {
        let mut wheel = Wheel::new();
        let mut one = timer(&mut wheel, 10 * SLOT_US, 1);
        wheel.schedule(&mut one, Tick(20 * SLOT_US), 1);
        assert_eq!(wheel.next(), Tick(10 * SLOT_US));
        wheel.schedule(&mut one, Tick(5 * SLOT_US), 1);
        assert_eq!((expired(&mut wheel, 5 * SLOT_US), wheel.next()), (vec![1], Tick::NEVER));
        one.was_asked();
        wheel.schedule(&mut one, Tick(20 * SLOT_US), 1);
        assert_eq!((wheel.next(), wheel.nodes.len()), (Tick(20 * SLOT_US), 1));
    }

    #[test]
    fn memory_of_many_entries_is_given_back_down_to_the_last_entry() {
        let mut wheel = Wheel::new();
        let base = wheel.nodes.capacity();
        let mut timers: Vec<_> =
            (0..4 * u32::try_from(base).unwrap()).map(|number| timer(&mut wheel, 1, number)).collect();
        assert!(!wheel.has_surplus());
        let kept = base / 2;
        for (number, timer) in timers.iter_mut().enumerate() {
            if number != kept {
                wheel.cancel(timer);
            }
        }
        assert!(wheel.has_surplus());
        wheel.trim();
        assert!(!wheel.has_surplus() && wheel.nodes.capacity() < 2 * base);
        assert_eq!((wheel.nodes.len(), wheel.free_count), (kept + 1, kept));
        for number in 0..2 * kept {
            timer(&mut wheel, SLOT_US, u32::try_from(base + number).unwrap());
        }
        assert_eq!(wheel.nodes.len(), 2 * kept + 1);
        assert_eq!(expired(&mut wheel, 3 * SLOT_US).len(), 2 * kept + 1);
    }

    /// A naive wheel: a list, searched linearly.
    #[derive(Default)]
    struct Model {
        entries: Vec<(u64, u32)>,
        front: u64,
    }

    impl Model {
        fn insert(&mut self, at: Tick, token: u32) {
            let number = at.0.div_ceil(SLOT_US).max(self.front).min(self.front + SLOTS as u64 - 1);
            self.remove(token);
            self.entries.push((number, token));
        }
        fn remove(&mut self, token: u32) {
            self.entries.retain(|entry| entry.1 != token);
        }
        fn expire(&mut self, now: Tick) -> Vec<u32> {
            self.front = self.front.max(now.0 / SLOT_US + 1);
            let front = self.front;
            let (due, rest): (Vec<_>, Vec<_>) =
                self.entries.iter().copied().partition(|entry| entry.0 < front);
            self.entries = rest;
            let mut due: Vec<_> = due.into_iter().map(|(_, token)| token).collect();
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
        const OWNERS: u32 = 200;
        for seed in 1..=50_u64 {
            let mut random = Random::new(seed);
            let mut below = |bound: u64| random.number() % bound;
            let (mut wheel, mut model) = (Wheel::new(), Model::default());
            let mut timers: Vec<_> = (0..OWNERS).map(|_| Timer::UNSET).collect();
            let mut now = Tick(below(3 * REVOLUTION_US));
            let mut due = Vec::new();
            for step in 0..2_000 {
                let owner = u32::try_from(below(OWNERS.into())).unwrap();
                let timer = &mut timers[owner as usize];
                match below(10) {
                    0..4 => {
                        let ahead = [SLOT_US, 1_000_000, 30_000_000, 3 * REVOLUTION_US][step % 4];
                        let at = Tick((now.0 + below(ahead)).saturating_sub(below(2) * SLOT_US));
                        if at < timer.at {
                            model.insert(at, owner);
                        }
                        wheel.schedule(timer, at, owner);
                    }
                    4..6 => {
                        wheel.cancel(timer);
                        model.remove(owner);
                    }
                    6 => now.0 += below(REVOLUTION_US / 8),
                    7 if below(50) == 0 => now.0 += below(3 * REVOLUTION_US),
                    7 if wheel.next() != Tick::NEVER => now = now.max(wheel.next()),
                    _ => now.0 += below(SLOT_US),
                }
                if below(2) == 0 {
                    due.clear();
                    wheel.expire(now, &mut due);
                    for &owner in &due {
                        timers[owner as usize].was_asked();
                    }
                    due.sort_unstable();
                    assert_eq!(due, model.expire(now), "seed {seed}, step {step}");
                }
                assert_eq!(wheel.next(), model.next(), "seed {seed}, step {step}");
                assert!(wheel.nodes.len() - wheel.free_count <= OWNERS as usize);
            }
        }
    }
}
