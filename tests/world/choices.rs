//! The source of all choices of a world: a seed, or the octets of a fuzzer. The same source tells the same story.

/// Draws numbers. From a seed they never end; from octets, which are used up, further choices are all the first one.
#[derive(Debug, Clone)]
pub(crate) struct Choices {
    state: u64,
    /// The octets of a fuzzer, and how many were used.
    octets: Option<(Vec<u8>, usize)>,
}

impl Choices {
    /// Choices by the generator `SplitMix64`.
    pub(crate) const fn by_seed(seed: u64) -> Self {
        Self { state: seed, octets: None }
    }

    /// Choices by octets: each takes as many as its range needs.
    pub(crate) fn by_octets(octets: &[u8]) -> Self {
        Self { state: 0, octets: Some((octets.to_vec(), 0)) }
    }

    fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        mix(self.state)
    }

    /// A number for what is no choice of the world: the worker's own chance.
    pub(crate) fn number(&mut self) -> u64 {
        self.next()
    }

    /// A number below `end`, which is not 0.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        if let Some((octets, used)) = &mut self.octets {
            let mut number = 0;
            let mut range = end - 1;
            while range > 0 {
                let Some(&octet) = octets.get(*used) else { return 0 };
                *used += 1;
                number = number << 8 | usize::from(octet);
                range >>= 8;
            }
            return number % end;
        }
        let end = u64::try_from(end).expect("a usize fits 64 bits");
        usize::try_from(self.next() % end).expect("it is below a usize")
    }

    /// A number from `low` to `high`, both included.
    pub(crate) fn within(&mut self, low: usize, high: usize) -> usize {
        low + self.below(high - low + 1)
    }

    /// True so many times in a hundred.
    pub(crate) fn percent(&mut self, chance: usize) -> bool {
        chance > 0 && self.below(100) < chance
    }

    /// One of `choices`.
    pub(crate) fn pick<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len())]
    }

    /// Octets of a content: mostly small, sometimes long enough for a pipe.
    pub(crate) fn content_len(&mut self) -> usize {
        match self.below(100) {
            0..8 => 0,
            8..45 => self.within(1, 200),
            45..75 => self.within(200, 6_000),
            75..93 => self.within(6_000, 40_000),
            93..98 => self.within(40_000, 150_000),
            _ => self.within(260_000, 600_000),
        }
    }
}

const fn mix(state: u64) -> u64 {
    let state = (state ^ (state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let state = (state ^ (state >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    state ^ (state >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_replays() {
        let draw = |mut choices: Choices| -> Vec<usize> { (1..50).map(|end| choices.below(end)).collect() };
        assert_eq!(draw(Choices::by_seed(7)), draw(Choices::by_seed(7)));
        assert_ne!(draw(Choices::by_seed(7)), draw(Choices::by_seed(8)));
        assert_eq!(draw(Choices::by_octets(&[200; 20])), draw(Choices::by_octets(&[200; 20])));
    }

    #[test]
    fn octets_that_are_used_up_choose_the_first() {
        let mut choices = Choices::by_octets(&[1, 2, 255]);
        assert_eq!(
            (choices.below(3), choices.below(1), choices.below(300), choices.below(9)),
            (1, 0, 167, 0)
        );
    }
}
