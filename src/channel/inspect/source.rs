// SPDX-License-Identifier: MIT OR Apache-2.0
//! What an inspection reads: [`Source`].

use core::sync::atomic::{fence, Ordering};

use crate::channel::words::Loads;
use crate::SharedMemory;

/// Memory that can be read, word by word: shared memory, or a copy of some.
///
/// It may change at any time, and hold anything.
pub trait Source {
    /// Returns the length in bytes.
    fn len(&self) -> usize;

    /// Returns whether there are no bytes.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the 64 bits, little-endian, at `offset`, a multiple of 8, by one load that is at least relaxed; 0 where they do
    /// not lie inside.
    fn load(&self, offset: usize) -> u64;
}

/// Where the memory is not aligned to 8 bytes, all words are 0.
impl Source for SharedMemory<'_> {
    fn len(&self) -> usize {
        SharedMemory::len(self)
    }

    fn load(&self, offset: usize) -> u64 {
        self.atomic_u64(offset)
            .map_or(0, |word| u64::from_le(word.load(Ordering::Relaxed)))
    }
}

/// A copy, or a file that was read.
impl Source for [u8] {
    fn len(&self) -> usize {
        <[u8]>::len(self)
    }

    fn load(&self, offset: usize) -> u64 {
        let bytes = offset
            .checked_add(8)
            .and_then(|end| self.get(offset..end))
            .and_then(|bytes| bytes.try_into().ok());
        bytes.map_or(0, u64::from_le_bytes)
    }
}

impl<S: Source + ?Sized> Source for &S {
    fn len(&self) -> usize {
        (**self).len()
    }

    fn load(&self, offset: usize) -> u64 {
        (**self).load(offset)
    }
}

/// A source as the words of the protocol, none of which can be written.
#[derive(Debug)]
pub(super) struct View<'s, S: ?Sized>(pub(super) &'s S);

impl<S: ?Sized> Clone for View<'_, S> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<S: ?Sized> Copy for View<'_, S> {}

impl<S: Source + ?Sized> Loads for View<'_, S> {
    fn load(&self, offset: usize, order: Ordering) -> u64 {
        let word = self.0.load(offset);
        if order == Ordering::Acquire {
            fence(Ordering::Acquire);
        }
        word
    }
}
