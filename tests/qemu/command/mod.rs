// SPDX-License-Identifier: MIT OR Apache-2.0
//! Trials of the command `ivshmem` as a member among guests.

mod ping;
mod place;

use crate::lab::Need;

pub fn trials() -> Vec<Need> {
    ping::trials()
}
