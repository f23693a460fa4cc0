// SPDX-License-Identifier: MIT OR Apache-2.0
//! Trials in real virtual machines: the driver in the test kernel, against QEMU's devices.
//!
//! One machine, or a set of machines, per trial; each with a deadline, its
//! serial log printed on failure, killed on drop. `xtask::trials` says what
//! happens where QEMU or a toolchain for the kernel is missing.

mod assign;
mod channels;
mod command;
mod discovery;
mod doctor;
mod guests;
mod interrupts;
mod kernel;
mod lab;
mod linux;
mod memory;
mod operator;
mod peers;
mod program;
mod proxy;
mod server;
mod uefi;

use std::process::ExitCode;

use lab::Lab;

fn main() -> ExitCode {
    let groups = [
        kernel::trials(),
        discovery::trials(),
        doctor::trials(),
        assign::trials(),
        interrupts::trials(),
        memory::trials(),
        peers::trials(),
        channels::trials(),
        linux::trials(),
        proxy::trials(),
        server::trials(),
        operator::trials(),
        command::trials(),
        uefi::trials(),
    ];
    xtask::trials::main(Lab::open, groups.into_iter().flatten())
}
