// SPDX-License-Identifier: MIT OR Apache-2.0
//! A conventional PCI function: configuration space and MSI-X, with nothing of ivshmem in them.

mod config;
mod msix;

pub(crate) use config::{BarKind, ConfigSpace, Identity, CONFIG_LEN};
pub(crate) use msix::{Layout, MsixTable, Update};
