// SPDX-License-Identifier: MIT OR Apache-2.0
//! The driver against the device model, in one process: every generation and flavour, and every fault.
//!
//! A machine is a bus of models ([`board`]) with a server ([`hub`]); what a fault does to events on their way is in
//! [`course`]. Time is counted and not measured, so nothing here depends on the speed of the host.

mod attach;
mod board;
#[path = "../common/bring_up.rs"]
mod bring_up;
mod course;
mod descriptor;
mod exchange;
mod faults;
mod flat;
#[path = "../common/host_side.rs"]
mod host_side;
mod hub;
mod life;
mod machine;
mod puppet;
mod scene;
mod setup;
mod shared;
mod slot;
mod strike;
mod table;
mod wires;

use std::process::ExitCode;

use libtest_mimic::Arguments;

fn main() -> ExitCode {
    let groups = [
        table::trials(),
        attach::trials(),
        exchange::trials(),
        faults::trials(),
        flat::trials(),
        shared::trials(),
        strike::trials(),
    ];
    let trials = groups.into_iter().flatten().collect();
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}
