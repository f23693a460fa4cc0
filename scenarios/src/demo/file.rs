// SPDX-License-Identifier: MIT OR Apache-2.0
//! The file of the demo: made up by arithmetic, hashed piece by piece and as a whole.

use sha2::{Digest as _, Sha256};

/// Bytes of a message.
pub const CHUNK: usize = 4096;
/// Bytes of a piece, which is checked at each hop and is what a transfer begins again with.
pub const PIECE: usize = 1 << 20;
/// Pieces of the file.
pub const PIECES: usize = 16;
/// Messages of a piece.
pub(super) const CHUNKS: usize = PIECE / CHUNK;

/// A SHA-256.
pub type Digest = [u8; 32];

/// Writes chunk number `index` of the file, counted from its start.
pub(super) fn fill(index: usize, chunk: &mut [u8; CHUNK]) {
    let start = (index * (CHUNK / 8)) as u64;
    for (word, bytes) in (start..).zip(chunk.chunks_exact_mut(8)) {
        bytes.copy_from_slice(&mixed(word).to_le_bytes());
    }
}

/// Scatters the bits of a number, so that no chunk is like another.
const fn mixed(number: u64) -> u64 {
    let x = number.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let x = (x ^ (x >> 31)).wrapping_mul(0xd6e8_feb8_6659_fd93);
    x ^ (x >> 32)
}

/// Returns the SHA-256 of the whole file.
pub(super) fn digest() -> Digest {
    let mut hash = Hash::new();
    let mut chunk = [0; CHUNK];
    for index in 0..PIECES * CHUNKS {
        fill(index, &mut chunk);
        hash.take(&chunk);
    }
    hash.digest()
}

/// A SHA-256 in the making.
#[derive(Clone, Debug)]
pub(super) struct Hash(Sha256);

impl Hash {
    pub(super) fn new() -> Self {
        Self(Sha256::new())
    }

    pub(super) fn take(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    pub(super) fn digest(self) -> Digest {
        self.0.finalize().into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_is_sha_256() {
        let mut hash = Hash::new();
        hash.take(b"a");
        hash.take(b"bc");
        let digest = hash.digest();
        // The example of FIPS 180-2.
        assert_eq!(digest[..4], [0xba, 0x78, 0x16, 0xbf]);
        assert_eq!(digest[28..], [0xf2, 0x00, 0x15, 0xad]);
    }

    #[test]
    fn no_chunk_is_like_the_next() {
        let (mut one, mut other) = ([0; CHUNK], [0; CHUNK]);
        fill(7, &mut one);
        fill(8, &mut other);
        assert!(one.iter().zip(&other).filter(|(a, b)| a == b).count() < CHUNK / 64);
    }
}
