//! Latencies in fixed buckets, as `HdrHistogram` has them: each power of two is cut into equal parts, so that a value is told
//! within 1/64 of itself. It allocates once.

use std::time::Duration;

/// Equal parts of each power of two, as a power of two.
const PART_BITS: u32 = 6;
const PARTS: usize = 1 << PART_BITS;
/// Nanoseconds up to 2⁴⁰ (18 minutes) are told apart; longer ones fall in the last bucket.
const VALUE_BITS: u32 = 40;
const BUCKETS: usize = (VALUE_BITS - PART_BITS + 1) as usize * PARTS;

/// Counted latencies.
#[derive(Debug, Clone)]
pub struct Histogram {
    counts: Vec<u64>,
    total: u64,
    longest_ns: u64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self { counts: vec![0; BUCKETS], total: 0, longest_ns: 0 }
    }
}

impl Histogram {
    /// Counts one.
    pub fn add(&mut self, latency: Duration) {
        let ns = u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX);
        self.counts[bucket(ns)] += 1;
        self.total += 1;
        self.longest_ns = self.longest_ns.max(ns);
    }

    /// Forgets all.
    pub fn clear(&mut self) {
        self.counts.fill(0);
        self.total = 0;
        self.longest_ns = 0;
    }

    /// The latency in nanoseconds that so many of a million do not exceed; 0 where none was counted.
    pub fn quantile_ns(&self, of_million: u64) -> u64 {
        let wanted = (self.total * of_million).div_ceil(1_000_000).max(1);
        let mut seen = 0;
        for (place, count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= wanted {
                return upper_ns(place).min(self.longest_ns);
            }
        }
        self.longest_ns
    }

    /// The longest, in nanoseconds.
    pub fn longest_ns(&self) -> u64 {
        self.longest_ns
    }
}

fn bucket(ns: u64) -> usize {
    let ns = ns.min((1 << VALUE_BITS) - 1);
    let shift = (u64::BITS - ns.leading_zeros()).saturating_sub(PART_BITS + 1);
    // The value shifted is below twice the parts, so both fit.
    shift as usize * PARTS + usize::try_from(ns >> shift).unwrap_or(0)
}

/// The largest value of a bucket.
fn upper_ns(place: usize) -> u64 {
    let shift = (place / PARTS).saturating_sub(1);
    let part = place - shift * PARTS;
    ((part as u64 + 1) << shift) - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_told_within_its_part() {
        for ns in [0, 1, 63, 64, 127, 128, 1000, 65_535, 65_536, 1_234_567, (1 << VALUE_BITS) - 1] {
            let upper = upper_ns(bucket(ns));
            assert!(upper >= ns && upper - ns <= ns / PARTS as u64, "{ns} is told as {upper}");
        }
        assert!(bucket(u64::MAX) < BUCKETS);
    }

    #[test]
    fn quantiles_are_those_of_the_values() {
        let mut histogram = Histogram::default();
        assert_eq!(histogram.quantile_ns(500_000), 0);
        (1..=1000).for_each(|us| histogram.add(Duration::from_micros(us)));
        for (of_million, us) in [(500_000, 500), (990_000, 990), (999_000, 999), (1_000_000, 1000)] {
            let ns = histogram.quantile_ns(of_million);
            assert!((us * 1000..=us * 1000 * 65 / 64).contains(&ns), "{of_million}: {ns} ns");
        }
        assert_eq!(histogram.longest_ns(), 1_000_000);
        histogram.clear();
        assert_eq!(histogram.quantile_ns(990_000), 0);
    }
}
