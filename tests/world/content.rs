//! The contents of messages: each octet tells by its place which message it belongs to.

use std::sync::OnceLock;

/// Octets after which a content repeats itself: a prime, so that no buffer's size hides a loss.
const PERIOD: usize = 65_521;

/// Which way a content goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// From the client to the backend.
    Up,
    /// From the backend to the client.
    Down,
}

fn table() -> &'static [u8] {
    static TABLE: OnceLock<Vec<u8>> = OnceLock::new();
    TABLE.get_or_init(|| {
        let mut table = vec![0; PERIOD];
        let mut state = 1_u64;
        for octet in &mut table {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            *octet = state.to_be_bytes()[0];
        }
        table
    })
}

/// The octets of the content of request `id` that goes `way`, one piece after the other.
fn pieces(id: usize, way: Way, from: usize, to: usize) -> impl Iterator<Item = &'static [u8]> {
    let first = id * 7_919 + if way == Way::Down { 31_337 } else { 0 };
    let mut at = from;
    std::iter::from_fn(move || {
        let start = (first + at) % PERIOD;
        let count = (PERIOD - start).min(to - at);
        at += count;
        (count > 0).then(|| &table()[start..start + count])
    })
}

/// Appends the octets from place `from` up to place `to`.
pub(crate) fn append(id: usize, way: Way, from: usize, to: usize, out: &mut Vec<u8>) {
    pieces(id, way, from, to).for_each(|piece| out.extend_from_slice(piece));
}

/// Are these the octets of that content from place `from` on?
pub(crate) fn is_content(id: usize, way: Way, from: usize, bytes: &[u8]) -> bool {
    let mut rest = bytes;
    pieces(id, way, from, from + bytes.len()).all(|piece| {
        let (front, behind) = rest.split_at(piece.len());
        rest = behind;
        front == piece
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_content_is_told_from_others_and_from_itself_at_another_place() {
        let mut bytes = Vec::new();
        append(3, Way::Down, 0, 200_000, &mut bytes);
        assert_eq!(bytes.len(), 200_000);
        assert!(is_content(3, Way::Down, 0, &bytes) && is_content(3, Way::Down, 70_000, &bytes[70_000..]));
        assert!(!is_content(3, Way::Up, 0, &bytes) && !is_content(4, Way::Down, 0, &bytes));
        assert!(!is_content(3, Way::Down, 1, &bytes[..20]));
    }
}
