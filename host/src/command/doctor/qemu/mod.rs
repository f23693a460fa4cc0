// SPDX-License-Identifier: MIT OR Apache-2.0
//! QEMU: the program, and its command lines.

pub(in crate::command) mod check;
pub(in crate::command) mod line;
pub(in crate::command) mod options;
pub(in crate::command) mod program;
