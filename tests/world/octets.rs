//! A queue of octets: appended at one end, taken at the other.

/// Octets in order.
#[derive(Debug, Default)]
pub(crate) struct Octets {
    bytes: Vec<u8>,
    /// Octets at the front that were taken.
    taken: usize,
}

impl Octets {
    pub(crate) fn len(&self) -> usize {
        self.bytes.len() - self.taken
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(crate) fn front(&self) -> &[u8] {
        &self.bytes[self.taken..]
    }

    pub(crate) fn clear(&mut self) {
        self.bytes.clear();
        self.taken = 0;
    }

    pub(crate) fn append(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// Moves the first `count` octets behind `into`.
    pub(crate) fn take(&mut self, count: usize, into: &mut Vec<u8>) {
        into.extend_from_slice(&self.front()[..count]);
        self.drop_front(count);
    }

    /// Moves the first `count` octets to another queue.
    pub(crate) fn pass(&mut self, count: usize, to: &mut Self) {
        to.append(&self.front()[..count]);
        self.drop_front(count);
    }

    fn drop_front(&mut self, count: usize) {
        self.taken += count;
        if self.taken == self.bytes.len() {
            self.clear();
        } else if self.taken > 64 * 1024 && self.taken * 2 > self.bytes.len() {
            self.bytes.drain(..self.taken);
            self.taken = 0;
        }
    }
}
