// SPDX-License-Identifier: MIT OR Apache-2.0
//! Where everything is in a region: [`Geometry`].
//!
//! All of it follows by arithmetic from one word, the geometry, which is written once, by one exchange. So
//! nobody can die in the middle of formatting a region, and nobody who was slow can spoil one that is in use.

use crate::channel::ring;

/// The first word of a formatted region: `IVSHMCH1`.
pub(crate) const MAGIC: u64 = u64::from_le_bytes(*b"IVSHMCH1");
/// The version of the layout.
pub(crate) const VERSION: u8 = 1;

/// Offset of the magic number.
pub(crate) const MAGIC_AT: usize = 0x00;
/// Offset of the geometry.
pub(crate) const GEOMETRY_AT: usize = 0x08;
/// Offset of the first slot.
pub(crate) const SLOTS_AT: usize = 0x80;
/// Bytes of a slot.
pub(crate) const SLOT_LEN: usize = 0x80;
/// The smallest region in bytes.
pub(crate) const MIN_LEN: usize = 0x1000;
/// A region that has nothing but zeros up to here is blank.
pub(crate) const BLANK_LEN: usize = SLOTS_AT + 0x1000;
/// Rings begin at multiples of this.
const ALIGN: usize = 0x80;

/// Fewest and most slots of a region.
pub const SLOTS: core::ops::RangeInclusive<u16> = 2..=256;
/// Smallest and largest ring, as powers of two of bytes.
const RING_LOG2: core::ops::RangeInclusive<u32> = 8..=29;
/// The largest ring that is chosen where nothing is asked for: beyond, rings fall out of the caches.
const DEFAULT_RING_LOG2: u32 = 22;

/// How a region is divided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Geometry {
    pub(crate) size_log2: u32,
    pub(crate) ring_log2: u32,
    pub(crate) slots: u16,
    /// Not 0. Another one each time that a region is formatted anew, so that slots of before are no members.
    pub(crate) epoch: u16,
}

/// The geometry's word, as found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    Geometry(Geometry),
    Version(u8),
    Nonsense,
}

impl Geometry {
    /// Divides `len` bytes among `slots`, with the largest rings up to `ring_log2` that fit.
    pub(crate) fn divide(
        len: usize,
        slots: u16,
        ring_log2: Option<u32>,
        epoch: u16,
    ) -> Option<Self> {
        if !len.is_power_of_two() || !SLOTS.contains(&slots) {
            return None;
        }
        let least = ring_log2.unwrap_or(*RING_LOG2.start());
        let largest = ring_log2.unwrap_or(DEFAULT_RING_LOG2);
        if !RING_LOG2.contains(&least) {
            return None;
        }
        (least..=largest).rev().find_map(|ring_log2| {
            let geometry = Self {
                size_log2: len.trailing_zeros(),
                ring_log2,
                slots,
                epoch,
            };
            geometry.fits().then_some(geometry)
        })
    }

    /// Returns the word: version in bits 0 to 7, logarithms of the region's and of a ring's size in bits 8 to 15 and 16
    /// to 23, slots less 1 in bits 24 to 31, epoch in bits 48 to 63.
    pub(crate) const fn word(self) -> u64 {
        VERSION as u64
            | (self.size_log2 as u64) << 8
            | (self.ring_log2 as u64) << 16
            | (self.slots as u64 - 1) << 24
            | (self.epoch as u64) << 48
    }

    /// Reads the word.
    pub(crate) fn from_word(word: u64) -> Found {
        let [version, size_log2, ring_log2, slots, ..] = word.to_le_bytes();
        if version != VERSION && version != 0 {
            return Found::Version(version);
        }
        let geometry = Self {
            size_log2: size_log2.into(),
            ring_log2: ring_log2.into(),
            slots: u16::from(slots) + 1,
            epoch: (word >> 48) as u16,
        };
        let sound = geometry.word() == word
            && geometry.epoch != 0
            && geometry.size_log2 < usize::BITS - 1
            && SLOTS.contains(&geometry.slots)
            && RING_LOG2.contains(&geometry.ring_log2)
            && geometry.fits();
        if sound {
            Found::Geometry(geometry)
        } else {
            Found::Nonsense
        }
    }

    /// Returns the size of the region in bytes.
    pub(crate) const fn size(self) -> usize {
        1 << self.size_log2
    }

    fn fits(self) -> bool {
        let rings = usize::from(self.slots) * (usize::from(self.slots) - 1);
        rings
            .checked_mul(self.ring_len())
            .and_then(|len| len.checked_add(self.rings_at()))
            .is_some_and(|end| end <= self.size())
    }

    /// Returns the offset of a slot.
    pub(crate) const fn slot(self, slot: u16) -> usize {
        SLOTS_AT + SLOT_LEN * slot as usize
    }

    /// Returns the end of the slots, which is where the rings begin.
    pub(crate) const fn rings_at(self) -> usize {
        self.slot(self.slots)
    }

    /// Returns the bytes of a ring with its control block.
    pub(crate) const fn ring_len(self) -> usize {
        let len = ring::CONTROL_LEN + (1 << self.ring_log2);
        len.div_ceil(ALIGN) * ALIGN
    }

    /// Returns the offset of the ring from one slot to another.
    pub(crate) const fn ring(self, from: u16, to: u16) -> usize {
        let row = from as usize * (self.slots as usize - 1);
        let column = to as usize - if to > from { 1 } else { 0 };
        self.rings_at() + (row + column) * self.ring_len()
    }
}
