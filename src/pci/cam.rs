// SPDX-License-Identifier: MIT OR Apache-2.0
//! Configuration mechanism 1 of x86: ports 0xcf8 and 0xcfc.
//!
//! Source: PCI Local Bus Specification 3.0, section 3.2.2.3.2.
#![allow(unsafe_code)]

use core::arch::asm;
use core::cell::Cell;
use core::marker::PhantomData;

use pci_types::{ConfigRegionAccess, PciAddress};

const CONFIG_ADDRESS: u16 = 0xcf8;
const CONFIG_DATA: u16 = 0xcfc;
/// Bit 31 of CONFIG_ADDRESS: translate accesses to CONFIG_DATA into configuration cycles.
const ENABLE: u32 = 1 << 31;

/// Access through ports 0xcf8 (address) and 0xcfc (data).
///
/// Reaches segment 0 and the first 256 bytes of each function; reads elsewhere give all ones.
/// An access takes two port operations, so the value is neither `Sync` nor free to make: a kernel
/// with several CPUs puts it behind its own lock, of the kind that is right there.
#[derive(Debug)]
pub struct PortCam {
    /// Makes the type `!Sync`.
    not_sync: PhantomData<Cell<()>>,
}

impl PortCam {
    /// Returns the access to the machine's ports.
    ///
    /// # Safety
    ///
    /// The caller must run with the right to use I/O ports (ring 0 or IOPL), and nobody else may use
    /// ports 0xcf8 and 0xcfc while a method of the value runs.
    #[must_use]
    pub const unsafe fn new() -> Self {
        Self {
            not_sync: PhantomData,
        }
    }

    /// Selects the word at `offset` of `address`; `false` if this mechanism does not reach it.
    fn select(address: PciAddress, offset: u16) -> bool {
        if address.segment() != 0 || offset > 0xff {
            return false;
        }
        let selector = ENABLE
            | u32::from(address.bus()) << 16
            | u32::from(address.device()) << 11
            | u32::from(address.function()) << 8
            | u32::from(offset & 0xfc);
        // SAFETY: writing CONFIG_ADDRESS only selects a word; `new` was promised the right to do so alone.
        unsafe {
            asm!("out dx, eax", in("dx") CONFIG_ADDRESS, in("eax") selector,
                options(nomem, nostack, preserves_flags));
        }
        true
    }
}

impl ConfigRegionAccess for PortCam {
    unsafe fn read(&self, address: PciAddress, offset: u16) -> u32 {
        if !Self::select(address, offset) {
            return !0;
        }
        let value: u32;
        // SAFETY: reading CONFIG_DATA reads the selected word, which the caller declares valid.
        unsafe {
            asm!("in eax, dx", in("dx") CONFIG_DATA, out("eax") value,
                options(nomem, nostack, preserves_flags));
        }
        value
    }

    unsafe fn write(&self, address: PciAddress, offset: u16, value: u32) {
        if !Self::select(address, offset) {
            return;
        }
        // SAFETY: writing CONFIG_DATA writes the selected word, which the caller declares valid. It may
        // change what memory the device decodes, so the block is not `nomem`.
        unsafe {
            asm!("out dx, eax", in("dx") CONFIG_DATA, in("eax") value,
                options(nostack, preserves_flags));
        }
    }
}
