// SPDX-License-Identifier: MIT OR Apache-2.0
//! The stream from the server to the device model: any messages, cuts and descriptors.

use crate::model::{self, Reached, Target};

const TARGET: Target = Target {
    // Mostly messages.
    kinds: &[7, 8, 7, 4, 7, 5, 7, 9, 7, 6, 7, 1],
    connected: false,
};

/// Does with a device what `data` says.
///
/// # Panics
///
/// If a property does not hold.
pub fn run(data: &[u8]) -> Reached {
    model::run(TARGET, data)
}
