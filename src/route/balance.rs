//! Choosing a backend of a pool.
//!
//! Owns the three ways of balancing and what a worker remembers between two choices. Knows no clock and no source of chance:
//! both are arguments. Never allocates in a choice, but for a cursor's first one in a pool of unequal weights.

use super::backend::Backend;
use super::spec::Balancing;
use std::num::NonZeroU32;
use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// Members of one pool that an exchange tells apart when it marks those it has tried: one bit each.
pub const MEMBERS_TOLD_APART: usize = 64;

/// The members of a pool, each with its weight (1 to 65535): a slice. One alone, as most routes of a large table have it, stands
/// in the pool itself, so that reaching it takes no further cache line.
#[derive(Debug)]
pub enum Members {
    /// One.
    One((Arc<Backend>, u16)),
    /// None, or more than one.
    Many(Box<Several>),
}

/// Some members.
#[derive(Debug)]
pub struct Several {
    members: Box<[(Arc<Backend>, u16)]>,
    /// Of each member, the sum of the weights up to and with its own.
    sums: Box<[u64]>,
}

impl From<Vec<(Arc<Backend>, u16)>> for Members {
    fn from(mut members: Vec<(Arc<Backend>, u16)>) -> Self {
        match (members.pop(), members.is_empty()) {
            (Some(one), true) => Self::One(one),
            (last, _) => {
                members.extend(last);
                let sums = running_sums(members.iter().map(|&(_, weight)| weight)).collect();
                Self::Many(Box::new(Several { members: members.into(), sums }))
            }
        }
    }
}

impl Deref for Members {
    type Target = [(Arc<Backend>, u16)];

    fn deref(&self) -> &Self::Target {
        match self {
            Self::One(one) => std::slice::from_ref(one),
            Self::Many(several) => &several.members,
        }
    }
}

/// The backends of one route and how one of them is chosen. Immutable once compiled.
#[derive(Debug)]
pub struct Pool {
    /// How.
    pub balancing: Balancing,
    /// Among whom.
    pub members: Members,
    /// All weights are equal, so that turns need no state but whose turn it is.
    equal: bool,
    /// Its number among the pools of its table that have more than one member: where a worker keeps its cursor. A pool of one
    /// has none, so that a worker takes up a table of many routes in no time, and in little memory.
    pub cursor: Option<NonZeroU32>,
}

/// What one worker remembers of one pool between two choices. Small, for a worker holds one for each pool with a choice.
#[derive(Debug, Default, Clone)]
pub struct Cursor {
    /// The member whose turn it is; with unequal weights, until the first choice, the choices to skip.
    next: u32,
    /// With unequal weights, how far each member is ahead (positive) of or behind its share. Empty until it is needed.
    lead: Vec<i64>,
}

impl Cursor {
    /// The cursor of one worker, so that workers do not begin all with the same member: with equal weights the first choice of
    /// worker `w` among `n` members is member `w mod n`, with unequal ones it is the choice `w` of the cycle.
    pub fn starting_at(worker: usize) -> Self {
        Self { next: u32::try_from(worker).unwrap_or_default(), lead: Vec::new() }
    }
}

impl Pool {
    /// A pool of `members`, each with its weight (1 to 65535).
    pub fn new(balancing: Balancing, members: Vec<(Arc<Backend>, u16)>) -> Self {
        let equal = members.windows(2).all(|pair| matches!(pair, [(_, a), (_, b)] if a == b));
        Self { balancing, members: members.into(), equal, cursor: None }
    }

    /// Chooses a member's index at `now_us` (microseconds of the process clock); passes over `tried` (bit = index; members
    /// from the last bit on share it, so that the tries of one exchange end) and over members that are not usable.
    ///
    /// Where none is usable, one whose connections failed lately (but whose name resolves) is chosen all the same, for a
    /// passive mark must never turn into an outage; `None` where all were tried or none resolves.
    /// `random` is a fresh random number; `cursor` the calling worker's own.
    pub fn choose(&self, cursor: &mut Cursor, random: u64, tried: u64, now_us: u64) -> Option<usize> {
        if let Members::One((backend, _)) = &self.members {
            return (tried & 1 == 0 && backend.is_resolved()).then_some(0);
        }
        let untried = |index: usize| tried >> index.min(MEMBERS_TOLD_APART - 1) & 1 == 0;
        self.choose_among(cursor, random, |index, backend| untried(index) && backend.is_usable(now_us))
            .or_else(|| {
                self.choose_among(cursor, random, |index, backend| untried(index) && backend.is_resolved())
            })
    }

    fn choose_among(
        &self,
        cursor: &mut Cursor,
        random: u64,
        open: impl Fn(usize, &Backend) -> bool,
    ) -> Option<usize> {
        match self.balancing {
            Balancing::RoundRobin => self.in_turn(cursor, open),
            Balancing::LeastConnections => self.least(cursor, open),
            Balancing::Random => self.by_chance(random, open),
        }
    }

    fn in_turn(&self, cursor: &mut Cursor, open: impl Fn(usize, &Backend) -> bool) -> Option<usize> {
        if self.equal { self.next_in_order(cursor, open) } else { self.most_behind(cursor, open) }
    }

    /// Equal weights: the first open member from the one whose turn it is. The turn goes to the one behind the chosen, so that
    /// the neighbour of a closed member does not get its share besides its own.
    fn next_in_order(&self, cursor: &mut Cursor, open: impl Fn(usize, &Backend) -> bool) -> Option<usize> {
        let count = self.members.len();
        let mut first = cursor.next as usize;
        if first >= count {
            first = first.checked_rem(count)?;
        }
        let (before, behind) = self.members.split_at_checked(first)?;
        let behind = (first..).zip(behind);
        let chosen = behind.chain((0..).zip(before)).find(|(index, (backend, _))| open(*index, backend))?.0;
        cursor.next = u32::try_from(chosen + 1).unwrap_or_default();
        Some(chosen)
    }

    /// Unequal weights: smooth weighted round robin, as in nginx. Each open member's lead grows by its weight; the greatest is
    /// chosen and pays the sum of the weights. Over one cycle the shares are exact, and no member gets its share in one run.
    fn most_behind(&self, cursor: &mut Cursor, open: impl Fn(usize, &Backend) -> bool) -> Option<usize> {
        if cursor.lead.len() != self.members.len() {
            cursor.lead.clear();
            cursor.lead.resize(self.members.len(), 0);
            let cycle: u64 = self.members.iter().map(|&(_, weight)| u64::from(weight)).sum();
            // A worker begins at a place of its own in the cycle. This runs once a route and worker.
            for _ in 0..u64::from(std::mem::take(&mut cursor.next)).checked_rem(cycle)? {
                self.pay_the_greatest(&mut cursor.lead, |_, _| true);
            }
        }
        self.pay_the_greatest(&mut cursor.lead, open)
    }

    fn pay_the_greatest(&self, lead: &mut [i64], open: impl Fn(usize, &Backend) -> bool) -> Option<usize> {
        let mut sum = 0;
        let mut greatest: Option<(usize, i64)> = None;
        for (index, ((backend, weight), lead)) in self.members.iter().zip(&mut *lead).enumerate() {
            if !open(index, backend) {
                continue;
            }
            sum += i64::from(*weight);
            *lead += i64::from(*weight);
            if greatest.is_none_or(|(_, value)| *lead > value) {
                greatest = Some((index, *lead));
            }
        }
        let (chosen, value) = greatest?;
        *lead.get_mut(chosen)? = value - sum;
        Some(chosen)
    }

    /// The smallest `in_use / weight`; those that share it take turns by their weights, so that an idle pool is not served by its
    /// first member alone.
    fn least(&self, cursor: &mut Cursor, open: impl Fn(usize, &Backend) -> bool) -> Option<usize> {
        let mut least: Option<(usize, u64, u64)> = None;
        for (index, (backend, weight)) in self.members.iter().enumerate() {
            let (load, weight) = (load(backend), u64::from(*weight));
            // The fractions are compared multiplied out: 32 bits by 16 fit.
            if open(index, backend) && least.is_none_or(|(_, other, share)| load * share < other * weight) {
                least = Some((index, load, weight));
            }
        }
        let (seen, least, share) = least?;
        let at_least = |index: usize, backend: &Backend| {
            let weight = self.members.get(index).map_or(1, |&(_, weight)| u64::from(weight));
            load(backend) * share <= least * weight && open(index, backend)
        };
        // Other workers count meanwhile: where all have risen above the least, what was seen first will do.
        self.in_turn(cursor, at_least).or(Some(seen))
    }

    /// By weight. Where the draw falls on a closed member, what the draw left over is drawn with among the open ones: it is as
    /// good as fresh, where the number itself would favour the members at the same end of the list.
    fn by_chance(&self, random: u64, open: impl Fn(usize, &Backend) -> bool) -> Option<usize> {
        let Members::Many(several) = &self.members else { return None };
        let (point, left_over) = draw(random, *several.sums.last()?);
        let chosen = several.sums.partition_point(|&sum| sum <= point);
        if open(chosen, &self.members.get(chosen)?.0) {
            return Some(chosen);
        }
        let candidates = || {
            let open = &open;
            let members = self.members.iter().enumerate();
            members.filter(move |(index, (backend, _))| open(*index, backend))
        };
        let (mut point, _) = draw(left_over, candidates().map(|(_, &(_, weight))| u64::from(weight)).sum());
        let mut last = None;
        for (index, &(_, weight)) in candidates() {
            last = Some(index);
            match point.checked_sub(u64::from(weight)) {
                Some(rest) => point = rest,
                None => break,
            }
        }
        last
    }
}

fn running_sums(weights: impl Iterator<Item = u16>) -> impl Iterator<Item = u64> {
    weights.scan(0, |sum, weight| {
        *sum += u64::from(weight);
        Some(*sum)
    })
}

fn load(backend: &Backend) -> u64 {
    u64::from(backend.in_use.load(Ordering::Relaxed))
}

/// Scales a random number to `0..bound`; the second is the rest of that scaling, a random number again.
fn draw(random: u64, bound: u64) -> (u64, u64) {
    let scaled = u128::from(random) * u128::from(bound);
    let whole = u64::try_from(scaled >> 64).unwrap_or_default();
    (whole, u64::try_from(scaled & u128::from(u64::MAX)).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::super::backend::BackendId;
    use super::super::reference::Random;
    use super::super::spec::BackendAddress;
    use super::*;

    fn pool(balancing: Balancing, weights: &[u16]) -> Pool {
        let members = (0..).zip(weights).map(|(slot, &weight)| {
            let address = BackendAddress { host: "127.0.0.1".to_owned(), port: 1 };
            (Arc::new(Backend::new(BackendId { slot, generation: 0 }, address)), weight)
        });
        Pool::new(balancing, members.collect())
    }

    /// The first `count` choices of a fresh worker.
    fn choices(pool: &Pool, cursor: &mut Cursor, count: usize) -> Vec<usize> {
        (0..count).map(|_| pool.choose(cursor, 0, 0, 0).unwrap()).collect()
    }

    fn shares(count: usize, chosen: impl IntoIterator<Item = usize>) -> Vec<usize> {
        let mut shares = vec![0; count];
        chosen.into_iter().for_each(|index| shares[index] += 1);
        shares
    }

    const ALL: [Balancing; 3] = [Balancing::RoundRobin, Balancing::LeastConnections, Balancing::Random];

    #[test]
    fn a_cursor_is_small() {
        assert!(size_of::<Cursor>() <= 32);
        let mut cursor = Cursor::default();
        choices(&pool(Balancing::RoundRobin, &[5, 5, 5]), &mut cursor, 9);
        assert_eq!(cursor.lead.capacity(), 0, "equal weights need no state");
    }

    #[test]
    fn equal_weights_take_turns() {
        let pool = pool(Balancing::RoundRobin, &[7, 7, 7]);
        for worker in 0..7 {
            let mut cursor = Cursor::starting_at(worker);
            let expected: Vec<_> = (worker..worker + 8).map(|turn| turn % 3).collect();
            assert_eq!(choices(&pool, &mut cursor, 8), expected);
        }
        pool.members[1].0.failed(10);
        assert_eq!(choices(&pool, &mut Cursor::default(), 6), [0, 2, 0, 2, 0, 2]);
    }

    #[test]
    fn unequal_weights_are_interleaved() {
        let five_one_one = pool(Balancing::RoundRobin, &[5, 1, 1]);
        let mut cursor = Cursor::default();
        // The very order of nginx.
        assert_eq!(choices(&five_one_one, &mut cursor, 7), [0, 0, 1, 0, 2, 0, 0]);
        let weights = [9, 1, 4, 0x1000, 77];
        let cycle = weights.iter().map(|&weight| usize::from(weight)).sum();
        let wide = pool(Balancing::RoundRobin, &weights);
        let mut cursor = Cursor::starting_at(13);
        for _ in 0..3 {
            let once = shares(5, choices(&wide, &mut cursor, cycle));
            assert_eq!(once, weights.map(usize::from), "shares of one cycle are exact");
        }
        let mut staggered = Cursor::starting_at(2);
        assert_eq!(choices(&five_one_one, &mut staggered, 3), [1, 0, 2]);
        five_one_one.members[0].0.failed(10);
        assert_eq!(shares(3, choices(&five_one_one, &mut Cursor::default(), 10)), [0, 5, 5]);
    }

    #[test]
    fn fewest_under_way() {
        let pool = pool(Balancing::LeastConnections, &[1, 1, 1]);
        let mut cursor = Cursor::default();
        assert_eq!(choices(&pool, &mut cursor, 4), [0, 1, 2, 0], "ties are broken in turns");
        pool.members[0].0.begin();
        pool.members[2].0.begin();
        assert_eq!(choices(&pool, &mut cursor, 2), [1, 1]);
        pool.members[1].0.failed(5);
        assert_eq!(shares(3, choices(&pool, &mut cursor, 10)), [5, 0, 5]);
    }

    #[test]
    fn fewest_under_way_by_weight() {
        let pool = pool(Balancing::LeastConnections, &[4, 2, 1]);
        let mut cursor = Cursor::default();
        // Exchanges that never end fill the pool by its weights.
        let chosen: Vec<_> = (0..70)
            .map(|_| {
                let index = pool.choose(&mut cursor, 0, 0, 0).unwrap();
                pool.members[index].0.begin();
                index
            })
            .collect();
        assert_eq!(shares(3, chosen), [40, 20, 10]);
        pool.members.iter().for_each(|(backend, _)| backend.in_use.store(0, Ordering::Relaxed));
        let idle = shares(3, choices(&pool, &mut Cursor::default(), 70));
        assert_eq!(idle, [40, 20, 10], "an idle pool is shared by weight, too");
    }

    #[test]
    fn chance_follows_weights() {
        let pool = pool(Balancing::Random, &[1, 2, 3, 4]);
        let mut random = Random(42);
        let mut draws = |pool: &Pool| {
            let mut cursor = Cursor::default();
            shares(4, (0..100_000).map(|_| pool.choose(&mut cursor, random.next(), 0, 0).unwrap()))
        };
        let near = |got: &[usize], expected: [usize; 4]| {
            got.iter().zip(expected).all(|(&got, expected)| got.abs_diff(expected) < 1_000)
        };
        let open = draws(&pool);
        assert!(near(&open, [10_000, 20_000, 30_000, 40_000]), "{open:?}");
        for closed in 0..4 {
            pool.members[closed].0.failed(10);
            let rest = 10 - (closed + 1);
            let expected = [0, 1, 2, 3].map(|n| if n == closed { 0 } else { 100_000 * (n + 1) / rest });
            let got = draws(&pool);
            assert!(near(&got, expected), "{closed} closed: {got:?}");
            pool.members[closed].0.failed(0);
        }
        assert_eq!(pool.choose(&mut Cursor::default(), 0, 0, 0), Some(0));
        assert_eq!(pool.choose(&mut Cursor::default(), u64::MAX, 0, 0), Some(3));
        assert_eq!(pool.choose(&mut Cursor::default(), u64::MAX, 0b1000, 0), Some(2));
    }

    #[test]
    fn tried_and_failed_members() {
        for balancing in ALL {
            for weights in [[1, 1, 1], [3, 1, 2]] {
                let pool = pool(balancing, &weights);
                let mut cursor = Cursor::default();
                let mut random = Random(3);
                for _ in 0..50 {
                    let mut tried = 0;
                    for _ in 0..3 {
                        let chosen = pool.choose(&mut cursor, random.next(), tried, 0).unwrap();
                        assert_eq!(tried >> chosen & 1, 0, "{balancing:?}");
                        tried |= 1 << chosen;
                    }
                    assert_eq!(pool.choose(&mut cursor, random.next(), tried, 0), None);
                }
                pool.members.iter().for_each(|(backend, _)| backend.failed(100));
                assert!(pool.choose(&mut cursor, random.next(), 0, 0).is_some(), "a mark is no outage");
                assert_eq!(pool.choose(&mut cursor, random.next(), 0b011, 0), Some(2));
                pool.members[1].0.failed(50);
                assert_eq!(pool.choose(&mut cursor, random.next(), 0, 60), Some(1), "the usable one first");
                assert_eq!(pool.choose(&mut cursor, random.next(), 0b111, 60), None);
                pool.members.iter().for_each(|(backend, _)| backend.resolved(Vec::new()));
                assert_eq!(pool.choose(&mut cursor, random.next(), 0, 60), None, "none resolves");
            }
        }
    }

    #[test]
    fn many_members_and_none() {
        for balancing in ALL {
            assert_eq!(pool(balancing, &[]).choose(&mut Cursor::starting_at(3), 9, 0, 0), None);
            let wide = pool(balancing, &[1; 100]);
            let chosen = wide.choose(&mut Cursor::default(), 5, u64::MAX, 0);
            assert_eq!(chosen, None, "members past the last bit share it, or the tries would not end");
            let chosen = wide.choose(&mut Cursor::default(), 5, u64::MAX >> 1, 0);
            assert!(chosen.is_some_and(|index| index >= 63));
        }
    }

    #[test]
    fn a_cursor_survives_a_change_of_its_pool() {
        let mut cursor = Cursor::starting_at(9);
        for weights in [&[1, 2, 3][..], &[1, 1], &[5, 1], &[1], &[2, 1, 1, 1]] {
            let pool = pool(Balancing::RoundRobin, weights);
            choices(&pool, &mut cursor, 20);
        }
    }
}
