// SPDX-License-Identifier: MIT OR Apache-2.0
//! Trials of the command `ivshmem` as a member among guests.

mod ping;
mod pipe;
mod place;

use crate::lab::Need;

pub fn trials() -> Vec<Need> {
    let groups = [ping::trials(), pipe::trials()];
    groups.into_iter().flatten().collect()
}
