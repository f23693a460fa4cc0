// SPDX-License-Identifier: MIT OR Apache-2.0
//! Doubles of shared memory for tests: [`Heap`] on atomics of the machine, [`Model`] on those of the model checker.
//!
//! Both panic where an access is outside or misaligned, which no code of the protocol may cause.

extern crate std;

use core::sync::atomic::{self, AtomicU64, Ordering};
use std::sync::Arc;

use super::{Circle, Loads, Word, Words};

/// Words that any number of threads of a test share.
pub(crate) type Heap = Double<AtomicU64>;

/// Words of which the model checker `loom` tries out every value that the memory model allows; inside of its models only.
pub(crate) type Model = Double<loom::sync::atomic::AtomicU64>;

/// An atomic of either kind.
pub(crate) trait Atomic {
    fn new(value: u64) -> Self;
    fn load(&self, order: Ordering) -> u64;
    fn store(&self, value: u64, order: Ordering);
    fn compare_exchange(&self, current: u64, new: u64, order: Ordering) -> Result<u64, u64>;
    fn fence(order: Ordering);
}

impl Atomic for AtomicU64 {
    fn new(value: u64) -> Self {
        Self::new(value)
    }

    fn load(&self, order: Ordering) -> u64 {
        self.load(order)
    }

    fn store(&self, value: u64, order: Ordering) {
        self.store(value, order);
    }

    fn compare_exchange(&self, current: u64, new: u64, order: Ordering) -> Result<u64, u64> {
        self.compare_exchange(current, new, order, order)
    }

    fn fence(order: Ordering) {
        atomic::fence(order);
    }
}

impl Atomic for loom::sync::atomic::AtomicU64 {
    fn new(value: u64) -> Self {
        Self::new(value)
    }

    fn load(&self, order: Ordering) -> u64 {
        self.load(order)
    }

    fn store(&self, value: u64, order: Ordering) {
        self.store(value, order);
    }

    fn compare_exchange(&self, current: u64, new: u64, order: Ordering) -> Result<u64, u64> {
        self.compare_exchange(current, new, order, order)
    }

    fn fence(order: Ordering) {
        loom::sync::atomic::fence(order);
    }
}

/// Words on atomics of the kind `A`.
pub(crate) struct Double<A> {
    words: Arc<[A]>,
    orders: Orders,
}

/// How accesses are ordered: as the protocol asks for, or weaker, to show that a test finds out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Orders {
    AsAsked,
    /// Fences of all memory order no stores before loads.
    WeakFences,
    /// Acquire loads are relaxed.
    RelaxedLoads,
    /// Exchanges order nothing else.
    RelaxedExchanges,
    /// Nothing is ordered, but each word by itself.
    AllRelaxed,
    /// Exchanges are a load and a store.
    TornExchanges,
}

impl<A: Atomic> Double<A> {
    /// Returns `len_bytes` bytes, a multiple of 8, all zero.
    pub(crate) fn new(len_bytes: usize) -> Self {
        Self::with_orders(len_bytes, Orders::AsAsked)
    }

    /// As [`Double::new`], with such orders.
    pub(crate) fn with_orders(len_bytes: usize, orders: Orders) -> Self {
        let words = (0..len_bytes / 8).map(|_| A::new(0)).collect();
        Self { words, orders }
    }

    /// Returns the number of bytes.
    pub(crate) fn len(&self) -> usize {
        self.words.len() * 8
    }

    fn at(&self, offset: usize) -> &A {
        assert_eq!(offset % 8, 0, "misaligned: {offset:#x}");
        &self.words[offset / 8]
    }
}

impl<A> Clone for Double<A> {
    fn clone(&self) -> Self {
        Self {
            words: Arc::clone(&self.words),
            orders: self.orders,
        }
    }
}

/// A word of a double, found anew at each access.
#[derive(Clone, Debug)]
pub(crate) struct At<W> {
    words: W,
    offset: usize,
}

impl<W: Words> At<W> {
    pub(crate) fn new(words: &W, offset: usize) -> Self {
        let words = words.clone();
        Self { words, offset }
    }
}

impl<W: Words> Word for At<W> {
    fn load(&self, order: Ordering) -> u64 {
        self.words.load(self.offset, order)
    }

    fn store(&self, value: u64, order: Ordering) {
        self.words.store(self.offset, value, order);
    }
}

impl<A: Atomic> Loads for Double<A> {
    fn load(&self, offset: usize, order: Ordering) -> u64 {
        let order = match self.orders {
            Orders::RelaxedLoads | Orders::AllRelaxed => Ordering::Relaxed,
            _ => order,
        };
        self.at(offset).load(order)
    }
}

impl<A: Atomic> Words for Double<A> {
    type Word = At<Self>;
    type Circle = Turning<Self>;

    fn circle(&self, offset: usize, len_bytes: usize) -> Option<Turning<Self>> {
        Some(Turning::new(self, offset, len_bytes))
    }

    fn word(&self, offset: usize) -> At<Self> {
        At::new(self, offset)
    }

    fn store(&self, offset: usize, value: u64, order: Ordering) {
        let order = match self.orders {
            Orders::AllRelaxed => Ordering::Relaxed,
            _ => order,
        };
        self.at(offset).store(value, order);
    }

    fn compare_exchange(&self, offset: usize, current: u64, new: u64) -> Result<(), u64> {
        let word = self.at(offset);
        let order = match self.orders {
            Orders::RelaxedExchanges | Orders::AllRelaxed => Ordering::Relaxed,
            Orders::TornExchanges => {
                let found = word.load(Ordering::SeqCst);
                if found != current {
                    return Err(found);
                }
                word.store(new, Ordering::SeqCst);
                return Ok(());
            }
            _ => Ordering::SeqCst,
        };
        word.compare_exchange(current, new, order).map(drop)
    }

    fn fence(&self, order: Ordering) {
        match (order, self.orders) {
            (_, Orders::AllRelaxed) => {}
            (Ordering::SeqCst, Orders::WeakFences) => A::fence(Ordering::AcqRel),
            _ => A::fence(order),
        }
    }
}

/// A part of doubles that is gone round, found anew at each access.
#[derive(Clone, Debug)]
pub(crate) struct Turning<W> {
    words: W,
    start: usize,
    len_bytes: usize,
}

impl<W: Words> Turning<W> {
    pub(crate) fn new(words: &W, start: usize, len_bytes: usize) -> Self {
        assert!(len_bytes.is_power_of_two(), "{len_bytes}");
        Self {
            words: words.clone(),
            start,
            len_bytes,
        }
    }

    fn offset(&self, position: u64) -> usize {
        assert_eq!(position % 8, 0, "misaligned: {position:#x}");
        self.start + (position % self.len_bytes as u64) as usize
    }

    /// Returns the offset of `len_bytes` bytes, none of which is beyond the end.
    fn bytes(&self, position: u64, len_bytes: usize) -> usize {
        let offset = self.offset(position);
        let end = self.start + self.len_bytes;
        assert!(offset + len_bytes <= end, "{offset} + {len_bytes} > {end}");
        offset
    }
}

impl<W: Words> Circle for Turning<W> {
    fn load(&self, position: u64, order: Ordering) -> u64 {
        self.words.load(self.offset(position), order)
    }

    fn store(&self, position: u64, value: u64, order: Ordering) {
        self.words.store(self.offset(position), value, order);
    }

    /// Word by word, relaxed: as weak as a copy may be, but for torn words; and it may be stopped anywhere.
    fn read(&self, position: u64, target: &mut [u8]) {
        let offset = self.bytes(position, target.len());
        for (i, bytes) in target.chunks_mut(8).enumerate() {
            let word = self.words.load(offset + i * 8, Ordering::Relaxed);
            bytes.copy_from_slice(&word.to_le_bytes()[..bytes.len()]);
        }
    }

    /// Likewise. What is behind the end in the last word becomes 0: padding, as copies here begin at words.
    fn write(&self, position: u64, source: &[u8]) {
        let offset = self.bytes(position, source.len());
        for (i, bytes) in source.chunks(8).enumerate() {
            let mut word = [0; 8];
            word[..bytes.len()].copy_from_slice(bytes);
            let word = u64::from_le_bytes(word);
            self.words.store(offset + i * 8, word, Ordering::Relaxed);
        }
    }
}
