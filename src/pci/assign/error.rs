// SPDX-License-Identifier: MIT OR Apache-2.0
//! What can keep a BAR or a bridge from getting an address.

use core::fmt;

use pci_types::PciAddress;

use crate::pci::{BarError, BarKind};

/// A function that did not get what it needs. Those before and after it did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AssignError {
    /// A function has an address already, so firmware or a driver is responsible. Nothing was changed.
    AlreadyAssigned {
        /// Where the function is.
        address: PciAddress,
    },
    /// A BAR does not fit what is left of its window. It has address 0, and the function does not decode.
    NoSpace {
        /// Where the function is.
        address: PciAddress,
        /// Number of the BAR.
        bar: u8,
        /// What it decodes.
        kind: BarKind,
        /// Its size in bytes.
        size: u64,
    },
    /// A BAR makes no sense. The function does not decode.
    Bar {
        /// Where the function is.
        address: PciAddress,
        /// What is wrong.
        error: BarError,
    },
    /// No bus number is left for what is behind a bridge.
    NoBus {
        /// Where the bridge is.
        address: PciAddress,
    },
    /// A bridge does not keep the bus numbers written to it.
    BrokenBridge {
        /// Where the bridge is.
        address: PciAddress,
    },
    /// [`assign_behind`](super::assign_behind) was asked for a function that leads to no numbered bus.
    NotABridge {
        /// Where the function is.
        address: PciAddress,
    },
}

impl fmt::Display for AssignError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::AlreadyAssigned { address } => {
                write!(
                    f,
                    "{address} has an address already; nothing was reassigned"
                )
            }
            Self::NoSpace {
                address,
                bar,
                kind,
                size,
            } => {
                let kind = match kind {
                    BarKind::Io => "i/o",
                    BarKind::Memory32 => "32-bit memory",
                    BarKind::Memory64 => "64-bit memory",
                };
                write!(
                    f,
                    "no space is left for bar {bar} of {address}, {size:#x} bytes of {kind}"
                )
            }
            Self::Bar { address, error } => write!(f, "{address}: {error}"),
            Self::NoBus { address } => {
                write!(
                    f,
                    "no bus number is left for what is behind the bridge at {address}"
                )
            }
            Self::BrokenBridge { address } => {
                write!(
                    f,
                    "the bridge at {address} does not keep its bus numbers and was left out"
                )
            }
            Self::NotABridge { address } => {
                write!(f, "{address} is no bridge to a numbered bus")
            }
        }
    }
}
