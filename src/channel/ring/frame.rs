// SPDX-License-Identifier: MIT OR Apache-2.0
//! Frames and where they are in a ring: [`Header`], [`Place`].

/// Bytes of a header, and what every frame is a multiple of.
pub(crate) const WORD: usize = 8;

/// The header of a frame, as one word.
///
/// | bits | |
/// | --- | --- |
/// | 0 to 31 | length of the payload in bytes |
/// | 32 | 1: there is a frame |
/// | 33 | the rest of the ring is skipped; the length is 0 |
/// | 34 | the message goes on in the next frame |
/// | 48 to 63 | bits 3 to 18 of the position |
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header(u64);

const PRESENT: u64 = 1 << 32;
const SKIP: u64 = 1 << 33;
const MORE: u64 = 1 << 34;

impl Header {
    /// No frame yet.
    pub(crate) const NONE: Self = Self(0);

    /// Returns the header of a frame at `position`.
    #[inline]
    pub(crate) const fn message(len: u32, more: bool, position: u64) -> Self {
        Self(len as u64 | PRESENT | if more { MORE } else { 0 } | mark(position))
    }

    /// Returns the header that leads to the start of the ring.
    pub(crate) const fn skip(position: u64) -> Self {
        Self(PRESENT | SKIP | mark(position))
    }

    /// Takes a word for a header, whatever it is.
    pub(crate) const fn from_word(word: u64) -> Self {
        Self(word)
    }

    /// Returns the word.
    pub(crate) const fn word(self) -> u64 {
        self.0
    }

    /// Returns the length of the payload and whether more follows, of a header that is one of a message at `position`.
    #[inline]
    pub(crate) fn as_message(self, position: u64) -> Option<(usize, bool)> {
        let len = self.0 as u32;
        let more = self.0 & MORE != 0;
        (self == Self::message(len, more, position)).then_some((len as usize, more))
    }

    /// Returns whether it is a skip at `position`.
    pub(crate) fn is_skip(self, position: u64) -> bool {
        self == Self::skip(position)
    }
}

/// Part of the position, by which a writer that lost its place is found out. Bits beyond the 16 fall off.
#[inline]
const fn mark(position: u64) -> u64 {
    position >> 3 << 48
}

/// A ring's size: positions, which count bytes for ever, to offsets.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    /// Invariant: a power of two, at least 64.
    size: usize,
}

impl Place {
    /// Returns the arithmetic of a ring of 2 to the power of `size_log2` bytes, 6 to 30.
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
        self.size / 2 - 2 * WORD
    }
}

/// Returns the bytes that a frame takes.
#[inline]
pub(crate) const fn frame_len(payload: usize) -> usize {
    WORD + payload.div_ceil(WORD) * WORD
}
