// SPDX-License-Identifier: MIT OR Apache-2.0
//! PCI configuration space: find functions, size their BARs, walk capabilities, and [`probe`] for ivshmem.
//!
//! Nothing but [`probe`] knows what an ivshmem device is. A kernel that
//! enumerates PCI and maps BARs itself does not need this module: it builds
//! the device from [`crate::Parts`].
//!
//! - [`ConfigSpace`] wraps any [`pci_types::ConfigRegionAccess`]; `PortCam` is the one for port 0xcf8 on x86,
//!   [`Ecam`] the one for memory.
//! - [`ConfigSpace::functions`] goes over bus 0 and everything behind bridges,
//!   [`ConfigSpace::functions_from`] over other segments and roots.
//! - [`Function`] is one function: IDs, command, BARs, capabilities.
//! - [`assign`](assign()) and [`assign_behind`] give addresses where firmware has given none.
//!
//! What is read here may come from a broken or vanished device: every walk
//! is bounded, every number is checked, and nothing panics.

mod assign;
mod bar;
#[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
mod cam;
mod capability;
mod config;
mod ecam;
mod enumerate;
mod function;
mod msix;
mod probe;

pub use assign::{assign, assign_behind, AssignError, Buses, Window, Windows};
pub use bar::{Bar, BarError, BarKind, Bars};
#[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
pub use cam::PortCam;
pub use capability::{Capabilities, Capability, CapabilityError};
pub use config::ConfigSpace;
pub use ecam::Ecam;
pub use enumerate::{EnumerateError, Functions};
pub use function::{Function, HeaderKind};
pub(crate) use msix::MsixState;
pub use msix::{MsixCapability, MsixError, TablePlace};
pub use pci_types::{CommandRegister, ConfigRegionAccess, PciAddress};
pub use probe::{
    find, is_ivshmem, probe, MsixResources, ProbeError, Resources, DEVICE_ID, VENDOR_ID,
};
