// SPDX-License-Identifier: MIT OR Apache-2.0
//! MSI-X: the table of messages and the pending bits (PCI 3.0, 6.8.2), laid out as QEMU lays them out.

use alloc::vec;
use alloc::vec::Vec;

use crate::MsiMessage;

/// Bytes of a table entry.
const ENTRY_LEN: usize = 16;
const WORDS: usize = ENTRY_LEN / 4;
/// The word of an entry with the mask bit.
const VECTOR_CONTROL: usize = 3;
const MASKED: u32 = 1;
/// Where the pending bits are while the table leaves room.
const PENDING_OFFSET: u32 = 0x800;
/// The least size of the BAR.
const MIN_BAR_LEN: u32 = 0x1000;

/// Where the parts of MSI-X are in their BAR.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Layout {
    pub(crate) pending_offset: u32,
    pub(crate) bar_len: u32,
}

impl Layout {
    /// Returns the layout of 1 to 2048 vectors (QEMU 7.2): the pending bits at 0x800, or right behind a table that is
    /// larger; the BAR a power of two, at least 4 KiB.
    pub(crate) fn of(vectors: u16) -> Self {
        let table = u32::from(vectors) * ENTRY_LEN as u32;
        let pending_offset = table.max(PENDING_OFFSET);
        let end = pending_offset + pending_len(vectors) as u32;
        Self {
            pending_offset,
            bar_len: end.next_power_of_two().max(MIN_BAR_LEN),
        }
    }
}

/// Returns the size of the pending bits in bytes: whole 64-bit words.
const fn pending_len(vectors: u16) -> usize {
    8 * (vectors as usize).div_ceil(64)
}

/// What became of a vector by a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Update {
    pub(crate) vector: u16,
    /// The message that is to be sent now, because it was pending.
    pub(crate) deliver: Option<MsiMessage>,
    /// The message that the vector has from now on, `None` while it is masked.
    pub(crate) route: Option<MsiMessage>,
}

/// The table, the pending bits, and what they amount to.
#[derive(Clone, Debug)]
pub(crate) struct MsixTable {
    entries: Vec<[u32; WORDS]>,
    pending: Vec<u8>,
    /// The message of each vector that is not masked, by its own bit or for the whole function.
    routes: Vec<Option<MsiMessage>>,
    pending_offset: usize,
}

impl MsixTable {
    /// Creates the table of 1 to 2048 vectors as after a reset: masked, with messages of 0.
    pub(crate) fn new(vectors: u16) -> Self {
        Self {
            entries: vec![[0, 0, 0, MASKED]; vectors.into()],
            pending: vec![0; pending_len(vectors)],
            routes: vec![None; vectors.into()],
            pending_offset: Layout::of(vectors).pending_offset as usize,
        }
    }

    /// Reads the 32-bit word at `offset`, a multiple of 4, of the BAR; 0 between and behind the parts.
    pub(crate) fn read(&self, offset: usize) -> u32 {
        if let Some(entry) = self.entries.get(offset / ENTRY_LEN) {
            return entry[offset % ENTRY_LEN / 4];
        }
        let pending = offset.checked_sub(self.pending_offset);
        let bytes = pending.and_then(|start| self.pending.get(start..start + 4));
        bytes.map_or(0, |bytes| {
            u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])
        })
    }

    /// Writes the 32-bit word at `offset`, a multiple of 4. Pending bits are read only.
    pub(crate) fn write(&mut self, offset: usize, value: u32, live: bool) -> Option<Update> {
        let index = offset / ENTRY_LEN;
        self.entries.get_mut(index)?[offset % ENTRY_LEN / 4] = value;
        self.update(index as u16, live)
    }

    /// Brings a vector up to date with its entry and with whether MSI-X is `live`; nothing if neither its message
    /// nor whether it is masked has changed.
    pub(crate) fn update(&mut self, vector: u16, live: bool) -> Option<Update> {
        let index = usize::from(vector);
        let entry = self.entries.get(index)?;
        let message = MsiMessage {
            address: u64::from(entry[0]) | u64::from(entry[1]) << 32,
            data: entry[2],
        };
        let route = (live && entry[VECTOR_CONTROL] & MASKED == 0).then_some(message);
        let was = self.routes[index];
        if was == route {
            return None;
        }
        self.routes[index] = route;
        // Only unmasking delivers, as in QEMU; a new message for a vector that is live does not.
        let unmasked = was.is_none() && self.is_pending(vector);
        if unmasked {
            self.set_pending(vector, false);
        }
        Some(Update {
            vector,
            deliver: route.filter(|_| unmasked),
            route,
        })
    }

    /// Signals a vector: returns the message to be sent, or notes it as pending while it is masked.
    pub(crate) fn signal(&mut self, vector: u16) -> Option<MsiMessage> {
        let route = *self.routes.get(usize::from(vector))?;
        if route.is_none() {
            self.set_pending(vector, true);
        }
        route
    }

    /// Returns the message of a vector that is not masked.
    pub(crate) fn route(&self, vector: u16) -> Option<MsiMessage> {
        *self.routes.get(usize::from(vector))?
    }

    /// Clears and masks everything. [`MsixTable::update`] then tells of the routes that are gone.
    pub(crate) fn reset(&mut self) {
        self.entries.fill([0, 0, 0, MASKED]);
        self.pending.fill(0);
    }

    /// Returns how many bytes are saved of the table and pending bits of `vectors` vectors.
    pub(crate) const fn saved_len(vectors: u16) -> usize {
        vectors as usize * ENTRY_LEN + pending_len(vectors)
    }

    /// Returns the first vector behind the last of `vectors` that is pending in saved bytes.
    pub(crate) fn foreign_pending(vectors: u16, saved: &[u8]) -> Option<usize> {
        let pending = saved.get(usize::from(vectors) * ENTRY_LEN..)?;
        (usize::from(vectors)..8 * pending.len())
            .find(|vector| pending[vector / 8] & 1 << (vector % 8) != 0)
    }

    /// Returns the table and the pending bits, as they are in the BAR, one behind the other.
    pub(crate) fn save(&self) -> Vec<u8> {
        let words = self.entries.as_flattened().iter();
        let mut saved: Vec<u8> = words.flat_map(|word| word.to_le_bytes()).collect();
        saved.extend(&self.pending);
        saved
    }

    /// Takes over what was saved of a table of the same size. [`MsixTable::update`] then tells of the routes, and of
    /// what is pending and not masked.
    pub(crate) fn load(&mut self, saved: &[u8]) {
        let (table, pending) = saved.split_at(saved.len().min(self.entries.len() * ENTRY_LEN));
        let words = self.entries.as_flattened_mut().iter_mut();
        for (word, bytes) in words.zip(table.chunks_exact(4)) {
            *word = u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
        }
        for (byte, saved) in self.pending.iter_mut().zip(pending) {
            *byte = *saved;
        }
    }

    /// Returns the number of vectors.
    pub(crate) fn vectors(&self) -> u16 {
        self.entries.len() as u16
    }

    fn is_pending(&self, vector: u16) -> bool {
        let byte = self.pending.get(usize::from(vector / 8));
        byte.is_some_and(|byte| byte & 1 << (vector % 8) != 0)
    }

    fn set_pending(&mut self, vector: u16, pending: bool) {
        if let Some(byte) = self.pending.get_mut(usize::from(vector / 8)) {
            let bit = 1 << (vector % 8);
            *byte = if pending { *byte | bit } else { *byte & !bit };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_layout_is_qemus() {
        for (vectors, pending_offset, bar_len) in [
            (1, 0x800, 0x1000),
            (128, 0x800, 0x1000),
            (129, 0x810, 0x1000),
            (256, 0x1000, 0x2000),
            (1024, 0x4000, 0x8000),
            (2048, 0x8000, 0x10000),
        ] {
            let expected = Layout {
                pending_offset,
                bar_len,
            };
            assert_eq!(Layout::of(vectors), expected, "{vectors} vectors");
        }
    }

    #[test]
    fn a_masked_vector_is_pending_and_delivered_once_when_unmasked() {
        let mut table = MsixTable::new(2);
        for (offset, value) in [(0x10, 0xfee0_0000), (0x14, 1), (0x18, 0x41)] {
            assert_eq!(table.write(offset, value, true), None);
        }
        assert_eq!(table.signal(1), None);
        assert_eq!(table.signal(1), None);
        assert_eq!(table.read(0x800), 0b10);
        let message = Some(MsiMessage {
            address: 0x1_fee0_0000,
            data: 0x41,
        });
        let unmasked = Update {
            vector: 1,
            deliver: message,
            route: message,
        };
        assert_eq!(table.write(0x1c, 0, true), Some(unmasked));
        assert_eq!(table.read(0x800), 0);
        assert_eq!(table.signal(1), message);
        let masked = table.update(1, false);
        assert_eq!(masked.map(|update| update.route), Some(None));
        assert_eq!(table.signal(1), None, "masked for the whole function");
        let live = table.update(1, true).and_then(|update| update.deliver);
        assert_eq!(live, message);
        assert_eq!(table.signal(2), None, "no such vector");
    }

    #[test]
    fn pending_bits_are_read_only_and_gaps_read_zero() {
        let mut table = MsixTable::new(65);
        table.signal(64);
        for offset in (0..0x1000).step_by(4) {
            table.write(offset, !0, false);
        }
        assert_eq!(table.read(0x808), 1);
        assert_eq!(
            [0x410, 0x804, 0x80c, 0x810, 0xffc].map(|at| table.read(at)),
            [0; 5]
        );
        assert_eq!(table.read(0x40c), !0);
        table.reset();
        assert_eq!([0, 12, 0x808].map(|at| table.read(at)), [0, 1, 0]);
    }
}
