// SPDX-License-Identifier: MIT OR Apache-2.0
//! A client for QEMU's control protocol (QMP), as far as tests need it.

mod client;
mod pci;

pub use client::{Qmp, QmpError};
pub use pci::{BarKind, PciBar, PciDevice};
