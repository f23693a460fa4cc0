// SPDX-License-Identifier: MIT OR Apache-2.0
//! The two 8259 interrupt controllers, moved out of the way and silenced.
//!
//! This must come before the local APIC is set up: SeaBIOS leaves PIC interrupts
//! unmasked and LVT0 open for them, and masking LVT0 while one is asserted makes
//! QEMU's TCG deliver a bogus #GP at the next `sti` (QEMU 7.2).

use x86_64::instructions::port::PortWriteOnly;

const FIRST_COMMAND: u16 = 0x20;
const SECOND_COMMAND: u16 = 0xa0;

/// The vector of the first PIC's IRQ 0, the first one that is no exception.
const FIRST_VECTOR: u8 = 0x20;

/// The vector of the second PIC's IRQ 8.
const SECOND_VECTOR: u8 = 0x28;

/// ICW1: initialise, cascaded, ICW4 follows.
const ICW1: u8 = 0x11;

/// ICW4: 8086 mode.
const ICW4: u8 = 0x01;

/// Gives both controllers vectors above the exceptions and masks all their inputs.
pub fn init() {
    // ICW3: the second controller hangs on input 2 of the first.
    init_one(FIRST_COMMAND, FIRST_VECTOR, 1 << 2);
    init_one(SECOND_COMMAND, SECOND_VECTOR, 2);
}

fn init_one(command: u16, vector: u8, icw3: u8) {
    let data = command + 1;
    write(command, ICW1);
    write(data, vector);
    write(data, icw3);
    write(data, ICW4);
    write(data, 0xff);
}

fn write(port: u16, value: u8) {
    // SAFETY: the ports are those of the 8259 pair; the values reach no memory.
    unsafe { PortWriteOnly::new(port).write(value) };
}
