// SPDX-License-Identifier: MIT OR Apache-2.0
//! Checked access to the configuration space of every function: [`ConfigSpace`].
#![allow(unsafe_code)]

use pci_types::{ConfigRegionAccess, PciAddress};

/// Bytes of conventional configuration space, all that an ivshmem device has (QEMU makes it a conventional PCI function).
const LEN: u16 = 256;

/// The configuration space of a machine, over any [`ConfigRegionAccess`].
///
/// The unsafety of configuration accesses ends here: [`ConfigSpace::new`]
/// takes the promise that makes all else safe.
#[derive(Debug)]
pub struct ConfigSpace<C> {
    access: C,
}

impl<C: ConfigRegionAccess> ConfigSpace<C> {
    /// Wraps a configuration mechanism.
    ///
    /// # Safety
    ///
    /// - `access` must be valid for aligned 32-bit reads at offsets below 256 of the function addresses used, giving
    ///   all ones where there is no function, and for writes at functions that exist. Enumeration uses all
    ///   addresses of a bus; [`Function::at`](super::Function::at) and what is done with its result use that one only.
    /// - While a method of this value, of a [`Function`](super::Function) from it, or [`attach`](crate::attach())
    ///   runs, nobody else may use the configuration mechanism or the function concerned: sizing a
    ///   BAR turns the function's decoding off for a moment, so a function that a driver is using must not be sized.
    ///   From `attach` to `detach` a function counts as used by a driver.
    #[must_use]
    pub const unsafe fn new(access: C) -> Self {
        Self { access }
    }

    /// Reads the 32-bit word at byte `offset`; all ones if `offset` is not a word of the space.
    pub(super) fn read(&self, address: PciAddress, offset: u16) -> u32 {
        if offset >= LEN || offset % 4 != 0 {
            return !0;
        }
        // SAFETY: `new` was promised that reads of aligned words below 256 are valid at any address.
        unsafe { self.access.read(address, offset) }
    }

    /// Writes the 32-bit word at byte `offset`; dropped if `offset` is not a word of the space.
    pub(super) fn write(&self, address: PciAddress, offset: u16, value: u32) {
        if offset >= LEN || offset % 4 != 0 {
            return;
        }
        // SAFETY: `new` was promised that writes of aligned words below 256 are valid at functions that
        // exist, and only a `Function`, which was found to exist, gets here.
        unsafe { self.access.write(address, offset, value) }
    }
}
