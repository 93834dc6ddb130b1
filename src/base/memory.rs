//! Whether the system has memory left, asked before what cannot be refused: where a `Vec` or a `Box` finds none, the process ends, and
//! with it every connection.

/// Octets of the pieces that are asked for. glibc raises the size from which blocks have pages of their own (`M_MMAP_THRESHOLD` of
/// mallopt(3), 128 KiB) when a larger one is freed.
const PIECE_BYTES: usize = 64 * 1024;

/// Can that many octets be allocated? They are allocated and freed again, so this is for rare moments.
pub fn has_room_for(octets: usize) -> bool {
    let mut pieces: Vec<Vec<u8>> = Vec::new();
    if pieces.try_reserve_exact(octets.div_ceil(PIECE_BYTES)).is_err() {
        return false;
    }
    for _ in 0..octets.div_ceil(PIECE_BYTES) {
        let mut piece = Vec::new();
        if piece.try_reserve_exact(PIECE_BYTES).is_err() {
            return false;
        }
        // A compiler may remove an allocation that is never used.
        pieces.push(std::hint::black_box(piece));
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_there_is_can_be_had_and_what_is_too_much_cannot() {
        for (octets, has) in [(0, true), (1, true), (10 * PIECE_BYTES, true), (1 << 60, false)] {
            assert_eq!(has_room_for(octets), has, "{octets}");
        }
    }
}
