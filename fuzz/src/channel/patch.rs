// SPDX-License-Identifier: MIT OR Apache-2.0
//! Damage: one word that becomes another, which is arbitrary or much like what is there.

use std::ops::Range;
use std::sync::atomic::Ordering;

use ivshmem::SharedMemory;

use super::layout::Layout;
use crate::input::Input;

/// What becomes of a word.
#[derive(Clone, Copy, Debug)]
enum Change {
    To(u64),
    Flip(u32),
    Add(i8),
    LowHalf(u8),
    HighHalf(u8),
    /// The same as another word.
    Copy(u16),
}

/// A word to change and what becomes of it.
#[derive(Clone, Copy, Debug)]
pub struct Patch {
    zone: u8,
    word: u16,
    change: Change,
}

impl Patch {
    pub fn take(input: &mut Input<'_>) -> Self {
        let (zone, word, kind): (u8, u16, u8) = (input.take(), input.take(), input.take());
        let change = match kind % 10 {
            0 => Change::To(input.take()),
            1 => Change::To(0),
            2 => Change::To(u64::MAX),
            3 => Change::To(input.take::<u8>().into()),
            4 | 5 => Change::Flip(u32::from(kind / 10)),
            6 => Change::Add(input.take()),
            7 => Change::LowHalf(input.take()),
            8 => Change::HighHalf(input.take()),
            _ => Change::Copy(input.take()),
        };
        Self { zone, word, change }
    }

    /// Chooses one of the zones, and the word in it, by its offset.
    pub fn choose(&self, zones: &[Range<usize>]) -> usize {
        let zone = &zones[usize::from(self.zone) % zones.len()];
        zone.start + usize::from(self.word) % (zone.len() / 8) * 8
    }

    /// Changes the word at `offset`.
    pub fn apply(&self, memory: &SharedMemory<'_>, offset: usize) {
        let word = |offset| memory.atomic_u64(offset).unwrap();
        let old = u64::from_le(word(offset).load(Ordering::Relaxed));
        let new = match self.change {
            Change::To(value) => value,
            Change::Flip(bit) => old ^ 1_u64.rotate_left(bit),
            Change::Add(step) => old.wrapping_add_signed(step.into()),
            Change::LowHalf(half) => old >> 32 << 32 | u64::from(half),
            Change::HighHalf(half) => old & 0xffff_ffff | u64::from(half) << 32,
            Change::Copy(other) => {
                let other = usize::from(other) % (memory.len() / 8) * 8;
                u64::from_le(word(other).load(Ordering::Relaxed))
            }
        };
        word(offset).store(new.to_le(), Ordering::Relaxed);
    }
}

/// Returns where damage is of interest: words that decide as often as all others.
pub fn zones(layout: Layout) -> Vec<Range<usize>> {
    let mut zones = vec![0..layout.end(), 0..0x10];
    let few = 0..layout.slots.min(4);
    for from in few.clone() {
        zones.push(layout.slot(from));
        for to in few.clone().filter(|&to| to != from) {
            zones.push(layout.control(from, to));
            zones.push(layout.data(from, to));
        }
    }
    zones
}
