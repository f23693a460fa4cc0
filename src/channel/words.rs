// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the protocol does to shared memory, operation by operation: [`Words`], and [`Loads`] for who only looks.
//!
//! All of the protocol is written against this trait, so that the very code that runs on shared memory is what the
//! model checkers step through. Offsets are multiples of 8 and inside the region; whoever makes a value of a type
//! that uses them has checked that. Those of [`SharedMemory`] are checked again at each access, or masked where it is gone
//! round, so that a mistake here is a wrong answer and no access to what lies beside a ring.

use core::sync::atomic::{fence, AtomicU64, Ordering};

use crate::memory::{full_fence, Circular};
use crate::SharedMemory;

/// Words of 64 bits, little-endian, that can be looked at.
pub(crate) trait Loads: Clone {
    /// Loads a word.
    fn load(&self, offset: usize, order: Ordering) -> u64;
}

/// Words that can be written as well.
pub(crate) trait Words: Loads {
    /// One of the words.
    type Word: Word;

    /// A part of them that is gone round.
    type Circle: Circle;

    /// Finds such a part, of a power of two of bytes; nothing if it is not there.
    fn circle(&self, offset: usize, len_bytes: usize) -> Option<Self::Circle>;

    /// Finds a word that is looked at often.
    fn word(&self, offset: usize) -> Self::Word;

    /// Stores a word.
    fn store(&self, offset: usize, value: u64, order: Ordering);

    /// Exchanges a word that is `current` for `new`, sequentially consistent; else returns what it is.
    fn compare_exchange(&self, offset: usize, current: u64, new: u64) -> Result<(), u64>;

    /// A fence, of all threads of all machines.
    fn fence(&self, order: Ordering);
}

/// A part of [`Words`] that is gone round. Positions count bytes for ever; those of words are multiples of 8.
pub(crate) trait Circle {
    /// Loads the word at a position.
    fn load(&self, position: u64, order: Ordering) -> u64;

    /// Stores the word at a position.
    fn store(&self, position: u64, value: u64, order: Ordering);

    /// Copies bytes out, none of them from beyond the end. What a peer writes meanwhile may be seen in part.
    fn read(&self, position: u64, target: &mut [u8]);

    /// Copies bytes in, none of them to beyond the end, what lies in the first line of the cache last.
    fn write(&self, position: u64, source: &[u8]);

    /// Says that the line of the cache at a position is about to be written.
    fn expect_write(&self, position: u64) {
        let _ = position;
    }
}

/// One word of [`Words`].
pub(crate) trait Word: Clone {
    /// Loads it.
    fn load(&self, order: Ordering) -> u64;

    /// Stores it.
    fn store(&self, value: u64, order: Ordering);
}

/// Where words are that no caller asks for.
static NOWHERE: AtomicU64 = AtomicU64::new(0);

impl Word for &AtomicU64 {
    #[inline]
    fn load(&self, order: Ordering) -> u64 {
        u64::from_le(AtomicU64::load(self, order))
    }

    #[inline]
    fn store(&self, value: u64, order: Ordering) {
        AtomicU64::store(self, value.to_le(), order);
    }
}

impl Loads for SharedMemory<'_> {
    #[inline]
    fn load(&self, offset: usize, order: Ordering) -> u64 {
        let word = self.atomic_u64(offset);
        debug_assert!(word.is_ok(), "{word:?}");
        // Where no caller goes: what is not there reads as nothing.
        word.map_or(0, |word| u64::from_le(word.load(order)))
    }
}

impl<'m> Words for SharedMemory<'m> {
    type Word = &'m AtomicU64;
    type Circle = Circular<'m>;

    fn circle(&self, offset: usize, len_bytes: usize) -> Option<Circular<'m>> {
        self.circular(offset, len_bytes)
    }

    fn word(&self, offset: usize) -> &'m AtomicU64 {
        let word = self.atomic_u64(offset);
        debug_assert!(word.is_ok(), "{word:?}");
        word.unwrap_or(&NOWHERE)
    }

    #[inline]
    fn store(&self, offset: usize, value: u64, order: Ordering) {
        let word = self.atomic_u64(offset);
        debug_assert!(word.is_ok(), "{word:?}");
        if let Ok(word) = word {
            word.store(value.to_le(), order);
        }
    }

    #[inline]
    fn compare_exchange(&self, offset: usize, current: u64, new: u64) -> Result<(), u64> {
        let Ok(word) = self.atomic_u64(offset) else {
            return Err(!current);
        };
        word.compare_exchange(
            current.to_le(),
            new.to_le(),
            Ordering::SeqCst,
            Ordering::SeqCst,
        )
        .map(drop)
        .map_err(u64::from_le)
    }

    #[inline]
    fn fence(&self, order: Ordering) {
        match order {
            Ordering::SeqCst => full_fence(),
            order => fence(order),
        }
    }
}

impl Circle for Circular<'_> {
    #[inline(always)]
    fn load(&self, position: u64, order: Ordering) -> u64 {
        Word::load(&self.word(position), order)
    }

    #[inline(always)]
    fn store(&self, position: u64, value: u64, order: Ordering) {
        Word::store(&self.word(position), value, order);
    }

    #[inline(always)]
    fn read(&self, position: u64, target: &mut [u8]) {
        let inside = Circular::read(self, position, target);
        debug_assert!(inside.is_ok(), "{inside:?}");
    }

    #[inline(always)]
    fn write(&self, position: u64, source: &[u8]) {
        let inside = self.write_first_line_last(position, source);
        debug_assert!(inside.is_ok(), "{inside:?}");
    }

    #[inline(always)]
    fn expect_write(&self, position: u64) {
        Circular::expect_write(self, position);
    }
}

#[cfg(test)]
pub(crate) mod doubles;
