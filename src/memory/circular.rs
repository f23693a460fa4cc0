// SPDX-License-Identifier: MIT OR Apache-2.0
//! Shared memory that is gone round: [`Circular`].

use core::sync::atomic::AtomicU64;

use super::{processor, AccessError, SharedMemory, LINE};

/// Bytes of a word.
const WORD: usize = 8;

/// A part of shared memory whose length is a power of two, addressed by positions, which count bytes for ever.
///
/// There is a word at each of them, which is rounded down to a multiple of 8 for that: no access to a word can fail.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Circular<'m> {
    /// Invariant: `mask + 8` bytes that begin at a multiple of 8.
    memory: SharedMemory<'m>,
    /// Invariant: a power of two less 8, and at least 0: so a multiple of 8.
    mask: usize,
}

impl<'m> SharedMemory<'m> {
    /// Returns the part of this view that starts at `offset` and has `len_bytes` bytes, to go round; nothing if that is not in the
    /// view, not a power of two of at least 8, or not aligned to 8.
    pub(crate) fn circular(&self, offset: usize, len_bytes: usize) -> Option<Circular<'m>> {
        let memory = self.region(offset, len_bytes).ok()?;
        let fits = len_bytes.is_power_of_two()
            && len_bytes >= WORD
            && memory.as_ptr() as usize % WORD == 0;
        fits.then_some(Circular {
            memory,
            mask: len_bytes.wrapping_sub(WORD),
        })
    }
}

impl<'m> Circular<'m> {
    /// Returns the offset of the byte at a position.
    #[inline(always)]
    const fn offset(&self, position: u64) -> usize {
        position as usize & (self.mask | (WORD - 1))
    }

    /// Returns the word at a position.
    #[inline(always)]
    pub(crate) fn word(&self, position: u64) -> &'m AtomicU64 {
        let offset = position as usize & self.mask;
        let word = self.memory.as_ptr().wrapping_add(offset);
        // SAFETY: 1. the offset is a multiple of 8 and at most `mask`, so 8 bytes there are inside the view and aligned (both
        // invariants); 2. and 3. as in `SharedMemory::atomic_u32`.
        unsafe { AtomicU64::from_ptr(word.cast()) }
    }

    /// Returns the bytes from a position on, none of which may be beyond the end.
    #[inline]
    pub(crate) fn region(
        &self,
        position: u64,
        len_bytes: usize,
    ) -> Result<SharedMemory<'m>, AccessError> {
        self.memory.region(self.offset(position), len_bytes)
    }

    /// Copies bytes out, as [`SharedMemory::read`].
    #[inline(always)]
    pub(crate) fn read(&self, position: u64, target: &mut [u8]) -> Result<(), AccessError> {
        self.memory.read(self.offset(position), target)
    }

    /// Copies bytes in, as [`SharedMemory::write`], but what lies in the first line of the cache after the rest, for a peer that looks
    /// at that line all the time.
    #[inline(always)]
    pub(crate) fn write_first_line_last(
        &self,
        position: u64,
        source: &[u8],
    ) -> Result<(), AccessError> {
        let offset = self.offset(position);
        if processor::is_backward(source.len()) {
            self.memory.write(offset, source)
        } else {
            self.write_in_two(offset, source)
        }
    }

    fn write_in_two(&self, offset: usize, source: &[u8]) -> Result<(), AccessError> {
        let address = (self.memory.as_ptr() as usize).wrapping_add(offset);
        let first = address.wrapping_neg() % LINE;
        let (first, rest) = source.split_at(first.min(source.len()));
        self.memory.write(offset + first.len(), rest)?;
        self.memory.write(offset, first)
    }

    /// Has the processor fetch the line of the cache at a position for writing.
    #[inline(always)]
    pub(crate) fn expect_write(&self, position: u64) {
        processor::expect_write(self.memory.as_ptr().wrapping_add(self.offset(position)));
    }
}
