// SPDX-License-Identifier: MIT OR Apache-2.0
//! Why a device could not be attached.

use core::fmt;

use pci_types::PciAddress;

use crate::interrupt::VectorError;
use crate::pci::ProbeError;
use crate::platform::PhysRegion;
use crate::registers::VectorIndex;

/// A device that could not be attached; `E` is the platform's error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AttachError<E> {
    /// Not an ivshmem device that makes sense.
    Probe {
        /// Where it is.
        address: PciAddress,
        /// What is wrong with it.
        error: ProbeError,
    },
    /// A BAR larger than the address space of this CPU.
    TooLarge {
        /// The BAR.
        region: PhysRegion,
    },
    /// The platform did not map a BAR.
    Map {
        /// The BAR.
        region: PhysRegion,
        /// What the platform says.
        error: E,
    },
    /// The platform gave no interrupt.
    Msi {
        /// The vector it was asked for.
        vector: VectorIndex,
        /// What the platform says.
        error: E,
    },
    /// The MSI-X table does not keep what is written to it: the device is gone.
    Vector(VectorError),
}

impl<E: fmt::Display> fmt::Display for AttachError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Probe { address, error } => write!(f, "{address}: {error}"),
            Self::TooLarge { region } => write!(
                f,
                "the bar at {:#x} of {:#x} bytes does not fit this cpu's address space",
                region.start, region.len
            ),
            Self::Map { region, error } => write!(
                f,
                "cannot map {:#x} bytes at {:#x}: {error}",
                region.len, region.start
            ),
            Self::Msi { vector, error } => {
                write!(f, "no interrupt for vector {vector}: {error}")
            }
            Self::Vector(error) => write!(f, "the msi-x table does not answer: {error}"),
        }
    }
}
