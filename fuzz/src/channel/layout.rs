// SPDX-License-Identifier: MIT OR Apache-2.0
//! Where everything is in a region, as `docs/layout.md` says: written down again, so that the driver's places are checked.

use std::ops::Range;

use ivshmem::channel::Region;

const SLOT_LEN: usize = 0x80;
const SLOTS_AT: usize = 0x80;
const CONTROL_LEN: usize = 0x180;

/// The words by which a region is formatted.
pub const MAGIC: Range<usize> = 0..8;
pub const GEOMETRY: Range<usize> = 8..16;

/// How a region is divided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    pub slots: u16,
    /// Bytes of a ring's data.
    data_len: usize,
}

impl Layout {
    pub fn of(region: &Region<'_>) -> Self {
        let (slots, data_len) = (region.slots(), region.ring_len());
        assert!((2..=256).contains(&slots) && data_len.is_power_of_two());
        Self { slots, data_len }
    }

    /// Returns the end of the last ring.
    pub fn end(&self) -> usize {
        let last = self.slots - 1;
        self.ring(last, last - 1).end
    }

    /// Returns where a slot is.
    pub fn slot(&self, slot: u16) -> Range<usize> {
        let start = SLOTS_AT + SLOT_LEN * usize::from(slot);
        start..start + SLOT_LEN
    }

    /// Returns what a member writes of its slot when it is polled.
    pub fn signs_of_life(&self, slot: u16) -> Range<usize> {
        let Range { start, .. } = self.slot(slot);
        start + 0x08..start + 0x58
    }

    /// Returns where the state of a slot is.
    pub fn state(&self, slot: u16) -> Range<usize> {
        let Range { start, .. } = self.slot(slot);
        start..start + 8
    }

    /// Returns where the ring from one slot to another is.
    pub fn ring(&self, from: u16, to: u16) -> Range<usize> {
        let (slots, from, to) = (usize::from(self.slots), usize::from(from), usize::from(to));
        let number = from * (slots - 1) + to - usize::from(to > from);
        let len = CONTROL_LEN + self.data_len;
        let start = SLOTS_AT + SLOT_LEN * slots + number * len;
        start..start + len
    }

    /// Returns the control block of a ring.
    pub fn control(&self, from: u16, to: u16) -> Range<usize> {
        let Range { start, .. } = self.ring(from, to);
        start..start + CONTROL_LEN
    }

    /// Returns where a ring's data are.
    pub fn data(&self, from: u16, to: u16) -> Range<usize> {
        let Range { start, end } = self.ring(from, to);
        start + CONTROL_LEN..end
    }

    /// Returns what the producer writes of a ring.
    pub fn producers(&self, from: u16, to: u16) -> [Range<usize>; 3] {
        let Range { start, .. } = self.ring(from, to);
        [
            start..start + 0x40,
            start + 0x80..start + 0x100,
            self.data(from, to),
        ]
    }

    /// Returns what the consumer writes of a ring.
    pub fn consumers(&self, from: u16, to: u16) -> [Range<usize>; 2] {
        let Range { start, .. } = self.ring(from, to);
        [start + 0x40..start + 0x80, start + 0x100..start + 0x180]
    }
}
