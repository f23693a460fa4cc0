// SPDX-License-Identifier: MIT OR Apache-2.0
//! The driver against stand-ins for a machine, without QEMU.

mod api;
mod attach;
mod pci;
mod support;
