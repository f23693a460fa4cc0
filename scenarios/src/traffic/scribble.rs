// SPDX-License-Identifier: MIT OR Apache-2.0
//! A hostile member's writes: [`Scribbler`].

use core::ops::Range;
use core::sync::atomic::Ordering;

use arrayvec::ArrayVec;
use ivshmem::channel::{Region, SlotIndex};
use ivshmem::SharedMemory;

use crate::{ensure, Failure};

/// Where the slots begin, their size, and that of a ring's control block, as docs/layout.md has them.
const SLOTS_AT: usize = 0x80;
const SLOT: usize = 0x80;
const CONTROL: usize = 0x180;

const WORD: usize = 8;

/// Most stretches of memory that one scribbles over.
const MAX_STRETCHES: usize = 64;

/// Pseudo-random writes to some stretches of a region.
#[derive(Debug)]
pub struct Scribbler<'m> {
    memory: SharedMemory<'m>,
    stretches: ArrayVec<Range<usize>, MAX_STRETCHES>,
    state: u64,
}

impl<'m> Scribbler<'m> {
    /// Scribbles over all rings that lead to or from `own`.
    ///
    /// # Errors
    ///
    /// - The region has too many slots.
    pub fn over_rings_of(
        memory: SharedMemory<'m>,
        region: &Region<'m>,
        own: SlotIndex,
        seed: u64,
    ) -> Result<Self, Failure> {
        let others = (0..region.slots()).filter(|&slot| slot != own.0);
        let rings = others.flat_map(|slot| [(own.0, slot), (slot, own.0)]);
        Self::over(memory, rings.map(|(from, to)| ring(region, from, to)), seed)
    }

    /// Scribbles over everything but the two rings between `one` and `other`.
    ///
    /// # Errors
    ///
    /// - None for two slots of a region.
    pub fn over_all_but(
        memory: SharedMemory<'m>,
        region: &Region<'m>,
        (one, other): (SlotIndex, SlotIndex),
        seed: u64,
    ) -> Result<Self, Failure> {
        let there = ring(region, one.0.min(other.0), one.0.max(other.0));
        let back = ring(region, one.0.max(other.0), one.0.min(other.0));
        let rings_at = SLOTS_AT + SLOT * usize::from(region.slots());
        let stretches = [
            // More often than by its size: header and slots are what hurts most.
            0..rings_at,
            0..rings_at,
            rings_at..there.start,
            there.end..back.start,
            back.end..memory.len(),
        ];
        Self::over(memory, stretches.into_iter(), seed)
    }

    fn over(
        memory: SharedMemory<'m>,
        all: impl Iterator<Item = Range<usize>>,
        seed: u64,
    ) -> Result<Self, Failure> {
        let mut stretches = ArrayVec::new();
        for stretch in all.filter(|stretch| !stretch.is_empty()) {
            stretches.try_push(stretch)?;
        }
        ensure(
            !stretches.is_empty(),
            format_args!("there is nothing to scribble over"),
        )?;
        Ok(Self {
            memory,
            stretches,
            // 0 would stay 0.
            state: seed.max(1),
        })
    }

    /// Writes one word somewhere.
    ///
    /// # Errors
    ///
    /// - None inside the region.
    pub fn strike(&mut self) -> Result<(), Failure> {
        let at = self.place();
        let word = self.memory.atomic_u64(at)?;
        let is = word.load(Ordering::Relaxed);
        // What is nearly right gets further than noise.
        let written = match self.below(8) {
            0 => 0,
            1 => u64::MAX,
            2 => is.wrapping_add(8),
            3 => is.wrapping_sub(8),
            4 => is ^ 1 << self.below(64),
            5 => is & 0xffff_ffff | self.random() << 32,
            6 => {
                let other = self.place();
                self.memory.atomic_u64(other)?.load(Ordering::Relaxed)
            }
            _ => self.random(),
        };
        word.store(written, Ordering::Relaxed);
        Ok(())
    }

    /// Chooses a word; every other time among the first of its stretch, where control blocks are.
    fn place(&mut self) -> usize {
        let index = self.below(self.stretches.len());
        let stretch = self.stretches[index].clone();
        let len = if self.below(2) == 0 {
            stretch.len().min(CONTROL + 0x40)
        } else {
            stretch.len()
        };
        stretch.start + WORD * self.below(len / WORD)
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.random() >> 11) as usize % limit
    }

    /// Returns the next number of a xorshift generator.
    fn random(&mut self) -> u64 {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        self.state
    }
}

/// Returns where a ring is.
fn ring(region: &Region<'_>, from: u16, to: u16) -> Range<usize> {
    let others = usize::from(region.slots()) - 1;
    let number = usize::from(from) * others + usize::from(to) - usize::from(to > from);
    let len = CONTROL + region.ring_len();
    let start = SLOTS_AT + SLOT * usize::from(region.slots()) + number * len;
    start..start + len
}

#[cfg(test)]
mod tests {
    use core::ptr::NonNull;
    use ivshmem::channel::Format;

    use super::*;

    #[repr(align(4096))]
    struct Pages([u8; 1 << 16]);

    #[test]
    fn what_is_spared_stays_as_it_was_and_all_else_is_reached() {
        let mut pages = Pages([0; 1 << 16]);
        let start = NonNull::from(&mut pages.0).cast();
        // SAFETY: the pages live to the end of this test, and are used through the view alone.
        #[allow(unsafe_code)]
        let memory = unsafe { SharedMemory::new(start, 1 << 16) };
        let format = Format {
            slots: 3,
            ring_log2: Some(9),
        };
        let region = Region::open_or_format(memory, &format).ok().unwrap();
        let (one, other) = (SlotIndex(2), SlotIndex(0));
        let mut scribbler = Scribbler::over_all_but(memory, &region, (one, other), 5)
            .ok()
            .unwrap();
        for _ in 0..200_000 {
            scribbler.strike().ok().unwrap();
        }
        let byte_at = |at: usize| memory.read_array::<1>(at).unwrap()[0];
        for spared in [ring(&region, 0, 2), ring(&region, 2, 0)] {
            assert!(spared.clone().all(|at| byte_at(at) == 0), "{spared:?}");
        }
        let used = ring(&region, 2, 1).end;
        let changed = (0..used).filter(|&at| byte_at(at) != 0).count();
        assert!(changed > used / 3, "{changed} of {used} bytes");
    }
}
