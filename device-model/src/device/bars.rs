// SPDX-License-Identifier: MIT OR Apache-2.0
//! The device's BARs: [`Bar`].

/// A memory range of the device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Bar {
    /// BAR 0: the registers, 256 bytes.
    Registers,
    /// BAR 1: the MSI-X table and its pending bits.
    Msix,
    /// BAR 2, and 3 where it has 64 bits: the shared memory.
    Memory,
}

impl Bar {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Registers, Self::Msix, Self::Memory];

    /// Returns the number of the BAR.
    #[must_use]
    pub const fn index(self) -> usize {
        match self {
            Self::Registers => 0,
            Self::Msix => 1,
            Self::Memory => 2,
        }
    }
}
