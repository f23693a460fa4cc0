// SPDX-License-Identifier: MIT OR Apache-2.0
//! Virtual machines for trials and the demo.
//!
//! [`Guest`] describes a machine and starts it, [`Vm`] is the running machine. The guest talks
//! lines over COM1, which is QEMU's stdin and stdout: a pipe is there before QEMU starts, needs
//! no name, and says when the machine is gone. A run counts as passed only if the guest's last
//! marker says so *and* the exit status agrees, because each alone can lie.
//!
//! No machine outlives its owner: dropping a [`Vm`] kills it, and if our process dies without
//! dropping anything, the kernel kills it (see [`process`]).

mod guest;
mod log;
mod outcome;
pub mod process;
mod vm;

pub use guest::{option_value, Guest};
pub use log::LogLine;
pub use outcome::{Marker, Outcome, Report, VmError, VmErrorKind, PASSED};
pub use vm::Vm;

/// Returns the value of `key=value` in a line that the kernel prints for programs.
#[must_use]
pub fn field<'l>(line: &'l str, key: &str) -> Option<&'l str> {
    line.split_whitespace()
        .find_map(|word| word.strip_prefix(key)?.strip_prefix('='))
}
