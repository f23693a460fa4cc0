// SPDX-License-Identifier: MIT OR Apache-2.0
//! What operations of channels cost in instructions, compared with a baseline in the repository.
//!
//! Time depends on the machine and on who else is busy there; the number of instructions does not, so a change of one
//! per cent is a fact about the code. `benches/instructions.rs` does the operations, callgrind counts them. What would
//! make the numbers those of a machine is excluded:
//!
//! - Copies are made in a way that is said in the program, not found out.
//! - libc, which does ask the processor how to copy, is told what it may use.
//! - Only what is done below one function is counted: the start of a process is not the same each time.
//! - Flags of the compiler are given here, and those of the user are not taken.
//!
//! The compiler and libc are left; a [`Baseline`] says of which it is, and with others it is shown but decides nothing.

mod baseline;
mod count;
mod report;

pub use baseline::{Baseline, BaselineError, Count};
pub use count::{count, CountError};
pub use report::Report;
