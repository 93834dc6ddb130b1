//! The choice of an endpoint of a pool: first a backend, by weight, then one of its endpoints. So a backend
//! has the share that the file gives it, however many addresses its name has now.
//!
//! Owns the three ways of balancing and the state that a worker keeps between choices. Knows no clock and no
//! random source: both are arguments. A choice never allocates, except the first one of a cursor in a pool of
//! unequal weights.

use super::backend::{Among, Backend};
use super::endpoint::{Chosen, Try};
use super::health::Admission;
use super::spec::Balancing;
use crate::base::Tick;
use std::num::NonZeroU32;
use std::ops::Deref;
use std::sync::Arc;

/// The most repetitions of a choice because the chosen endpoint was retired, or another exchange began its
/// trial.
const RACES_MAX: usize = 4;

/// The members of a pool, a slice, each with its weight (1 to 65535). A single member, the case of most
/// routes of a large table, is stored inline, so that reaching it costs no further cache line.
#[derive(Debug)]
pub enum Members {
    /// One member.
    One((Arc<Backend>, u16)),
    /// No members, or more than one.
    Many(Box<Several>),
}

/// Several members.
#[derive(Debug)]
pub struct Several {
    members: Box<[(Arc<Backend>, u16)]>,
    /// For each member, the sum of the weights up to and including its own.
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

/// The backends of one route and the way of choosing one. Immutable once compiled.
#[derive(Debug)]
pub struct Pool {
    /// The way of balancing.
    pub balancing: Balancing,
    /// The backends to choose from.
    pub members: Members,
    /// All weights are equal, so that round robin needs only the index of the last member.
    equal: bool,
    /// Its number among the pools of its table with more than one member: the index of a worker's cursor. A
    /// pool of one member has none, so that a worker takes up a table of many routes in little time and
    /// memory.
    pub cursor: Option<NonZeroU32>,
}

/// The state that one worker keeps for one pool between choices. Small, because a worker has one for each
/// pool with a choice.
///
/// A new cursor begins at random: neither different workers nor the snapshots of frequent reloads all begin
/// with the same member.
#[derive(Debug, Default, Clone)]
pub struct Cursor {
    /// With equal weights, the index of the last chosen member plus one; 0: no choice yet.
    turn: u32,
    /// With unequal weights, how far each member is ahead of (positive) or behind its share. Empty until
    /// needed.
    lead: Vec<i64>,
}

/// A chosen endpoint.
#[derive(Debug)]
pub struct Choice<'a> {
    /// The index of its backend in the pool.
    pub member: usize,
    /// The endpoint.
    pub endpoint: Chosen<'a>,
    /// How the exchange is admitted; a claimed trial, for example, must be given back.
    pub admission: Admission,
}

/// The order in which sets of endpoints are searched. An exchange with a failed try begins with the first
/// set, any other with the second.
const ORDER: [Among; 3] = [Among::Up, Among::UpOrDue, Among::All];

impl Pool {
    /// A pool of `members`, each with its weight (1 to 65535).
    pub fn new(balancing: Balancing, members: Vec<(Arc<Backend>, u16)>) -> Self {
        let equal = members.windows(2).all(|pair| matches!(pair, [(_, a), (_, b)] if a == b));
        Self { balancing, members: members.into(), equal, cursor: None }
    }

    /// Chooses an endpoint that is not among `tried`, at `now` of the process clock.
    ///
    /// Endpoints that are up are chosen first. An endpoint that is out and due takes its turn too, and the
    /// exchange is its trial; but an exchange with a failed try prefers endpoints that are up. If none of
    /// these exists, any endpoint is chosen, because a passive mark must never cause an outage. `None` if all
    /// were tried or no name resolves. `random` is a fresh random number; `cursor` belongs to the calling
    /// worker.
    pub fn choose(&self, cursor: &mut Cursor, random: u64, tried: &[Try], now: Tick) -> Option<Choice<'_>> {
        // The common case: most routes have one backend, most backends one address, and few endpoints have
        // failed.
        if let Members::One((backend, _)) = &self.members
            && let Some(endpoint) = backend.own()
            && endpoint.health.is_clean()
            && tried.is_empty()
        {
            let (endpoint, admission) = (Chosen::Own(backend, endpoint), Admission::Regular);
            return Some(Choice { member: 0, endpoint, admission });
        }
        let order = if tried.is_empty() { &ORDER[1..] } else { &ORDER };
        order.iter().find_map(|&among| self.choose_of(cursor, random, among, tried, now))
    }

    fn choose_of(
        &self,
        cursor: &mut Cursor,
        random: u64,
        among: Among,
        tried: &[Try],
        now: Tick,
    ) -> Option<Choice<'_>> {
        for _ in 0..RACES_MAX {
            let member = match &self.members {
                Members::One(_) => 0,
                Members::Many(_) => {
                    self.choose_member(cursor, random, |_, backend| backend.has(among, tried, now))?
                }
            };
            let (backend, _) = self.members.get(member)?;
            // The endpoint is chosen by other bits than the backend.
            let picked = backend.pick(among, tried, now, self.balancing, random.rotate_left(32));
            if let Some((endpoint, admission)) = picked {
                return Some(Choice { member, endpoint, admission });
            }
            if let Members::One(_) = self.members {
                return None;
            }
        }
        None
    }

    fn choose_member(
        &self,
        cursor: &mut Cursor,
        random: u64,
        open: impl Fn(usize, &Backend) -> bool,
    ) -> Option<usize> {
        match self.balancing {
            Balancing::RoundRobin => self.in_turn(cursor, random, open),
            Balancing::LeastConnections => self.least(cursor, random, open),
            Balancing::Random => self.by_chance(random, &open),
        }
    }

    fn in_turn(
        &self,
        cursor: &mut Cursor,
        random: u64,
        open: impl Fn(usize, &Backend) -> bool,
    ) -> Option<usize> {
        if self.equal {
            self.next_in_order(cursor, random, open)
        } else {
            self.most_behind(cursor, random, open)
        }
    }

    /// Equal weights: the first open member, starting with the one whose turn it is. The next turn starts
    /// after the chosen member, so that the neighbour of a closed member does not get that member's share.
    fn next_in_order(
        &self,
        cursor: &mut Cursor,
        random: u64,
        open: impl Fn(usize, &Backend) -> bool,
    ) -> Option<usize> {
        let count = self.members.len();
        let mut first = cursor.turn as usize;
        if first == 0 {
            first = usize::try_from(draw(random, count as u64).0).ok()?;
        } else if first >= count {
            first = first.checked_rem(count)?;
        }
        let (before, after) = self.members.split_at_checked(first)?;
        let after = (first..).zip(after);
        let chosen = after.chain((0..).zip(before)).find(|(index, (backend, _))| open(*index, backend))?.0;
        cursor.turn = u32::try_from(chosen + 1).unwrap_or_default();
        Some(chosen)
    }

    /// Unequal weights: smooth weighted round robin, as in nginx. Each open member's lead grows by its
    /// weight; the member with the greatest lead is chosen and pays the sum of the weights. Over one cycle
    /// the shares are exact, and no member gets its share in one run. The first choice is random, and is paid
    /// for in the same way.
    fn most_behind(
        &self,
        cursor: &mut Cursor,
        random: u64,
        open: impl Fn(usize, &Backend) -> bool,
    ) -> Option<usize> {
        if cursor.lead.len() == self.members.len() {
            return self.pay(&mut cursor.lead, None, open);
        }
        let first = self.by_chance(random, &open)?;
        cursor.lead.clear();
        cursor.lead.resize(self.members.len(), 0);
        self.pay(&mut cursor.lead, Some(first), open)
    }

    /// The chosen member pays; if there is none, the one with the greatest lead.
    fn pay(
        &self,
        lead: &mut [i64],
        chosen: Option<usize>,
        open: impl Fn(usize, &Backend) -> bool,
    ) -> Option<usize> {
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
        let payer = chosen.or(greatest.map(|(index, _)| index))?;
        *lead.get_mut(payer)? -= sum;
        Some(payer)
    }

    /// The smallest `in_use / weight`. Members that share it take turns by their weights, so that an idle
    /// pool is not served by its first member alone.
    fn least(
        &self,
        cursor: &mut Cursor,
        random: u64,
        open: impl Fn(usize, &Backend) -> bool,
    ) -> Option<usize> {
        let mut least: Option<(usize, u64, u64)> = None;
        for (index, (backend, weight)) in self.members.iter().enumerate() {
            let (load, weight) = (backend.load(), u64::from(*weight));
            // The fractions are compared by cross-multiplication: 32 bits by 16 bits fit into 64.
            if open(index, backend) && least.is_none_or(|(_, other, share)| load * share < other * weight) {
                least = Some((index, load, weight));
            }
        }
        let (seen, least, share) = least?;
        let at_least = |index: usize, backend: &Backend| {
            let weight = self.members.get(index).map_or(1, |&(_, weight)| u64::from(weight));
            backend.load() * share <= least * weight && open(index, backend)
        };
        // Other workers change the loads meanwhile: if all have risen above the minimum, take the member
        // found first.
        self.in_turn(cursor, random, at_least).or(Some(seen))
    }

    /// A random choice by weight. If it selects a closed member, the remainder of the draw selects among the
    /// open ones: the remainder is as good as fresh, whereas the number itself would favour members at the
    /// same end of the list.
    fn by_chance(&self, random: u64, open: &impl Fn(usize, &Backend) -> bool) -> Option<usize> {
        let Members::Many(several) = &self.members else { return None };
        let (point, left_over) = draw(random, *several.sums.last()?);
        let chosen = several.sums.partition_point(|&sum| sum <= point);
        if open(chosen, &self.members.get(chosen)?.0) {
            return Some(chosen);
        }
        let candidates = || {
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

/// Scales a random number to `0..bound`; the second result is the remainder, again a random number.
pub(super) fn draw(random: u64, bound: u64) -> (u64, u64) {
    let scaled = u128::from(random) * u128::from(bound);
    let whole = u64::try_from(scaled >> 64).unwrap_or_default();
    (whole, u64::try_from(scaled & u128::from(u64::MAX)).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::super::health::Failure;
    use super::super::reference::Random;
    use super::super::spec::BackendAddress;
    use super::*;
    use std::net::SocketAddr;

    fn pool(balancing: Balancing, weights: &[u16]) -> Pool {
        let ids = Arc::default();
        let members = (1..).zip(weights).map(|(port, &weight)| {
            let address = BackendAddress::Tcp { host: "127.0.0.1".to_owned(), port };
            (Arc::new(Backend::new(address, &ids)), weight)
        });
        Pool::new(balancing, members.collect())
    }

    fn endpoint(pool: &Pool, member: usize) -> Chosen<'_> {
        let (backend, _) = &pool.members[member];
        Chosen::Own(backend, backend.own().unwrap())
    }

    /// Takes a member out of service until second 1 of the process clock.
    fn fail(pool: &Pool, member: usize) {
        endpoint(pool, member).health.failed(Failure::Refused, Admission::Regular, Tick(0));
    }

    fn mend(pool: &Pool, member: usize) {
        assert!(endpoint(pool, member).health.succeeded(Admission::Forced));
    }

    fn tried(pool: &Pool, members: &[usize]) -> Vec<Try> {
        let at = |&member| Try { endpoint: endpoint(pool, member).id, failure: Failure::Refused };
        members.iter().map(at).collect()
    }

    fn choose(pool: &Pool, cursor: &mut Cursor, random: u64) -> usize {
        pool.choose(cursor, random, &[], Tick(0)).unwrap().member
    }

    /// `count` choices, the first of a fresh cursor with the lowest random number.
    fn choices(pool: &Pool, cursor: &mut Cursor, count: usize) -> Vec<usize> {
        (0..count).map(|_| choose(pool, cursor, 0)).collect()
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
        for (draw, first) in [(0, 0), (u64::MAX / 2, 1), (u64::MAX, 2)] {
            let mut cursor = Cursor::default();
            assert_eq!(choose(&pool, &mut cursor, draw), first, "chance begins");
            let expected: Vec<_> = (first + 1..first + 9).map(|turn| turn % 3).collect();
            assert_eq!(choices(&pool, &mut cursor, 8), expected);
        }
        fail(&pool, 1);
        assert_eq!(choices(&pool, &mut Cursor::default(), 6), [0, 2, 0, 2, 0, 2]);
    }

    #[test]
    fn unequal_weights_are_interleaved() {
        let five_one_one = pool(Balancing::RoundRobin, &[5, 1, 1]);
        let mut cursor = Cursor::default();
        // The exact order of nginx.
        assert_eq!(choices(&five_one_one, &mut cursor, 7), [0, 0, 1, 0, 2, 0, 0]);
        let weights = [9, 1, 4, 0x1000, 77];
        let cycle = weights.iter().map(|&weight| usize::from(weight)).sum();
        let wide = pool(Balancing::RoundRobin, &weights);
        let mut cursor = Cursor::default();
        for _ in 0..3 {
            let once = shares(5, choices(&wide, &mut cursor, cycle));
            assert_eq!(once, weights.map(usize::from), "shares of one cycle are exact");
        }
        let mut late = Cursor::default();
        assert_eq!(choose(&five_one_one, &mut late, u64::MAX), 2, "chance begins");
        assert_eq!(shares(3, choices(&five_one_one, &mut late, 6)), [5, 1, 0], "and has its share by that");
        fail(&five_one_one, 0);
        assert_eq!(shares(3, choices(&five_one_one, &mut Cursor::default(), 10)), [0, 5, 5]);
    }

    /// However often a file is reloaded, each snapshot begins at random, so that no member is always the
    /// first.
    #[test]
    fn first_choices_follow_the_weights() {
        for (balancing, weights, expected) in [
            (Balancing::RoundRobin, [1, 1, 1], [1_000, 1_000, 1_000]),
            (Balancing::RoundRobin, [6, 3, 1], [1_800, 900, 300]),
            (Balancing::LeastConnections, [1, 1, 1], [1_000, 1_000, 1_000]),
        ] {
            let pool = pool(balancing, &weights);
            let mut random = Random(11);
            let first = |_| choose(&pool, &mut Cursor::default(), random.next());
            let got = shares(3, (0..3_000).map(first));
            let near = got.iter().zip(expected).all(|(&got, expected)| got.abs_diff(expected) < 150);
            assert!(near, "{balancing:?} {weights:?}: {got:?}");
        }
    }

    #[test]
    fn fewest_under_way() {
        let pool = pool(Balancing::LeastConnections, &[1, 1, 1]);
        let mut cursor = Cursor::default();
        assert_eq!(choices(&pool, &mut cursor, 4), [0, 1, 2, 0], "ties are broken in turns");
        endpoint(&pool, 0).begin();
        endpoint(&pool, 2).begin();
        assert_eq!(choices(&pool, &mut cursor, 2), [1, 1]);
        fail(&pool, 1);
        assert_eq!(shares(3, choices(&pool, &mut cursor, 10)), [5, 0, 5]);
    }

    #[test]
    fn fewest_under_way_by_weight() {
        let pool = pool(Balancing::LeastConnections, &[4, 2, 1]);
        let mut cursor = Cursor::default();
        // Exchanges that never end fill the pool by its weights.
        let chosen: Vec<_> = (0..70)
            .map(|_| {
                let index = choose(&pool, &mut cursor, 0);
                endpoint(&pool, index).begin();
                index
            })
            .collect();
        assert_eq!(shares(3, chosen.iter().copied()), [40, 20, 10]);
        for index in chosen {
            endpoint(&pool, index).end();
        }
        let idle = shares(3, choices(&pool, &mut Cursor::default(), 70));
        assert_eq!(idle, [40, 20, 10], "an idle pool is shared by weight, too");
    }

    #[test]
    fn chance_follows_weights() {
        let pool = pool(Balancing::Random, &[1, 2, 3, 4]);
        let mut random = Random(42);
        let mut draws = |pool: &Pool| {
            let mut cursor = Cursor::default();
            shares(4, (0..100_000).map(|_| choose(pool, &mut cursor, random.next())))
        };
        let near = |got: &[usize], expected: [usize; 4]| {
            got.iter().zip(expected).all(|(&got, expected)| got.abs_diff(expected) < 1_000)
        };
        let open = draws(&pool);
        assert!(near(&open, [10_000, 20_000, 30_000, 40_000]), "{open:?}");
        for closed in 0..4 {
            fail(&pool, closed);
            let rest = 10 - (closed + 1);
            let expected = [0, 1, 2, 3].map(|n| if n == closed { 0 } else { 100_000 * (n + 1) / rest });
            let got = draws(&pool);
            assert!(near(&got, expected), "{closed} closed: {got:?}");
            mend(&pool, closed);
        }
        assert_eq!(choose(&pool, &mut Cursor::default(), 0), 0);
        assert_eq!(choose(&pool, &mut Cursor::default(), u64::MAX), 3);
        let choice = pool.choose(&mut Cursor::default(), u64::MAX, &tried(&pool, &[3]), Tick(0));
        assert_eq!(choice.map(|choice| choice.member), Some(2));
    }

    #[test]
    fn tried_and_failed_members() {
        for balancing in ALL {
            for weights in [[1, 1, 1], [3, 1, 2]] {
                let pool = pool(balancing, &weights);
                let mut cursor = Cursor::default();
                let mut random = Random(3);
                let mut choose = |members: &[usize], now| {
                    let tries = tried(&pool, members);
                    let choice = pool.choose(&mut cursor, random.next(), &tries, Tick(now));
                    choice.map(|choice| (choice.member, choice.admission))
                };
                for _ in 0..50 {
                    let mut members = Vec::new();
                    for _ in 0..3 {
                        let (chosen, admission) = choose(&members, 0).unwrap();
                        assert!(!members.contains(&chosen), "{balancing:?}");
                        assert_eq!(admission, Admission::Regular);
                        members.push(chosen);
                    }
                    assert_eq!(choose(&members, 0), None);
                }
                (0..3).for_each(|member| fail(&pool, member));
                assert_eq!(choose(&[], 0).unwrap().1, Admission::Forced, "a mark is no outage");
                assert_eq!(choose(&[0, 1], 0), Some((2, Admission::Forced)));
                mend(&pool, 1);
                for _ in 0..10 {
                    assert_eq!(choose(&[], 0), Some((1, Admission::Regular)), "the one that is up first");
                }
                assert_eq!(choose(&[0, 1, 2], 0), None);
            }
        }
    }

    #[test]
    fn one_that_is_due_has_one_trial() {
        for balancing in ALL {
            for weights in [[1, 1, 1], [3, 1, 2]] {
                let pool = pool(balancing, &weights);
                let (mut cursor, mut random) = (Cursor::default(), Random(5));
                let mut choose = |members: &[usize], now| {
                    let tries = tried(&pool, members);
                    let choice = pool.choose(&mut cursor, random.next(), &tries, Tick(now)).unwrap();
                    (choice.member, choice.admission)
                };
                fail(&pool, 0);
                let due = 1_000_000;
                for _ in 0..20 {
                    let chosen = choose(&[1], due);
                    assert_eq!(chosen, (2, Admission::Regular), "whose try failed goes where it is safe");
                }
                let trials = (0..40).filter(|_| choose(&[], due) == (0, Admission::Trial)).count();
                assert_eq!(trials, 1, "{balancing:?}");
                // Its trial never ends here; it is chosen all the same once all others were tried.
                assert_eq!(choose(&[1, 2], due), (0, Admission::Forced));
                endpoint(&pool, 0).health.give_back(Tick(due));
                assert_eq!(choose(&[1, 2], due), (0, Admission::Trial));
            }
        }
    }

    #[test]
    fn names_have_the_share_of_their_weight() {
        for balancing in ALL {
            let ids = Arc::default();
            let [name, literal] = ["http://name:1", "http://10.0.0.9:1"]
                .map(|url| Arc::new(Backend::new(BackendAddress::parse_url(url).unwrap(), &ids)));
            let pool = Pool::new(balancing, vec![(Arc::clone(&name), 1), (literal, 1)]);
            let (mut cursor, mut random) = (Cursor::default(), Random(9));
            let mut chosen = || {
                let choice = pool.choose(&mut cursor, random.next(), &[], Tick(0)).unwrap();
                let address = choice.endpoint.address.to_string();
                ["10.0.0.1:1", "10.0.0.2:1", "10.0.0.9:1"].iter().position(|one| *one == address).unwrap()
            };
            assert_eq!(shares(3, (0..10).map(|_| chosen())), [0, 0, 10], "a name without address has none");
            name.resolved(
                &["10.0.0.1:1", "10.0.0.2:1"].map(|text| text.parse::<SocketAddr>().unwrap().into()),
            );
            let got = shares(3, (0..4_000).map(|_| chosen()));
            let near = got.iter().zip([1_000, 1_000, 2_000]).all(|(&got, all)| got.abs_diff(all) < 200);
            assert!(near, "{balancing:?}: {got:?}");
        }
    }

    #[test]
    fn many_members_and_none() {
        for balancing in ALL {
            assert!(pool(balancing, &[]).choose(&mut Cursor::default(), 9, &[], Tick(0)).is_none());
            let wide = pool(balancing, &[1; 101]);
            let all_but_one: Vec<_> = (0..100).collect();
            let choice = wide.choose(&mut Cursor::default(), 5, &tried(&wide, &all_but_one), Tick(0));
            assert_eq!(choice.map(|choice| choice.member), Some(100), "each is told apart");
        }
    }

    #[test]
    fn a_cursor_survives_a_change_of_its_pool() {
        let mut cursor = Cursor::default();
        for weights in [&[1, 2, 3][..], &[1, 1], &[5, 1], &[1], &[2, 1, 1, 1]] {
            let pool = pool(Balancing::RoundRobin, weights);
            choices(&pool, &mut cursor, 20);
        }
    }
}
