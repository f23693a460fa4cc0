// SPDX-License-Identifier: MIT OR Apache-2.0
//! The MSI-X capability: where table and pending bits are, and the function-wide switches.
//!
//! Source: PCI Local Bus Specification 3.0, section 6.8.2.

use core::fmt;

use pci_types::ConfigRegionAccess;

use super::{CapabilityError, Function};

const ID: u8 = 0x11;
/// Message Control bits, as they stand in the capability's first word.
const ENABLE: u32 = 1 << 31;
const FUNCTION_MASK: u32 = 1 << 30;
const SIZE_MASK: u32 = 0x7ff;
const BIR_MASK: u32 = 0x7;

/// Where one of the two MSI-X structures is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TablePlace {
    /// Number of the BAR (BIR), 0 to 7; 6 and 7 are reserved.
    pub bar: u8,
    /// Offset in that BAR in bytes, a multiple of 8.
    pub offset: u32,
}

/// The MSI-X capability of a function. Not yet checked against its BARs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MsixCapability {
    /// Offset of the capability in configuration space.
    pub offset: u8,
    /// Number of vectors, 1 to 2048.
    pub vectors: u16,
    /// The table, 16 bytes per vector.
    pub table: TablePlace,
    /// The pending bit array, one bit per vector, in words of 8 bytes.
    pub pending: TablePlace,
}

impl MsixCapability {
    /// Returns the length of the table in bytes.
    #[must_use]
    pub const fn table_len(&self) -> u64 {
        self.vectors as u64 * 16
    }

    /// Returns the length of the pending bit array in bytes.
    #[must_use]
    pub const fn pending_len(&self) -> u64 {
        (self.vectors as u64).div_ceil(64) * 8
    }
}

/// The function-wide state of MSI-X while it is enabled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MsixState {
    /// Every vector is held as if masked (Function Mask).
    Masked,
    /// Each vector's own mask decides.
    Live,
}

impl<C: ConfigRegionAccess> Function<'_, C> {
    /// Returns the MSI-X capability, if the function has one.
    ///
    /// # Errors
    ///
    /// - [`CapabilityError`]: the capability list makes no sense before one was found.
    pub fn msix(&self) -> Result<Option<MsixCapability>, CapabilityError> {
        for capability in self.capabilities() {
            let capability = capability?;
            // The structure has 12 bytes; one that starts behind 0xf4 has no room for them.
            if capability.id != ID || capability.offset > 0xf4 {
                continue;
            }
            let at = u16::from(capability.offset);
            return Ok(Some(MsixCapability {
                offset: capability.offset,
                vectors: (self.read(at) >> 16 & SIZE_MASK) as u16 + 1,
                table: place(self.read(at + 4)),
                pending: place(self.read(at + 8)),
            }));
        }
        Ok(None)
    }

    /// Returns the word that holds Message Control, for [`Function::restore_msix`].
    pub(crate) fn save_msix(&self, capability: &MsixCapability) -> u32 {
        self.read(u16::from(capability.offset))
    }

    /// Writes back what [`Function::save_msix`] returned.
    pub(crate) fn restore_msix(&self, capability: &MsixCapability, saved: u32) {
        self.write(u16::from(capability.offset), saved);
    }

    /// Enables MSI-X in this state.
    pub(crate) fn enable_msix(&self, capability: &MsixCapability, state: MsixState) {
        let control = self.save_msix(capability) | ENABLE;
        let control = match state {
            MsixState::Masked => control | FUNCTION_MASK,
            MsixState::Live => control & !FUNCTION_MASK,
        };
        self.restore_msix(capability, control);
    }
}

const fn place(word: u32) -> TablePlace {
    TablePlace {
        bar: (word & BIR_MASK) as u8,
        offset: word & !BIR_MASK,
    }
}

/// An MSI-X structure that does not lie where it must.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum MsixError {
    /// The BIR is 6 or 7, or names a register that is no memory BAR.
    NoSuchBar {
        /// The BIR.
        bar: u8,
    },
    /// The structure reaches beyond its BAR.
    OutsideBar {
        /// Where it starts.
        place: TablePlace,
        /// Its length in bytes.
        len: u64,
        /// The size of the BAR in bytes.
        bar_size: u64,
    },
    /// The structure lies over the device's own registers.
    OverRegisters {
        /// Where it starts.
        place: TablePlace,
    },
    /// The structure lies in the BAR of the shared memory, where peers could rewrite it.
    InSharedMemory {
        /// The BIR.
        bar: u8,
    },
}

impl fmt::Display for MsixError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::NoSuchBar { bar } => {
                write!(f, "an msi-x structure is said to be in bar {bar}, which is no memory bar")
            }
            Self::OutsideBar {
                place,
                len,
                bar_size,
            } => write!(
                f,
                "an msi-x structure of {len} bytes at {:#x} reaches beyond bar {} of {bar_size} bytes",
                place.offset, place.bar
            ),
            Self::OverRegisters { place } => write!(
                f,
                "an msi-x structure is said to be at {:#x} of bar {}, over the registers",
                place.offset, place.bar
            ),
            Self::InSharedMemory { bar } => write!(
                f,
                "an msi-x structure is said to be in bar {bar}, the shared memory"
            ),
        }
    }
}
