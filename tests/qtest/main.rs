// SPDX-License-Identifier: MIT OR Apache-2.0
//! The driver, compiled for the host, against QEMU's devices: no guest code, no firmware, no processor.
//!
//! Each trial starts a machine whose processor never runs and reaches its ports and memory over
//! the qtest protocol. `xtask::trials` says what happens where QEMU is missing.

mod board;
#[path = "../common/bring_up.rs"]
mod bring_up;
mod cases;
mod firmware;
#[path = "../common/frozen.rs"]
mod frozen;
#[path = "../common/host_side.rs"]
mod host_side;
mod hotplug;
mod interrupts;
mod lab;
mod machine;
mod table;

use std::process::ExitCode;

use lab::Lab;

fn main() -> ExitCode {
    let groups = [
        table::trials(),
        cases::trials(),
        hotplug::trials(),
        interrupts::trials(),
    ];
    xtask::trials::main(Lab::open, groups.into_iter().flatten())
}
