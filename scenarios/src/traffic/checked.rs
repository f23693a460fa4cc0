// SPDX-License-Identifier: MIT OR Apache-2.0
//! Messages whose every byte the receiver can compute, but for one number that they carry.
//!
//! | offset | content |
//! | --- | --- |
//! | 0 | number of the message, 64 bits, little-endian |
//! | 8 | note: whatever the sender has to tell, 64 bits, little-endian |
//! | 16 | [pattern](crate::pattern) of seed and number, of a length that follows from both |

use crate::pattern;
use crate::{ensure, ensure_eq, Failure};

/// Bytes before the pattern.
const HEADER: usize = 16;

/// Longest pattern, in bytes; a multiple of 8.
const LONGEST_BODY: usize = 64;

/// Longest message, in bytes.
pub const LONGEST: usize = HEADER + LONGEST_BODY;

/// Room for any message.
pub type Buffer = [u8; LONGEST];

/// Writes message `number` of the stream `seed`, and returns it.
pub fn compose(seed: u64, number: u64, note: u64, buffer: &mut Buffer) -> &[u8] {
    let len = HEADER + body_len(seed, number);
    let (header, body) = buffer.split_at_mut(HEADER);
    header[..8].copy_from_slice(&number.to_le_bytes());
    header[8..].copy_from_slice(&note.to_le_bytes());
    pattern::fill(seed ^ number, 0, body);
    &buffer[..len]
}

/// Checks that `message` is message `number` of the stream `seed`, and returns its note.
///
/// # Errors
///
/// How it differs.
pub fn examine(seed: u64, number: u64, message: &[u8]) -> Result<u64, Failure> {
    let mut expected = [0; LONGEST];
    let note = message.get(8..HEADER).unwrap_or_default();
    let note =
        u64::from_le_bytes(note.try_into().map_err(|_| {
            Failure::new(format_args!("message {number} has {} bytes", message.len()))
        })?);
    let expected = compose(seed, number, note, &mut expected);
    ensure_eq("length of a message", message.len(), expected.len())?;
    ensure(
        message == expected,
        format_args!("message {number} is not what was sent: {message:x?}"),
    )?;
    Ok(note)
}

fn body_len(seed: u64, number: u64) -> usize {
    (pattern::word(seed, number) >> 32) as usize % (LONGEST_BODY + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_counts() {
        let mut buffer = [0; LONGEST];
        for number in 0..100 {
            let mut message = [0; LONGEST];
            let len = compose(7, number, 5, &mut buffer).len();
            message[..len].copy_from_slice(&buffer[..len]);
            assert_eq!(examine(7, number, &message[..len]).ok(), Some(5));
            assert!(examine(7, number + 1, &message[..len]).is_err());
            assert!(len == HEADER || examine(8, number, &message[..len]).is_err());
            assert!(examine(7, number, &message[..len - 1]).is_err());
            for at in (0..8).chain(HEADER..len) {
                message[at] ^= 0x10;
                assert!(examine(7, number, &message[..len]).is_err(), "byte {at}");
                message[at] ^= 0x10;
            }
        }
    }
}
