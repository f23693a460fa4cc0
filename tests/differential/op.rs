// SPDX-License-Identifier: MIT OR Apache-2.0
//! What is done to a device in a sequence: [`Op`].

use std::fmt::{self, Write};

use ivshmem_device::Bar;

use crate::rig::Width;

/// The Command register, and in it memory decoding and bus mastering (PCI 3.0, 6.2.2).
pub const COMMAND: u16 = 0x04;
pub const MEMORY: u16 = 1 << 1;
pub const BUS_MASTER: u16 = 1 << 2;
/// Message Control of MSI-X in these devices, and in it the two bits that can be written (PCI 3.0, 6.8.2.3).
pub const MSIX_CONTROL: u16 = 0x42;
pub const MSIX_ENABLE: u16 = 1 << 15;
pub const MSIX_FUNCTION_MASK: u16 = 1 << 14;

/// One step of a sequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    /// The guest reads at an offset from a BAR's start, not always inside.
    Read { bar: Bar, at: i64, width: Width },
    /// The guest writes likewise.
    Write {
        bar: Bar,
        at: i64,
        width: Width,
        value: u64,
    },
    /// The guest reads configuration space.
    ReadConfig { at: u16, width: Width },
    /// The guest writes configuration space.
    WriteConfig { at: u16, width: Width, value: u64 },
    /// The guest puts a BAR elsewhere: at a multiple of 64 KiB in the window where it is.
    Move { bar: Bar, slot: u16 },
    /// The guest writes all of an entry of the MSI-X table.
    Arm {
        vector: u16,
        mailbox: u8,
        data: u32,
        control: u32,
    },
    /// Somebody outside adds to the counter of an own vector's eventfd.
    Ring { vector: u16, count: u64 },
    /// The device is reset, and its BARs are put back where they were.
    Reset,
}

impl fmt::Display for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = |at: i64| if at < 0 { "-" } else { "+" };
        match *self {
            Self::Read { bar, at, width } => {
                write!(f, "read {width:?} at bar {}", bar.index())?;
                write!(f, " {} {:#x}", sign(at), at.unsigned_abs())
            }
            Self::Write {
                bar,
                at,
                width,
                value,
            } => {
                write!(f, "write {width:?} {value:#x} at bar {}", bar.index())?;
                write!(f, " {} {:#x}", sign(at), at.unsigned_abs())
            }
            Self::ReadConfig { at, width } => write!(f, "read {width:?} at config {at:#x}"),
            Self::WriteConfig { at, width, value } => {
                write!(f, "write {width:?} {value:#x} at config {at:#x}")
            }
            Self::Move { bar, slot } => write!(f, "move bar {} to {slot:#x}0000", bar.index()),
            Self::Arm {
                vector,
                mailbox,
                data,
                control,
            } => write!(
                f,
                "arm vector {vector}: mailbox {mailbox:#x}, data {data:#x}, control {control:#x}"
            ),
            Self::Ring { vector, count } => write!(f, "ring vector {vector} {count} times"),
            Self::Reset => write!(f, "reset"),
        }
    }
}

/// Returns the write of a word of configuration space.
pub const fn write_config(at: u16, value: u64) -> Op {
    let width = Width::Word;
    Op::WriteConfig { at, width, value }
}

/// Returns a sequence as a numbered list.
pub fn describe(ops: &[Op]) -> String {
    let mut text = String::new();
    for (number, op) in (1..).zip(ops) {
        // Writing to a `String` does not fail.
        let _ = writeln!(text, "{number:3}. {op}");
    }
    text
}
