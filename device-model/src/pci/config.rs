// SPDX-License-Identifier: MIT OR Apache-2.0
//! Configuration space: 256 bytes, of which a guest may change some (PCI 3.0, 6.1 and 6.2).
//!
//! What can be written where is QEMU's choice in places that PCI leaves open (measured on 7.2): the bytes behind the
//! header that belong to no capability are plain storage, and survive a reset.

use core::ops::Range;

/// The size of configuration space in bytes.
pub(crate) const CONFIG_LEN: usize = 256;

const VENDOR_ID: usize = 0x00;
const COMMAND: usize = 0x04;
const STATUS: usize = 0x06;
const REVISION: usize = 0x08;
const CLASS: usize = 0x09;
const CACHE_LINE_SIZE: usize = 0x0c;
const BARS: usize = 0x10;
const SUBSYSTEM: usize = 0x2c;
const CAPABILITIES: usize = 0x34;
const INTERRUPT_LINE: usize = 0x3c;
const INTERRUPT_PIN: usize = 0x3d;
const HEADER_LEN: usize = 0x40;

/// Command bits (PCI 3.0, 6.2.2).
const IO: u16 = 1 << 0;
const MEMORY: u16 = 1 << 1;
const BUS_MASTER: u16 = 1 << 2;
const SERR: u16 = 1 << 8;
const INTX_DISABLE: u16 = 1 << 10;
/// Status bits (PCI 3.0, 6.2.3).
const INTERRUPT_STATUS: u16 = 1 << 3;
const CAPABILITY_LIST: u16 = 1 << 4;

/// MSI-X capability (PCI 3.0, 6.8.2).
const MSIX_ID: u8 = 0x11;
const MSIX_CAPABILITY_LEN: usize = 12;
const MSIX_ENABLE: u16 = 1 << 15;
const MSIX_FUNCTION_MASK: u16 = 1 << 14;

/// What a function says it is.
#[derive(Debug)]
pub(crate) struct Identity {
    pub(crate) vendor: u16,
    pub(crate) device: u16,
    pub(crate) subsystem_vendor: u16,
    pub(crate) subsystem: u16,
    pub(crate) revision: u8,
    /// Base class, sub-class and programming interface, as in `0x050000`.
    pub(crate) class: u32,
    /// 1 for INTA, 0 for none.
    pub(crate) interrupt_pin: u8,
}

/// The kinds of memory BAR that the device has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BarKind {
    Memory32,
    Prefetchable32,
    Prefetchable64,
}

impl BarKind {
    const fn flags(self) -> u32 {
        match self {
            Self::Memory32 => 0x0,
            Self::Prefetchable32 => 0x8,
            Self::Prefetchable64 => 0xc,
        }
    }
}

#[derive(Clone, Copy, Debug)]
struct BarDecode {
    kind: BarKind,
    size: u64,
}

/// The configuration space of one function.
#[derive(Clone, Debug)]
pub(crate) struct ConfigSpace {
    bytes: [u8; CONFIG_LEN],
    /// Bits that a write changes.
    writable: [u8; CONFIG_LEN],
    bars: [Option<BarDecode>; 6],
    msix: Option<usize>,
}

impl ConfigSpace {
    /// Creates the space of a function that was just plugged in: decoding, with all BARs at 0 (QEMU's ivshmem
    /// starts so; a reset of the machine clears Command).
    pub(crate) fn new(identity: &Identity) -> Self {
        let mut space = Self {
            bytes: [0; CONFIG_LEN],
            writable: [0; CONFIG_LEN],
            bars: [None; 6],
            msix: None,
        };
        space.put16(VENDOR_ID, identity.vendor);
        space.put16(VENDOR_ID + 2, identity.device);
        space.put16(COMMAND, IO | MEMORY);
        space.bytes[REVISION] = identity.revision;
        let class = identity.class.to_le_bytes();
        space.bytes[CLASS..CLASS + 3].copy_from_slice(&class[..3]);
        space.put16(SUBSYSTEM, identity.subsystem_vendor);
        space.put16(SUBSYSTEM + 2, identity.subsystem);
        space.bytes[INTERRUPT_PIN] = identity.interrupt_pin;

        let command = IO | MEMORY | BUS_MASTER | SERR | INTX_DISABLE;
        space.writable[COMMAND..COMMAND + 2].copy_from_slice(&command.to_le_bytes());
        space.writable[CACHE_LINE_SIZE] = 0xff;
        space.writable[INTERRUPT_LINE] = 0xff;
        space.writable[HEADER_LEN..].fill(0xff);
        space
    }

    /// Gives BAR `index` (0 to 5, 0 to 4 for 64 bits) a size, which is a power of two of at least 16.
    pub(crate) fn set_bar(&mut self, index: usize, kind: BarKind, size: u64) {
        let offset = BARS + 4 * index;
        self.put32(offset, kind.flags());
        let mask = !(size - 1);
        self.writable[offset..offset + 4].copy_from_slice(&(mask as u32 & !0xf).to_le_bytes());
        if kind == BarKind::Prefetchable64 {
            let high = ((mask >> 32) as u32).to_le_bytes();
            self.writable[offset + 4..offset + 8].copy_from_slice(&high);
        }
        self.bars[index] = Some(BarDecode { kind, size });
    }

    /// Adds an MSI-X capability at 0x40 whose table and pending bits are in BAR `bar`.
    pub(crate) fn add_msix(&mut self, vectors: u16, bar: u8, pending_offset: u32) {
        let at = HEADER_LEN;
        self.bytes[CAPABILITIES] = at as u8;
        self.put16(STATUS, CAPABILITY_LIST);
        self.writable[at..at + MSIX_CAPABILITY_LEN].fill(0);
        self.bytes[at] = MSIX_ID;
        self.put16(at + 2, vectors - 1);
        self.put32(at + 4, bar.into());
        self.put32(at + 8, pending_offset | u32::from(bar));
        let control = MSIX_ENABLE | MSIX_FUNCTION_MASK;
        self.writable[at + 2..at + 4].copy_from_slice(&control.to_le_bytes());
        self.msix = Some(at);
    }

    /// Reads from `offset`; bytes behind the space are all ones.
    pub(crate) fn read(&self, offset: u16, bytes: &mut [u8]) {
        for (index, byte) in bytes.iter_mut().enumerate() {
            let at = usize::from(offset) + index;
            *byte = self.bytes.get(at).copied().unwrap_or(0xff);
        }
    }

    /// Writes what may be written. No bit of Status is ever set that a write of 1 would clear.
    pub(crate) fn write(&mut self, offset: u16, bytes: &[u8]) {
        let start = usize::from(offset).min(CONFIG_LEN);
        let cells = self.bytes[start..].iter_mut().zip(&self.writable[start..]);
        for ((cell, mask), byte) in cells.zip(bytes) {
            *cell = *cell & !mask | byte & mask;
        }
    }

    /// Returns all of it, as a guest reads it.
    pub(crate) const fn bytes(&self) -> &[u8; CONFIG_LEN] {
        &self.bytes
    }

    /// Returns this space with what a guest can write taken from `saved`. The Interrupt Status bit stays, as it
    /// follows from other state.
    ///
    /// # Errors
    ///
    /// - The first offset at which `saved` is that of a function with another identity, BARs or capabilities.
    pub(crate) fn restored(&self, saved: &[u8; CONFIG_LEN]) -> Result<Self, usize> {
        let mut restored = self.clone();
        restored.write(0, saved);
        restored.set_interrupt_status(false);
        let mut expected = *saved;
        expected[STATUS] &= !(INTERRUPT_STATUS as u8);
        let differs = |(ours, theirs)| ours != theirs;
        match restored.bytes.iter().zip(&expected).position(differs) {
            Some(offset) => Err(offset),
            None => Ok(restored),
        }
    }

    /// Brings Command, the BARs and MSI-X control back to what they are after a reset (PCI 3.0, 4.3.1).
    pub(crate) fn reset(&mut self) {
        self.write(COMMAND as u16, &[0; 2]);
        self.write(CACHE_LINE_SIZE as u16, &[0]);
        self.write(BARS as u16, &[0; 24]);
        self.write(INTERRUPT_LINE as u16, &[0]);
        if let Some(at) = self.msix {
            self.write(at as u16 + 2, &[0; 2]);
        }
        self.set_interrupt_status(false);
    }

    /// Returns whether messages of the function reach memory.
    pub(crate) fn is_bus_master(&self) -> bool {
        self.get16(COMMAND) & BUS_MASTER != 0
    }

    /// Returns whether the function may not assert its line.
    pub(crate) fn is_intx_disabled(&self) -> bool {
        self.get16(COMMAND) & INTX_DISABLE != 0
    }

    /// Returns whether MSI-X is on, and not masked as a whole.
    pub(crate) fn is_msix_live(&self) -> bool {
        self.msix_control() & (MSIX_ENABLE | MSIX_FUNCTION_MASK) == MSIX_ENABLE
    }

    /// Returns whether MSI-X is on.
    pub(crate) fn is_msix_enabled(&self) -> bool {
        self.msix_control() & MSIX_ENABLE != 0
    }

    fn msix_control(&self) -> u16 {
        self.msix.map_or(0, |at| self.get16(at + 2))
    }

    /// Sets the Interrupt Status bit, which does not depend on whether the line is disabled.
    pub(crate) fn set_interrupt_status(&mut self, asserted: bool) {
        let others = self.get16(STATUS) & !INTERRUPT_STATUS;
        let bit = if asserted { INTERRUPT_STATUS } else { 0 };
        self.put16(STATUS, others | bit);
    }

    /// Returns the bus addresses that BAR `index` claims now: none while decoding is off, and none for a BAR at 0 or
    /// across the end of its address space, which QEMU does not map.
    pub(crate) fn bar_range(&self, index: usize) -> Option<Range<u64>> {
        let BarDecode { kind, size } = (*self.bars.get(index)?)?;
        if self.get16(COMMAND) & MEMORY == 0 {
            return None;
        }
        let offset = BARS + 4 * index;
        let low = u64::from(self.get32(offset) & !0xf);
        let (start, limit) = match kind {
            BarKind::Prefetchable64 => (low | u64::from(self.get32(offset + 4)) << 32, u64::MAX),
            BarKind::Memory32 | BarKind::Prefetchable32 => (low, u64::from(u32::MAX)),
        };
        let last = start.checked_add(size - 1)?;
        (start != 0 && last < limit).then(|| start..last + 1)
    }

    /// Returns the size of BAR `index`.
    pub(crate) fn bar_size(&self, index: usize) -> Option<u64> {
        self.bars.get(index)?.map(|bar| bar.size)
    }

    fn get16(&self, offset: usize) -> u16 {
        u16::from_le_bytes([self.bytes[offset], self.bytes[offset + 1]])
    }

    fn get32(&self, offset: usize) -> u32 {
        u32::from(self.get16(offset)) | u32::from(self.get16(offset + 2)) << 16
    }

    fn put16(&mut self, offset: usize, value: u16) {
        self.bytes[offset..offset + 2].copy_from_slice(&value.to_le_bytes());
    }

    fn put32(&mut self, offset: usize, value: u32) {
        self.bytes[offset..offset + 4].copy_from_slice(&value.to_le_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn space() -> ConfigSpace {
        let mut space = ConfigSpace::new(&Identity {
            vendor: 0x1af4,
            device: 0x1110,
            subsystem_vendor: 0x1af4,
            subsystem: 0x1100,
            revision: 1,
            class: 0x05_0000,
            interrupt_pin: 0,
        });
        space.set_bar(0, BarKind::Memory32, 256);
        space.set_bar(2, BarKind::Prefetchable64, 1 << 33);
        space
    }

    fn dword(space: &ConfigSpace, offset: u16) -> u32 {
        let mut bytes = [0; 4];
        space.read(offset, &mut bytes);
        u32::from_le_bytes(bytes)
    }

    #[test]
    fn the_header_reads_as_qemu_shows_it() {
        let space = space();
        assert_eq!(dword(&space, 0x00), 0x1110_1af4);
        assert_eq!(dword(&space, 0x04), 0x0000_0003);
        assert_eq!(dword(&space, 0x08), 0x0500_0001);
        assert_eq!(dword(&space, 0x2c), 0x1100_1af4);
        assert_eq!(dword(&space, 0x34), 0);
        assert_eq!(dword(&space, 0xfe) >> 16, 0xffff, "behind the space");
    }

    #[test]
    fn a_bar_takes_only_the_bits_above_its_size() {
        let mut space = space();
        for offset in [0x10, 0x18, 0x1c, 0x28, 0x30] {
            space.write(offset, &[0xff; 4]);
        }
        let sizing = [0x10, 0x18, 0x1c, 0x28, 0x30].map(|offset| dword(&space, offset));
        assert_eq!(sizing, [0xffff_ff00, 0x0000_000c, 0xffff_fffe, 0, 0]);
        space.write(0x10, &0xfeb0_0000_u32.to_le_bytes());
        assert_eq!(space.bar_range(0), Some(0xfeb0_0000..0xfeb0_0100));
        assert_eq!(space.bar_range(2), None, "across the end of the space");
        space.write(0x1c, &4_u32.to_le_bytes());
        assert_eq!(space.bar_range(2), Some(4 << 32..6 << 32));
        space.write(0x04, &[0, 0]);
        assert_eq!((space.bar_range(0), space.bar_range(2)), (None, None));
    }

    #[test]
    fn a_reset_keeps_what_is_no_state() {
        let mut space = space();
        space.add_msix(4, 1, 0x800);
        for offset in (0..CONFIG_LEN as u16).step_by(4) {
            space.write(offset, &[0xff; 4]);
        }
        assert_eq!(dword(&space, 0x04), 0x0010_0507);
        assert_eq!(dword(&space, 0x40), 0xc003_0011);
        assert!(space.is_bus_master() && space.is_msix_enabled() && !space.is_msix_live());
        space.reset();
        assert_eq!(dword(&space, 0x04), 0x0010_0000);
        assert_eq!(dword(&space, 0x10), 0);
        assert_eq!(dword(&space, 0x40), 0x0003_0011);
        assert_eq!(dword(&space, 0x3c), 0);
        assert_eq!(dword(&space, 0x4c), !0, "storage");
    }
}
