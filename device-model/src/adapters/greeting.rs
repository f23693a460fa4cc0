// SPDX-License-Identifier: MIT OR Apache-2.0
//! The version that a server sends first, taken out for a device that knows no versions.

use super::connection::MESSAGE_LEN;
use super::ConnectionError;

/// The only version of the protocol.
const VERSION: i64 = 0;

/// What is still expected of the greeting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Greeting {
    /// Nothing: all goes to the device.
    None,
    /// The version, of which some bytes have come.
    Version {
        bytes: [u8; MESSAGE_LEN],
        filled: usize,
    },
    /// The own ID, which goes to the device. It has no descriptor; if it has, the 0 before it was an ID, not a version.
    OwnId,
}

impl Greeting {
    pub(super) const fn expected() -> Self {
        Self::Version {
            bytes: [0; MESSAGE_LEN],
            filled: 0,
        }
    }

    /// Returns how many bytes to read, if that is not for the device to say.
    pub(super) const fn wanted(&self) -> Option<usize> {
        match self {
            Self::Version { filled, .. } => Some(MESSAGE_LEN - *filled),
            Self::None | Self::OwnId => None,
        }
    }

    /// Takes a piece of a message, and returns whether it is for the device. `ends` says that it is the end of a
    /// message.
    pub(super) fn pass(
        &mut self,
        piece: &[u8],
        ends: bool,
        has_descriptor: bool,
    ) -> Result<bool, ConnectionError> {
        match self {
            Self::None => return Ok(true),
            _ if has_descriptor => return Err(ConnectionError::Unversioned),
            Self::OwnId => {
                if ends {
                    *self = Self::None;
                }
                return Ok(true);
            }
            Self::Version { bytes, filled } => {
                for (place, byte) in bytes.iter_mut().skip(*filled).zip(piece) {
                    *place = *byte;
                }
                *filled = (*filled + piece.len()).min(MESSAGE_LEN);
                if ends {
                    let found = i64::from_le_bytes(*bytes);
                    if found != VERSION {
                        return Err(ConnectionError::Version { found });
                    }
                    *self = Self::OwnId;
                }
            }
        }
        Ok(false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Feeds numbers in pieces of `step` bytes, and returns what the device gets.
    fn pass(step: usize, messages: &[(i64, bool)]) -> Result<Vec<u8>, ConnectionError> {
        let mut greeting = Greeting::expected();
        let mut device = Vec::new();
        for &(number, has_descriptor) in messages {
            let bytes = number.to_le_bytes();
            let pieces = bytes.chunks(step);
            let last = pieces.len() - 1;
            for (index, piece) in pieces.enumerate() {
                if greeting.pass(piece, index == last, has_descriptor && index == 0)? {
                    device.extend(piece);
                }
            }
        }
        Ok(device)
    }

    #[test]
    fn the_device_gets_all_but_the_version() {
        for step in 1..=8 {
            let mut expected = 3_i64.to_le_bytes().to_vec();
            expected.extend((-1_i64).to_le_bytes());
            let device = pass(step, &[(0, false), (3, false), (-1, true)]);
            assert_eq!(device, Ok(expected), "{step}");
        }
    }

    #[test]
    fn another_protocol_is_named() {
        for step in 1..=8 {
            for (messages, error) in [
                (&[(3, false)][..], ConnectionError::Version { found: 3 }),
                (&[(-1, false)], ConnectionError::Version { found: -1 }),
                (&[(0, true)], ConnectionError::Unversioned),
                (&[(0, false), (-1, true)], ConnectionError::Unversioned),
            ] {
                assert_eq!(pass(step, messages), Err(error), "{step}");
            }
        }
    }
}
