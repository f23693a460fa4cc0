// SPDX-License-Identifier: MIT OR Apache-2.0
//! The configuration space of the device model: any accesses, with a few others between them.

use crate::model::{self, Reached, Target};

const TARGET: Target = Target {
    // Mostly writes of configuration space.
    kinds: &[1, 0, 2, 1, 4, 5, 6, 1, 10, 1],
    connected: true,
};

/// Does with a device what `data` says.
///
/// # Panics
///
/// If a property does not hold.
pub fn run(data: &[u8]) -> Reached {
    model::run(TARGET, data)
}
