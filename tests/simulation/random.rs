//! Numbers from a seed: the same seed tells the same story.

/// The generator `SplitMix64`.
#[derive(Debug, Clone)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        mix(self.0)
    }

    /// A number below `end`, which is not 0.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        let end = u64::try_from(end).expect("a usize fits 64 bits");
        usize::try_from(self.next() % end).expect("it is below a usize")
    }

    /// A number from `low` to `high`, both included.
    pub(crate) fn within(&mut self, low: usize, high: usize) -> usize {
        low + self.below(high - low + 1)
    }

    /// True so many times in a hundred.
    pub(crate) fn percent(&mut self, chance: usize) -> bool {
        self.below(100) < chance
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

fn mix(state: u64) -> u64 {
    let state = (state ^ (state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let state = (state ^ (state >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    state ^ (state >> 31)
}

/// Which way a content goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// From the client to the backend.
    Up,
    /// From the backend to the client.
    Down,
}

/// The content of request `id` that goes `way`: every octet can be told from those of other exchanges.
pub(crate) fn content(id: usize, way: Way, len: usize) -> Vec<u8> {
    let seed = (u64::try_from(id).expect("a usize fits 64 bits") << 33) | (u64::from(way == Way::Down) << 32);
    let mut bytes = Vec::with_capacity(len + 8);
    let mut word = seed;
    while bytes.len() < len {
        word += 1;
        bytes.extend_from_slice(&mix(word).to_le_bytes());
    }
    bytes.truncate(len);
    bytes
}
