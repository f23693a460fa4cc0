// SPDX-License-Identifier: MIT OR Apache-2.0
//! Messages put together from a stream: one number of 8 bytes with at most one descriptor.
//!
//! A message may come in any pieces, with its descriptor on any of them. If pieces that are read one after the other
//! have descriptors, those of the last are taken (QEMU 7.2). (QEMU up to 2.5 aborted on a message in pieces; the model
//! reads it as QEMU 7.2 does.)

use core::ffi::c_long;

use crate::Generation;

/// Bytes of the widest message.
const MAX_LEN: usize = 8;

/// A whole message.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Message<D> {
    pub(crate) number: i64,
    pub(crate) descriptor: Option<D>,
}

/// A message as far as it has arrived.
#[derive(Debug)]
pub(crate) struct Assembler<D> {
    generation: Generation,
    bytes: [u8; MAX_LEN],
    /// Invariant: less than the length of a message between calls.
    filled: usize,
    descriptor: Option<D>,
}

impl<D> Assembler<D> {
    pub(crate) const fn new(generation: Generation) -> Self {
        Self {
            generation,
            bytes: [0; MAX_LEN],
            filled: 0,
            descriptor: None,
        }
    }

    /// Returns the length of a message: that of a C `long` of the host until QEMU 2.5, 8 bytes since.
    const fn message_len(&self) -> usize {
        if self.generation.is_historic() {
            size_of::<c_long>()
        } else {
            MAX_LEN
        }
    }

    /// Returns how many bytes are missing to the end of the current message, 1 to 8.
    pub(crate) const fn wanted(&self) -> usize {
        self.message_len() - self.filled
    }

    /// Takes the descriptors that came with one read of the current message. The first counts, in the place of one that
    /// an earlier read brought, and the others are closed (QEMU 7.2).
    pub(crate) fn attach(&mut self, descriptors: impl IntoIterator<Item = D>) {
        let mut descriptors = descriptors.into_iter();
        if let Some(first) = descriptors.next() {
            self.descriptor = Some(first);
        }
        descriptors.for_each(drop);
    }

    /// Takes bytes from the front of `bytes`, and returns the message that they complete.
    pub(crate) fn take(&mut self, bytes: &mut &[u8]) -> Option<Message<D>> {
        let len = self.message_len();
        let (now, later) = bytes.split_at(bytes.len().min(self.wanted()));
        self.bytes[self.filled..self.filled + now.len()].copy_from_slice(now);
        *bytes = later;
        self.filled += now.len();
        if self.filled < len {
            return None;
        }
        self.filled = 0;
        Some(Message {
            number: self.number(),
            descriptor: self.descriptor.take(),
        })
    }

    /// Returns the number of a whole message: in the byte order of the host until QEMU 2.5, little-endian since.
    fn number(&self) -> i64 {
        if !self.generation.is_historic() {
            return i64::from_le_bytes(self.bytes);
        }
        const LEN: usize = size_of::<c_long>();
        let mut long = [0; LEN];
        long.copy_from_slice(&self.bytes[..LEN]);
        #[allow(clippy::useless_conversion)] // `c_long` has 4 bytes on some hosts.
        i64::from(c_long::from_ne_bytes(long))
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::*;

    #[test]
    fn every_split_gives_the_same_messages_in_every_generation() {
        let numbers: [c_long; 3] = [-1, 0x0102_0304, 7];
        for generation in Generation::ALL {
            let stream: Vec<u8> = numbers
                .iter()
                .flat_map(|&number| match generation {
                    Generation::Modern => {
                        // 8 bytes also where `c_long` has 4.
                        let mut bytes = number.to_le_bytes().to_vec();
                        bytes.resize(MAX_LEN, if number < 0 { 0xff } else { 0 });
                        bytes
                    }
                    _ => number.to_ne_bytes().to_vec(),
                })
                .collect();
            let len = stream.len() / numbers.len();
            for first in 0..=stream.len() {
                for second in first..=stream.len() {
                    for carrier in len..2 * len {
                        let mut assembler = Assembler::new(generation);
                        let mut got = Vec::new();
                        let cuts = [0, first, second, stream.len()];
                        for pair in cuts.windows(2) {
                            let mut piece = &stream[pair[0]..pair[1]];
                            // As from a socket: never past the message, with what its bytes carry.
                            let mut at = pair[0];
                            while !piece.is_empty() {
                                let step = piece.len().min(assembler.wanted());
                                if (at..at + step).contains(&carrier) {
                                    assembler.attach(["memory"]);
                                }
                                let (mut now, later) = piece.split_at(step);
                                got.extend(assembler.take(&mut now));
                                (piece, at) = (later, at + step);
                            }
                        }
                        let got: Vec<_> = got
                            .iter()
                            .map(|message| (message.number, message.descriptor))
                            .collect();
                        let expected = [(-1, None), (0x0102_0304, Some("memory")), (7, None)];
                        assert_eq!(got, expected, "{generation}: {first}, {second}, {carrier}");
                    }
                }
            }
        }
    }

    #[test]
    fn of_descriptors_the_first_of_the_last_read_counts() {
        let mut assembler = Assembler::new(Generation::Modern);
        assembler.attach([1, 2]);
        let message = assembler.take(&mut &[0; 8][..]);
        assert_eq!(message.and_then(|message| message.descriptor), Some(1));
        assert_eq!(assembler.wanted(), 8);
        assembler.attach([3, 4]);
        assert_eq!(assembler.take(&mut &[0; 3][..]), None);
        assembler.attach([5, 6]);
        assert_eq!(assembler.take(&mut &[0; 3][..]), None);
        assembler.attach([]);
        let message = assembler.take(&mut &[0; 2][..]);
        assert_eq!(message.and_then(|message| message.descriptor), Some(5));
    }
}
