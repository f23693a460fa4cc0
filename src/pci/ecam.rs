// SPDX-License-Identifier: MIT OR Apache-2.0
//! The enhanced configuration access mechanism: configuration space as memory.
//!
//! Source: PCI Express Base Specification 3.0, section 7.2.2. Where it is stands in the
//! ACPI table MCFG (PCI Firmware Specification 3.0, section 4.1.2).
#![allow(unsafe_code)]

use core::ops::RangeInclusive;
use core::ptr::NonNull;

use pci_types::{ConfigRegionAccess, PciAddress};

/// Bytes of one bus: 32 devices of 8 functions.
const BUS_LEN: u64 = 1 << 20;
/// Bytes of one function.
const FUNCTION_LEN: u16 = 4096;

/// Access through a mapping of the configuration space of some buses of one segment.
///
/// Anything else reads all ones, and what is written there is dropped. A machine with
/// several segments has a value for each.
#[derive(Debug)]
pub struct Ecam {
    /// Invariant: `mapping_len(buses)` bytes from here are mapped uncached for as long as the value lives.
    base: NonNull<u8>,
    segment: u16,
    first_bus: u8,
    last_bus: u8,
}

// SAFETY: the mapping belongs to no thread.
unsafe impl Send for Ecam {}
// SAFETY: `&Ecam` permits aligned 32-bit volatile accesses, each of which is one bus transaction; there
// is no state between two of them.
unsafe impl Sync for Ecam {}

impl Ecam {
    /// Returns the length in bytes of the region that [`Ecam::new`] wants mapped: 1 MiB for each bus.
    #[must_use]
    pub const fn mapping_len(buses: &RangeInclusive<u8>) -> u64 {
        // Cannot wrap: the inner difference is at most 255.
        (buses.end().saturating_sub(*buses.start()) as u64 + 1) * BUS_LEN
    }

    /// Returns the access to `buses` of `segment`, whose configuration space is mapped at `base`.
    ///
    /// The base address in an MCFG entry is that of bus 0, also where the entry's first bus
    /// is another one: the region to map starts at that address plus 1 MiB times the first bus.
    ///
    /// # Safety
    ///
    /// - For as long as the value lives, [`Ecam::mapping_len`] bytes from `base` must be mapped, uncached, to the
    ///   configuration space of `buses`, from the first function of the first bus on.
    /// - `base` must be aligned to 4 bytes.
    #[must_use]
    pub const unsafe fn new(base: NonNull<u8>, segment: u16, buses: RangeInclusive<u8>) -> Self {
        Self {
            base,
            segment,
            first_bus: *buses.start(),
            last_bus: *buses.end(),
        }
    }

    /// Returns where the word at `offset` of `address` is mapped, if it is.
    fn place(&self, address: PciAddress, offset: u16) -> Option<*mut u32> {
        if address.segment() != self.segment || address.bus() > self.last_bus {
            return None;
        }
        if offset >= FUNCTION_LEN {
            return None;
        }
        let bus = address.bus().checked_sub(self.first_bus)?;
        let place = usize::from(bus) << 20
            | usize::from(address.device() & 0x1f) << 15
            | usize::from(address.function() & 0x7) << 12
            | usize::from(offset & 0xffc);
        Some(self.base.as_ptr().wrapping_add(place).cast())
    }
}

impl ConfigRegionAccess for Ecam {
    unsafe fn read(&self, address: PciAddress, offset: u16) -> u32 {
        match self.place(address, offset) {
            // SAFETY: 1. `place` gives an aligned word inside the region that `new` was promised;
            // 2. the caller declares the word valid to read.
            Some(word) => u32::from_le(unsafe { word.read_volatile() }),
            None => !0,
        }
    }

    unsafe fn write(&self, address: PciAddress, offset: u16, value: u32) {
        if let Some(word) = self.place(address, offset) {
            // SAFETY: 1. `place` gives an aligned word inside the region that `new` was promised;
            // 2. the caller declares the word valid to write.
            unsafe { word.write_volatile(value.to_le()) }
        }
    }
}
