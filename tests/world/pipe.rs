//! A kernel pipe, whose capacity is counted in pages: a page refers to a piece of a received segment, whatever its length.

use super::choices::Choices;
use super::octets::Octets;
use std::collections::VecDeque;

/// A pipe and what it holds.
#[derive(Debug)]
pub(crate) struct Pipe {
    bytes: Octets,
    /// Octets of each page in use.
    pages: VecDeque<usize>,
    pages_max: usize,
    /// The longest piece that a page refers to.
    piece_max: usize,
}

impl Pipe {
    /// A pipe of any size; of a useful one, where much is to go through it.
    pub(crate) fn draw(choices: &mut Choices, much: bool) -> Self {
        let pages_max = choices.pick(if much { &[64, 16] } else { &[64, 1, 3, 16] });
        let piece_max =
            choices.pick(if much { &[17_000, 66_000] } else { &[17_000, 300, 1_460, 4_096, 66_000] });
        Self { bytes: Octets::default(), pages: VecDeque::new(), pages_max, piece_max }
    }

    pub(crate) fn held(&self) -> usize {
        self.bytes.len()
    }

    pub(crate) fn has_room(&self) -> bool {
        self.pages.len() < self.pages_max
    }

    /// Takes up to `max` octets, as far as there are pages; how many.
    pub(crate) fn fill(&mut self, from: &mut Octets, max: usize, choices: &mut Choices) -> usize {
        let mut count = 0;
        while count < max && !from.is_empty() && self.has_room() {
            let piece = choices.within(self.piece_max.div_ceil(8), self.piece_max);
            let piece = piece.min(max - count).min(from.len());
            from.pass(piece, &mut self.bytes);
            self.pages.push_back(piece);
            count += piece;
        }
        count
    }

    /// Gives `count` octets, which it holds.
    pub(crate) fn drain(&mut self, count: usize, to: &mut Octets) {
        self.bytes.pass(count, to);
        let mut left = count;
        while left > 0 {
            let page = self.pages.front_mut().expect("a page for every octet");
            let taken = left.min(*page);
            *page -= taken;
            left -= taken;
            if *page == 0 {
                self.pages.pop_front();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pipe_is_full_when_its_pages_are_used_however_little_they_hold() {
        let mut choices = Choices::by_seed(1);
        let mut pipe = Pipe { bytes: Octets::default(), pages: VecDeque::new(), pages_max: 2, piece_max: 10 };
        let (mut from, mut to) = (Octets::default(), Octets::default());
        from.append(&[7; 100]);
        let count = pipe.fill(&mut from, 100, &mut choices);
        assert!((4..=20).contains(&count) && !pipe.has_room() && pipe.held() == count);
        assert_eq!(pipe.fill(&mut from, 100, &mut choices), 0);
        pipe.drain(count, &mut to);
        assert!(pipe.has_room() && pipe.held() == 0 && to.len() == count);
    }
}
