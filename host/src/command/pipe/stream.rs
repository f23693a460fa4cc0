// SPDX-License-Identifier: MIT OR Apache-2.0
//! The messages of a stream that are not data, and what both sides count.

use std::fmt;

/// What every stream begins with.
const MAGIC: [u8; 8] = *b"ivshpipe";
const VERSION: u32 = 1;

/// The size of a stream whose size is not known.
const UNKNOWN: u64 = u64::MAX;

/// The first message of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::command) struct Hello {
    /// Bytes to come, if that is known. Only for showing how far it is.
    pub(in crate::command) size: Option<u64>,
}

impl Hello {
    /// Returns the bytes: magic, version, 0, size.
    pub(in crate::command) fn to_bytes(self) -> [u8; 24] {
        let mut bytes = [0; 24];
        let size = self.size.unwrap_or(UNKNOWN).to_le_bytes();
        let parts = MAGIC.into_iter().chain(VERSION.to_le_bytes()).chain([0; 4]);
        for (byte, part) in bytes.iter_mut().zip(parts.chain(size)) {
            *byte = part;
        }
        bytes
    }

    /// Reads a message; nothing if it does not begin a stream of this version.
    pub(in crate::command) fn from_bytes(message: &[u8]) -> Option<Self> {
        let (start, size) = message.split_last_chunk()?;
        let size = u64::from_le_bytes(*size);
        let hello = Self {
            size: (size != UNKNOWN).then_some(size),
        };
        (hello.to_bytes().get(..16) == Some(start)).then_some(hello)
    }
}

/// What a receiver says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::command) struct Reply {
    pub(in crate::command) word: Word,
    /// Bytes that have arrived and were written.
    pub(in crate::command) bytes: u64,
}

/// What a reply is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::command) enum Word {
    /// Go on.
    Accepted,
    /// All of it is there.
    Complete,
    /// All has come, and length or checksum are not what they should be.
    Damaged,
    /// Nobody reads the output any more.
    Stopped,
    /// The output cannot be written.
    Failed,
    /// The receiver was told to end.
    Interrupted,
}

impl Word {
    const ALL: [Self; 6] = [
        Self::Accepted,
        Self::Complete,
        Self::Damaged,
        Self::Stopped,
        Self::Failed,
        Self::Interrupted,
    ];

    const fn number(self) -> u32 {
        match self {
            Self::Accepted => 1,
            Self::Complete => 2,
            Self::Damaged => 3,
            Self::Stopped => 4,
            Self::Failed => 5,
            Self::Interrupted => 6,
        }
    }
}

impl fmt::Display for Word {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Accepted => "goes on",
            Self::Complete => "has all",
            Self::Damaged => "found the stream damaged",
            Self::Stopped => "stopped, since nobody reads its output any more",
            Self::Failed => "could not write its output",
            Self::Interrupted => "was interrupted",
        })
    }
}

impl Reply {
    /// Returns the bytes: number of the word, 0, count.
    pub(in crate::command) fn to_bytes(self) -> [u8; 16] {
        pair(self.word.number(), self.bytes)
    }

    /// Reads a message; nothing if it is no reply.
    pub(in crate::command) fn from_bytes(message: &[u8]) -> Option<Self> {
        let (number, bytes) = unpair(message)?;
        let word = Word::ALL.into_iter().find(|word| word.number() == number)?;
        Some(Self { word, bytes })
    }
}

/// What is counted of a stream on both sides, and is its last message.
#[derive(Clone, Debug, Default)]
pub(in crate::command) struct Seal {
    bytes: u64,
    checksum: crc32fast::Hasher,
}

impl Seal {
    /// Counts data.
    pub(in crate::command) fn add(&mut self, data: &[u8]) {
        self.bytes += data.len() as u64;
        self.checksum.update(data);
    }

    /// Returns how many bytes were counted.
    pub(in crate::command) const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Returns the last message: CRC-32 as of Ethernet, 0, count.
    pub(in crate::command) fn to_bytes(&self) -> [u8; 16] {
        pair(self.checksum.clone().finalize(), self.bytes)
    }
}

fn pair(low: u32, bytes: u64) -> [u8; 16] {
    let word = u128::from(bytes) << 64 | u128::from(low);
    word.to_le_bytes()
}

fn unpair(message: &[u8]) -> Option<(u32, u64)> {
    let word = u128::from_le_bytes(message.try_into().ok()?);
    let (low, bytes) = (word as u64, (word >> 64) as u64);
    u32::try_from(low).ok().map(|low| (low, bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_read_as_they_are_written_and_nothing_else_is() {
        for size in [None, Some(0), Some(1 << 40)] {
            let hello = Hello { size };
            let bytes = hello.to_bytes();
            assert_eq!(Hello::from_bytes(&bytes), Some(hello));
            assert_eq!(Hello::from_bytes(&bytes[1..]), None);
            for place in 0..16 {
                let mut other = bytes;
                other[place] ^= 1;
                assert_eq!(Hello::from_bytes(&other), None, "{place}");
            }
        }
        for word in Word::ALL {
            let reply = Reply { word, bytes: 77 };
            assert_eq!(Reply::from_bytes(&reply.to_bytes()), Some(reply));
        }
        for message in [&[][..], &[0; 16], &[7; 16], &[1; 15], &[1; 24]] {
            assert_eq!(Reply::from_bytes(message), None, "{message:?}");
        }
    }

    #[test]
    fn the_seal_is_the_checksum_of_ethernet_and_the_length() {
        let mut seal = Seal::default();
        seal.add(b"1234");
        seal.add(b"56789");
        let mut bytes = [0; 16];
        // The check value that catalogues of CRCs list.
        bytes[..4].copy_from_slice(&0xcbf4_3926_u32.to_le_bytes());
        bytes[8] = 9;
        assert_eq!((seal.to_bytes(), seal.bytes()), (bytes, 9));
    }
}
