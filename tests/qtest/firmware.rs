// SPDX-License-Identifier: MIT OR Apache-2.0
//! What firmware would have done: addresses for all BARs.

use ivshmem::pci::{assign, AssignError, Buses, ConfigSpace, Window, Windows};

use crate::board::Ports;

/// Between the RAM of these small machines and their interrupt controllers, clear of q35's ECAM
/// (0xb0000000), which is off without firmware; and, as firmware does, far up.
const WINDOWS: Windows = Windows {
    memory32: Window {
        start: 0xc000_0000,
        len: 0x3000_0000,
    },
    memory64: Some(Window {
        start: 0x80_0000_0000,
        len: 0x40_0000_0000,
    }),
    io: Some(Window {
        start: 0xc000,
        len: 0x2000,
    }),
};

/// Assigns the BARs of a machine and turns their decoding on.
pub fn run(config: &ConfigSpace<Ports>) -> Result<(), AssignError> {
    assign(config, Buses::ALL, &WINDOWS)
}
