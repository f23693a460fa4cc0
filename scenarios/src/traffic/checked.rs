// SPDX-License-Identifier: MIT OR Apache-2.0
//! Messages whose every byte the receiver can compute.
//!
//! Message n of a stream begins with n, 64 bits, little-endian; then comes the [pattern](crate::pattern) of seed and
//! number, of a length that follows from both.

use crate::pattern::{self, WORD};
use crate::{ensure, ensure_eq, Failure};

/// Longest message, in bytes; a multiple of 8.
pub const LONGEST: usize = 88;

/// Room for any message.
pub type Buffer = [u8; LONGEST];

/// Writes message `number` of the stream `seed`, and returns it.
pub fn compose(seed: u64, number: u64, buffer: &mut Buffer) -> &[u8] {
    let body_len = (pattern::word(seed, number) >> 32) as usize % (LONGEST - WORD + 1);
    pattern::fill(seed ^ number, 0, buffer);
    buffer[..WORD].copy_from_slice(&number.to_le_bytes());
    &buffer[..WORD + body_len]
}

/// Checks that `message` is message `number` of the stream `seed`.
///
/// # Errors
///
/// How it differs.
pub fn examine(seed: u64, number: u64, message: &[u8]) -> Result<(), Failure> {
    let mut buffer = [0; LONGEST];
    let expected = compose(seed, number, &mut buffer);
    if message.len() >= WORD {
        ensure_eq("number of a message", &message[..WORD], &expected[..WORD])?;
    }
    ensure_eq("length of a message", message.len(), expected.len())?;
    let wrong = message.iter().zip(expected).position(|(is, be)| is != be);
    ensure(
        wrong.is_none(),
        format_args!("message {number} was changed at byte {wrong:?}"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_counts() {
        for number in 0..200 {
            let mut message = [0; LONGEST];
            let len = compose(7, number, &mut message).len();
            assert!(examine(7, number, &message[..len]).is_ok());
            assert!(examine(7, number + 1, &message[..len]).is_err());
            assert!(examine(7, number, &message[..len - 1]).is_err());
            for at in 0..len {
                message[at] ^= 0x10;
                assert!(examine(7, number, &message[..len]).is_err(), "byte {at}");
                message[at] ^= 0x10;
            }
        }
    }

    #[test]
    fn other_streams_differ() {
        let mut buffer = [0; LONGEST];
        let numbers = 0..200;
        let same =
            numbers.filter(|&number| examine(8, number, compose(7, number, &mut buffer)).is_ok());
        // Only messages that are nothing but their numbers can be the same.
        assert!(same.count() < 5);
    }
}
