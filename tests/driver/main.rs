// SPDX-License-Identifier: MIT OR Apache-2.0
//! The driver against stand-ins for a machine, without QEMU.

mod api;
mod assign;
mod assign_random;
mod attach;
mod ecam;
mod embedding;
mod pci;
mod regressions;
mod support;
