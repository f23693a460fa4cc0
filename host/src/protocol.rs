// SPDX-License-Identifier: MIT OR Apache-2.0
//! The messages that an ivshmem server sends to its clients.
//!
//! A message is one signed 64-bit little-endian number with at most one file
//! descriptor attached (`SCM_RIGHTS`). Clients send nothing. Source: QEMU's
//! ivshmem specification, "Client-Server protocol", as QEMU 7.2 has it:
//!
//! | number | descriptor | meaning |
//! | --- | --- | --- |
//! | 0, as the first message | none | protocol version |
//! | 0 to 65535, as the second message | none | the client's own ID |
//! | -1 | the shared memory | here is the memory |
//! | 0 to 65535 | an eventfd | the next vector of this peer, the client itself included |
//! | 0 to 65535, later | none | this peer has left |

use std::fmt;

use ivshmem::PeerId;

/// The length of a message in bytes.
pub const MESSAGE_LEN: usize = 8;

/// The version of the protocol, which is the first number that a server sends.
pub const VERSION: i64 = 0;

/// The number of the message that carries the shared memory.
pub const MEMORY: i64 = -1;

/// What our server sends in place of the version to a client that it has no room for.
///
/// Closing the connection without a word would make QEMU 7.2 spin for ever in its
/// start-up; on an unknown version it fails with an error. No version will have this number.
pub const REFUSAL: i64 = -1;

/// The most vectors one peer can have: the size of the largest MSI-X table (PCI 3.0, 6.8.2).
pub const MAX_VECTORS: u16 = 2048;

/// A whole message with descriptors of type `F`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message<F> {
    /// The number.
    pub number: i64,
    /// The descriptor that came with it.
    pub descriptor: Option<F>,
}

/// Bytes and descriptors on their way to becoming messages.
///
/// A stream socket may deliver a message in pieces, with the descriptor on any
/// of them. Receive into [`Assembler::space`], which never reaches past the
/// current message, then report with [`Assembler::advance`] what arrived.
#[derive(Debug)]
pub struct Assembler<F> {
    bytes: [u8; MESSAGE_LEN],
    /// Invariant: less than `MESSAGE_LEN` between calls.
    filled: usize,
    descriptor: Option<F>,
}

impl<F> Assembler<F> {
    /// Creates an assembler at the start of a message.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            bytes: [0; MESSAGE_LEN],
            filled: 0,
            descriptor: None,
        }
    }

    /// Returns the space for the missing bytes of the current message, never empty.
    pub fn space(&mut self) -> &mut [u8] {
        &mut self.bytes[self.filled..]
    }

    /// Takes the first `len_bytes` bytes of [`Assembler::space`] as received together with
    /// `descriptors`, and returns the message if it is now whole.
    ///
    /// A `len_bytes` beyond the space counts as all of it.
    ///
    /// # Errors
    ///
    /// - [`ProtocolError::TooManyDescriptors`]: a second descriptor for one message.
    pub fn advance(
        &mut self,
        len_bytes: usize,
        descriptors: impl IntoIterator<Item = F>,
    ) -> Result<Option<Message<F>>, ProtocolError> {
        self.filled = self.filled.saturating_add(len_bytes).min(MESSAGE_LEN);
        for descriptor in descriptors {
            if self.descriptor.replace(descriptor).is_some() {
                return Err(ProtocolError::TooManyDescriptors);
            }
        }
        if self.filled < MESSAGE_LEN {
            return Ok(None);
        }
        self.filled = 0;
        Ok(Some(Message {
            number: i64::from_le_bytes(self.bytes),
            descriptor: self.descriptor.take(),
        }))
    }
}

impl<F> Default for Assembler<F> {
    fn default() -> Self {
        Self::new()
    }
}

/// A breach of the protocol by the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ProtocolError {
    /// The server has no room for another client.
    Refused,
    /// The server speaks another version of the protocol, or the one before versions (QEMU 2.4).
    Version {
        /// The number that came for the version.
        found: i64,
    },
    /// The own ID is out of range.
    OwnId {
        /// The number that came for the ID.
        found: i64,
    },
    /// A descriptor came with the version or with the own ID.
    UnexpectedDescriptor {
        /// The number it came with.
        number: i64,
    },
    /// More than one descriptor came with one message.
    TooManyDescriptors,
    /// The message of the shared memory came without a descriptor.
    MemoryMissing,
    /// The shared memory came a second time.
    SecondMemory,
    /// A number that means nothing.
    Number {
        /// The number.
        found: i64,
    },
    /// The server says that the client itself has left.
    LeftSelf {
        /// The client's own ID.
        id: PeerId,
    },
    /// A peer got more vectors than a device can have.
    TooManyVectors {
        /// The peer.
        peer: PeerId,
    },
}

impl fmt::Display for ProtocolError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Refused => write!(f, "the server has no room for another client"),
            Self::Version { found } => write!(
                f,
                "the server speaks protocol version {found}, not {VERSION}: is it an ivshmem server?"
            ),
            Self::OwnId { found } => write!(
                f,
                "the server gave the ID {found}, which is not within 0 to {}",
                u16::MAX
            ),
            Self::UnexpectedDescriptor { number } => write!(
                f,
                "the server attached a file descriptor to the number {number}, which takes none here"
            ),
            Self::TooManyDescriptors => {
                write!(f, "the server attached several file descriptors to one message")
            }
            Self::MemoryMissing => {
                write!(f, "the server announced the shared memory without a file descriptor")
            }
            Self::SecondMemory => write!(f, "the server sent the shared memory twice"),
            Self::Number { found } => write!(f, "the server sent the meaningless number {found}"),
            Self::LeftSelf { id } => {
                write!(f, "the server says that this peer itself, {id}, has left")
            }
            Self::TooManyVectors { peer } => write!(
                f,
                "the server gave peer {peer} more than {MAX_VECTORS} vectors"
            ),
        }
    }
}

impl std::error::Error for ProtocolError {}

#[cfg(test)]
mod tests {
    use super::*;

    /// Feeds `bytes` in pieces of the given lengths; descriptor `n` comes with the piece that holds byte `at[n]`.
    fn assemble(bytes: &[u8], cuts: &[usize], at: &[usize]) -> Vec<Message<usize>> {
        let mut assembler = Assembler::new();
        let mut messages = Vec::new();
        let mut start = 0;
        for end in cuts.iter().copied().chain([bytes.len()]) {
            while start < end {
                let space = assembler.space();
                let step = space.len().min(end - start);
                space[..step].copy_from_slice(&bytes[start..start + step]);
                let carried = (0..at.len()).filter(|&n| (start..start + step).contains(&at[n]));
                messages.extend(assembler.advance(step, carried).unwrap());
                start += step;
            }
        }
        messages
    }

    #[test]
    fn every_split_of_three_messages_gives_the_same_messages() {
        let bytes = [
            5_i64.to_le_bytes(),
            MEMORY.to_le_bytes(),
            0x0102_0304_0506_0708_i64.to_le_bytes(),
        ]
        .concat();
        let expected = [(5, None), (-1, Some(0)), (0x0102_0304_0506_0708, None)]
            .map(|(number, descriptor)| Message { number, descriptor });
        for first in 0..=bytes.len() {
            for second in first..=bytes.len() {
                for carrier in 8..16 {
                    assert_eq!(
                        assemble(&bytes, &[first, second], &[carrier]),
                        expected,
                        "cut at {first} and {second}, descriptor on byte {carrier}"
                    );
                }
            }
        }
    }

    #[test]
    fn a_second_descriptor_is_refused_together_or_in_pieces() {
        let mut assembler = Assembler::new();
        assert_eq!(
            assembler.advance(8, ["a", "b"]),
            Err(ProtocolError::TooManyDescriptors)
        );
        let mut assembler = Assembler::new();
        assert_eq!(assembler.advance(1, ["a"]), Ok(None));
        assert_eq!(
            assembler.advance(1, ["b"]),
            Err(ProtocolError::TooManyDescriptors)
        );
    }

    #[test]
    fn the_space_is_never_empty_nor_longer_than_the_message() {
        let mut assembler = Assembler::<()>::new();
        for filled in 0..20 {
            assert_eq!(assembler.space().len(), 8 - filled % 8);
            assembler.advance(1, []).unwrap();
        }
        assembler.advance(usize::MAX, []).unwrap();
        assert_eq!(assembler.space().len(), 8);
    }
}
