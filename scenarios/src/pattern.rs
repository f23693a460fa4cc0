// SPDX-License-Identifier: MIT OR Apache-2.0
//! Contents that both sides can compute: each word differs from its neighbours and from other seeds'.

/// Bytes of a word of the pattern.
pub const WORD: usize = 8;

/// Returns the word at `index` (in words) for `seed`, to be stored little-endian.
///
/// Neighbours differ in many bits, and a word at the wrong place or of another round does not pass.
#[must_use]
pub const fn word(seed: u64, index: u64) -> u64 {
    // Any odd constants do; these are the golden ratio and its neighbour in 64 bits.
    let mixed = (index ^ seed.rotate_left(32)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed ^ mixed >> 29
}

/// Fills `block`, which starts at byte `offset` of the region, with the pattern of `seed`.
///
/// `offset` and the length of `block` are multiples of [`WORD`].
pub fn fill(seed: u64, offset: usize, block: &mut [u8]) {
    for (chunk, index) in block.chunks_exact_mut(WORD).zip(offset / WORD..) {
        chunk.copy_from_slice(&word(seed, index as u64).to_le_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_join_without_a_seam() {
        let mut whole = [0; 64];
        fill(7, 128, &mut whole);
        let mut half = [0; 32];
        fill(7, 160, &mut half);
        assert_eq!(whole[32..], half);
        fill(8, 160, &mut half);
        assert_ne!(whole[32..], half);
    }
}
