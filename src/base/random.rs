//! Random numbers for balancing and request ids; never for secrets.

/// Random numbers (xorshift): for balancing and for names of requests, never for secrets.
#[derive(Debug, Clone)]
pub struct Random(u64);

impl Random {
    /// A sequence that begins at `seed`.
    pub const fn new(seed: u64) -> Self {
        // Zero is the one state that xorshift never leaves.
        Self(if seed == 0 { 1 } else { seed })
    }

    /// The next number.
    pub fn number(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_replays_and_zero_is_no_trap() {
        let draw = |seed| {
            let mut random = Random::new(seed);
            [random.number(), random.number(), random.number()]
        };
        assert_eq!(draw(7), draw(7));
        assert_ne!(draw(7), draw(8));
        assert!(draw(0).iter().all(|&number| number != 0));
    }
}
