// SPDX-License-Identifier: MIT OR Apache-2.0
//! The device model against QEMU's device: the same random input to both, and the same answers from both.
//!
//! - [`accesses`]: what a guest and its peers do to a device.
//! - [`streams`]: what a server sends to it.
//!
//! Inputs are the same in every run; `PROPTEST_RNG_SEED` gives others and `PROPTEST_CASES` another number of them.
//! A difference is reported with the smallest input found that shows it. `xtask::trials` says what happens where
//! QEMU is missing.

mod accesses;
mod files;
#[path = "../common/frozen.rs"]
mod frozen;
mod lab;
mod model;
mod op;
mod rig;
mod server;
mod streams;
mod twin;

use std::process::ExitCode;

use lab::Lab;

fn main() -> ExitCode {
    let groups = [accesses::trials(), streams::trials()];
    xtask::trials::main(Lab::open, groups.into_iter().flatten())
}
