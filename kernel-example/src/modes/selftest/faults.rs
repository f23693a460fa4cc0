// SPDX-License-Identifier: MIT OR Apache-2.0
//! Self tests that break things on purpose, each in a way that must end the run with FAIL.

use core::{arch::asm, fmt, hint::black_box, mem, ptr};

use super::INTERRUPT_NS;
use crate::{
    arch::{apic, cpu, time},
    exit, println,
};

/// Panics, with a message of two lines.
pub fn panic() {
    panic!("asked for\non two lines");
}

/// A value that panics when it is printed.
struct Panics;

impl fmt::Display for Panics {
    fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
        panic!("asked for while printing");
    }
}

/// Panics in the middle of a line, with the serial port locked.
pub fn panic_in_line() {
    println!("a line begins {Panics}");
}

/// Panics while a failure is reported.
pub fn panic_in_report() {
    exit::fail(format_args!("a reason begins {Panics}"));
}

/// Executes an invalid instruction.
pub fn exception() {
    // SAFETY: the exception ends the run.
    unsafe { asm!("ud2") };
}

/// Reads through a null pointer.
pub fn null() {
    // SAFETY: page 0 is not mapped, and the page fault ends the run. In assembly null is an
    // address like any other.
    unsafe { asm!("mov {0}, [{0}]", in(reg) 0_usize) };
}

/// Writes to the kernel's code.
pub fn write_code() {
    let code = ptr::with_exposed_provenance_mut::<u8>(write_code as fn() as usize);
    // SAFETY: code is mapped read-only, so the page fault ends the run and nothing is changed.
    unsafe { code.write_volatile(0xc3) };
}

/// Calls into the stack.
pub fn execute_data() {
    let code = [0xc3_u8];
    // SAFETY: a data pointer and a function pointer have the same size and no null among them;
    // the stack is mapped no-execute, so calling it ends the run.
    let function = unsafe { mem::transmute::<*const u8, extern "C" fn()>(code.as_ptr()) };
    function();
}

/// Recurses until the stack is full.
pub fn stack_overflow() {
    println!("came back from depth {}", recurse(0));
}

#[expect(
    unconditional_recursion,
    reason = "the page fault at the guard page ends it"
)]
fn recurse(depth: u64) -> u64 {
    let local = black_box([depth; 64]);
    recurse(depth + 1) + black_box(local)[0]
}

/// Raises an interrupt that nobody serves.
pub fn unexpected_interrupt() {
    apic::interrupt_self(0x30);
    cpu::wait_until(time::now_ns() + INTERRUPT_NS, || false);
}
