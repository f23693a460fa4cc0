// SPDX-License-Identifier: MIT OR Apache-2.0
//! Frames and where they are in a ring: [`Header`], [`Place`].

use crate::memory::LINE;

/// Bytes of a header, and what every frame is a multiple of.
pub(crate) const WORD: usize = 8;

/// Payloads of so many bytes begin at a line of the cache: copies of whole lines are faster, and touch as many.
const ALIGNED_FROM: usize = 512;
/// The header of a frame, as one word.
///
/// | bits | |
/// | --- | --- |
/// | 0 to 27 | length of the payload in bytes |
/// | 28 | the payload begins at the next multiple of 64; else behind the header |
/// | 29 | the message goes on in the next frame |
/// | 30 | the rest of the ring is skipped; there is no payload |
/// | 31 | 1: there is a frame |
/// | 32 to 63 | the mark of its position |
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header(u64);

const LEN: u32 = ALIGNED - 1;
const ALIGNED: u32 = 1 << 28;
const MORE: u32 = 1 << 29;
const SKIP: u32 = 1 << 30;
const PRESENT: u32 = 1 << 31;

impl Header {
    /// No frame yet.
    pub(crate) const NONE: Self = Self(0);

    const fn new(low: u32, mark: Mark) -> Self {
        Self(low as u64 | (mark.0 as u64) << 32)
    }

    /// Returns the header of a frame with `len` bytes of payload.
    #[inline]
    pub(crate) const fn message(len: u32, start: Start, more: bool, mark: Mark) -> Self {
        let start = match start {
            Start::Behind => 0,
            Start::Aligned => ALIGNED,
        };
        let more = if more { MORE } else { 0 };
        Self::new(len & LEN | start | more | PRESENT, mark)
    }

    /// Returns the header that leads to the start of the ring.
    pub(crate) const fn skip(mark: Mark) -> Self {
        Self::new(SKIP | PRESENT, mark)
    }

    /// Takes a word for a header, whatever it is.
    pub(crate) const fn from_word(word: u64) -> Self {
        Self(word)
    }

    /// Returns the word.
    pub(crate) const fn word(self) -> u64 {
        self.0
    }

    /// Returns what a header of a message with this mark says.
    #[inline]
    pub(crate) fn as_message(self, mark: Mark) -> Option<Message> {
        let low = self.0 as u32;
        let is_message = (self.0 >> 32) as u32 == mark.0 && low & (PRESENT | SKIP) == PRESENT;
        is_message.then_some(Message {
            len: (low & LEN) as usize,
            start: if low & ALIGNED == 0 {
                Start::Behind
            } else {
                Start::Aligned
            },
            more: low & MORE != 0,
        })
    }

    /// Returns the mark that it carries.
    pub(crate) const fn mark(self) -> u32 {
        (self.0 >> 32) as u32
    }

    /// Returns whether it is a skip with this mark.
    pub(crate) fn is_skip(self, mark: Mark) -> bool {
        self == Self::skip(mark)
    }
}

/// What the header of a message says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Message {
    pub(crate) len: usize,
    pub(crate) start: Start,
    pub(crate) more: bool,
}

impl Message {
    /// Returns the position behind such a frame at `position`, unless its payload is longer than `longest` or would reach
    /// beyond the end of the ring.
    #[inline(always)]
    pub(crate) const fn end(self, position: u64, place: Place, longest: usize) -> Option<u64> {
        let end = self.start.end(position, self.len);
        if self.len > longest || end - position > place.to_end(position) as u64 {
            return None;
        }
        Some(end)
    }
}

/// Where a payload begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Start {
    /// Behind the header.
    Behind,
    /// At the next line of the cache.
    Aligned,
}

impl Start {
    /// The longest payload that begins behind the header.
    pub(crate) const LONGEST_BEHIND: usize = ALIGNED_FROM - 1;

    /// Returns where a payload of up to `len` bytes is put.
    #[inline]
    pub(crate) const fn of(len: usize) -> Self {
        if len >= ALIGNED_FROM {
            Self::Aligned
        } else {
            Self::Behind
        }
    }

    /// Returns the position of the payload of a frame at `position`.
    #[inline]
    pub(crate) const fn payload(self, position: u64) -> u64 {
        let behind = position + WORD as u64;
        match self {
            Self::Behind => behind,
            Self::Aligned => (behind + (LINE as u64 - 1)) & !(LINE as u64 - 1),
        }
    }

    /// Returns the position behind a frame at `position` with `len` bytes of payload.
    #[inline]
    pub(crate) const fn end(self, position: u64, len: usize) -> u64 {
        self.payload(position) + ((len + (WORD - 1)) & !(WORD - 1)) as u64
    }
}

/// A position of one session in 32 bits, by which a writer that lost its place, and one that lost its slot, is found out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mark(pub(crate) u32);

/// What makes the marks, head and tail of one session differ from those of others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Key(pub(crate) u32);

impl Key {
    /// Returns the key of a session between two incarnations. By the factor, which is 2^32 over the golden ratio, two
    /// sessions have the same only if their incarnations are tens of thousands apart.
    pub(crate) const fn new(source: u32, destination: u32) -> Self {
        Self(source.wrapping_mul(0x9e37_79b1).wrapping_add(destination))
    }

    /// Returns the mark of a position.
    #[inline]
    pub(crate) const fn mark(self, position: u64) -> Mark {
        Mark(self.0.wrapping_add(words(position)))
    }

    /// Returns the word by which a position is made known: the key in the high half, and in the low the position in words.
    #[inline]
    pub(crate) const fn word(self, position: u64) -> u64 {
        words(position) as u64 | (self.0 as u64) << 32
    }

    /// Returns by how many bytes such a word is ahead of `position`, if it is one of this session. One that is behind
    /// seems to be far ahead.
    #[inline]
    pub(crate) const fn advance(self, word: u64, position: u64) -> Option<u64> {
        if (word >> 32) as u32 != self.0 {
            return None;
        }
        let ahead = (word as u32).wrapping_sub(words(position));
        Some(ahead as u64 * WORD as u64)
    }
}

/// Returns a position in words. Bits beyond the 32 fall off: what differs by less than a ring is told apart without them.
#[inline]
const fn words(position: u64) -> u32 {
    (position / WORD as u64) as u32
}

/// A ring's size: positions, which count bytes for ever, to offsets.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    /// Invariant: a power of two, at least 64.
    size: usize,
}

impl Place {
    /// Returns the arithmetic of a ring of 2 to the power of `size_log2` bytes, 6 to 29.
    pub(crate) const fn new(size_log2: u32) -> Self {
        Self {
            size: 1 << size_log2,
        }
    }

    /// Returns the size of the ring in bytes.
    #[inline]
    pub(crate) const fn size(self) -> usize {
        self.size
    }

    /// Returns the offset of a position.
    #[inline]
    pub(crate) const fn offset(self, position: u64) -> usize {
        position as usize & (self.size - 1)
    }

    /// Returns the bytes from a position to the end of the ring.
    #[inline]
    pub(crate) const fn to_end(self, position: u64) -> usize {
        self.size - self.offset(position)
    }

    /// Returns the longest payload of one frame: whatever the position, it fits before or after the end.
    pub(crate) const fn longest(self) -> usize {
        let behind = self.size / 2 - 2 * WORD;
        match Start::of(behind) {
            Start::Behind => behind,
            Start::Aligned => behind - (LINE - WORD),
        }
    }
}
