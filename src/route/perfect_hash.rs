//! A perfect hash: a distinct place for each of a fixed set of hashes.
//!
//! Hash and displace (Belazzougui, Botelho, Dietzfelbinger: "Hash, displace, and compress", 2009, without the
//! compression): some bits of a hash choose a bucket of a few hashes, and each bucket has a pilot, a number
//! with which none of its hashes falls on a taken place. Pilots are two octets for four hashes, so that they
//! stay in the processor's cache even if the content of the places does not. A hash outside the set maps to
//! the place of another hash, or to a free one.

/// Hashes in a bucket, on average: more take less memory, but longer to place.
const BUCKET_HASHES: usize = 4;

/// The place of each hash of the set.
#[derive(Debug)]
pub(super) struct PerfectHash {
    count: u32,
    pilots: Box<[u16]>,
}

impl PerfectHash {
    /// Finds a place for each of `hashes`, among 9/8 as many plus one. `None` if there is no solution, as
    /// with two equal hashes: hashes of another seed will have one (for fewer than 2^31 hashes).
    pub(super) fn find(mut hashes: Vec<u64>) -> Option<Self> {
        let pilots = vec![0; hashes.len() / BUCKET_HASHES + 1].into();
        let count = u32::try_from(hashes.len() + hashes.len() / 8 + 1).ok()?;
        let mut places = Self { count, pilots };
        // Sorted, the hashes of a bucket are adjacent.
        hashes.sort_unstable();
        let mut buckets: Vec<_> = hashes.chunk_by(|&a, &b| places.bucket(a) == places.bucket(b)).collect();
        // The largest buckets first, while most places are free.
        buckets.sort_by_key(|bucket| std::cmp::Reverse(bucket.len()));
        let mut taken = vec![false; count as usize];
        for bucket in buckets {
            let pilot = (0..=u16::MAX).find(|&pilot| places.try_pilot(pilot, bucket, &mut taken))?;
            let bucket = places.bucket(*bucket.first()?);
            places.pilots[bucket] = pilot;
        }
        Some(places)
    }

    /// Takes the places of a bucket's hashes if that pilot leaves all of them distinct and free.
    fn try_pilot(&self, pilot: u16, hashes: &[u64], taken: &mut [bool]) -> bool {
        for (done, &hash) in hashes.iter().enumerate() {
            if std::mem::replace(&mut taken[self.place(hash, pilot) as usize], true) {
                for &hash in &hashes[..done] {
                    taken[self.place(hash, pilot) as usize] = false;
                }
                return false;
            }
        }
        true
    }

    /// The number of places.
    pub(super) fn count(&self) -> u32 {
        self.count
    }

    /// The place of a hash, less than the count.
    pub(super) fn of(&self, hash: u64) -> u32 {
        self.place(hash, self.pilots[self.bucket(hash)])
    }

    fn bucket(&self, hash: u64) -> usize {
        scaled(hash, self.pilots.len() as u64) as usize
    }

    fn place(&self, hash: u64, pilot: u16) -> u32 {
        // Any odd constants with bits all over: the product's upper half depends on all bits of both factors.
        let mixed = hash ^ u64::from(pilot).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        scaled(mixed.wrapping_mul(0xd6e8_feb8_6659_fd93), u64::from(self.count))
    }
}

/// Scales the upper half of a hash to `0..count`, for a count of up to 2^32.
fn scaled(hash: u64, count: u64) -> u32 {
    u32::try_from(((hash >> 32) * count) >> 32).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::super::reference::Random;
    use super::*;

    #[test]
    fn each_hash_has_a_place_of_its_own() {
        let mut random = Random(3);
        for count in (0..300).chain([1_000, 9_999, 100_000]) {
            let hashes: Vec<_> = (0..count).map(|_| random.next()).collect();
            // If one set has no solution, another has.
            let places = PerfectHash::find(hashes.clone()).unwrap();
            assert!(places.count() as usize <= count + count / 8 + 1);
            let mut seen = vec![false; places.count() as usize];
            for hash in hashes {
                assert!(!std::mem::replace(&mut seen[places.of(hash) as usize], true), "{count} hashes");
            }
            for _ in 0..100 {
                assert!(places.of(random.next()) < places.count());
            }
        }
    }

    #[test]
    fn equal_hashes_have_no_places() {
        assert!(PerfectHash::find(vec![1, 7, 1]).is_none());
    }
}
