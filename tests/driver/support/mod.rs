// SPDX-License-Identifier: MIT OR Apache-2.0
//! Stand-ins for a machine: configuration space in [`bus`], of hierarchies in [`tree`] and what must hold of them in [`hierarchy`], a kernel in [`kernel`].

pub mod bus;
pub mod hierarchy;
pub mod kernel;
pub mod tree;
