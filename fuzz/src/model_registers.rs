// SPDX-License-Identifier: MIT OR Apache-2.0
//! The device model's BARs: any accesses, doorbells, events and resets, of a device that is connected.

use crate::model::{self, Reached, Target};

const TARGET: Target = Target {
    // Mostly writes of BARs.
    kinds: &[4, 3, 4, 5, 4, 1, 6, 4, 10, 5],
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
