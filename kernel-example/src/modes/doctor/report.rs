// SPDX-License-Identifier: MIT OR Apache-2.0
//! The faults found: printed at once, and counted.

use core::fmt;

use crate::println;

/// The faults of a run.
#[derive(Debug)]
pub struct Report {
    faults: u32,
}

impl Report {
    /// Returns a report without faults.
    pub const fn new() -> Self {
        Self { faults: 0 }
    }

    /// Reports the fault `what`, against which `action` helps.
    pub fn fault(&mut self, what: fmt::Arguments<'_>, action: fmt::Arguments<'_>) {
        self.faults += 1;
        println!("fault: {what}; do: {action}");
    }

    /// Returns the number of faults.
    pub const fn faults(&self) -> u32 {
        self.faults
    }
}
