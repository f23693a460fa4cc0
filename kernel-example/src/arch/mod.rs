// SPDX-License-Identifier: MIT OR Apache-2.0
//! The processor and the chips beside it: x86-64, 8259, 8254, local APIC, I/O APIC.

pub mod apic;
pub mod cpu;
pub mod exceptions;
pub mod gdt;
pub mod idt;
pub mod ioapic;
pub mod pic;
pub mod stack;
pub mod stubs;
pub mod time;
