// SPDX-License-Identifier: MIT OR Apache-2.0
//! Stand-ins for a machine: configuration space in [`bus`], a kernel in [`kernel`].

pub mod bus;
pub mod kernel;
