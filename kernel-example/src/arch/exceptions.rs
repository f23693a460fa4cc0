// SPDX-License-Identifier: MIT OR Apache-2.0
//! The report on an exception or interrupt that nobody expected.

use core::fmt;

use x86_64::registers::control::{Cr2, Cr3};

use super::stubs::Frame;
use crate::{exit, println};

/// Mnemonic and name of each exception (AMD APM volume 2, table 8-1; Intel SDM volume 3,
/// table 6-1). Vectors above are external interrupts.
const NAMES: [&str; 32] = [
    "#DE divide error",
    "#DB debug",
    "NMI",
    "#BP breakpoint",
    "#OF overflow",
    "#BR bound range",
    "#UD invalid opcode",
    "#NM device not available",
    "#DF double fault",
    "coprocessor segment overrun",
    "#TS invalid task state",
    "#NP segment not present",
    "#SS stack fault",
    "#GP general protection",
    "#PF page fault",
    "reserved exception",
    "#MF x87 floating point",
    "#AC alignment check",
    "#MC machine check",
    "#XF SIMD floating point",
    "#VE virtualization",
    "#CP control protection",
    "reserved exception",
    "reserved exception",
    "reserved exception",
    "reserved exception",
    "reserved exception",
    "reserved exception",
    "#HV hypervisor injection",
    "#VC VMM communication",
    "#SX security",
    "reserved exception",
];

/// The name of the interrupt that saved a frame, for messages.
struct Name(u64);

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match usize::try_from(self.0)
            .ok()
            .and_then(|vector| NAMES.get(vector))
        {
            Some(name) => write!(f, "exception {name} (vector {:#04x})", self.0),
            None => write!(f, "interrupt with vector {:#04x}", self.0),
        }
    }
}

/// Prints the frame of an unexpected interrupt and ends the run.
pub fn fatal(frame: &Frame) -> ! {
    let name = Name(frame.vector);
    exit::fail_after(
        || print(frame),
        format_args!(
            "unexpected {name} at rip {:#x}, error code {:#x}",
            frame.rip, frame.error_code
        ),
    )
}

fn print(frame: &Frame) {
    println!(
        "unexpected {}, error code {:#x}",
        Name(frame.vector),
        frame.error_code
    );
    println!(
        "  rip {:#018x}  cs {:#04x}  rflags {:#010x}",
        frame.rip, frame.cs, frame.rflags
    );
    println!("  rsp {:#018x}  ss {:#04x}", frame.rsp, frame.ss);
    println!(
        "  cr2 {:#018x}  cr3 {:#018x}",
        Cr2::read_raw(),
        Cr3::read_raw().0.start_address()
    );
    let registers = [
        [
            ("rax", frame.rax),
            ("rbx", frame.rbx),
            ("rcx", frame.rcx),
            ("rdx", frame.rdx),
        ],
        [
            ("rsi", frame.rsi),
            ("rdi", frame.rdi),
            ("rbp", frame.rbp),
            ("r8 ", frame.r8),
        ],
        [
            ("r9 ", frame.r9),
            ("r10", frame.r10),
            ("r11", frame.r11),
            ("r12", frame.r12),
        ],
    ];
    for [a, b, c, d] in registers {
        println!(
            "  {} {:#018x}  {} {:#018x}  {} {:#018x}  {} {:#018x}",
            a.0, a.1, b.0, b.1, c.0, c.1, d.0, d.1
        );
    }
    println!(
        "  r13 {:#018x}  r14 {:#018x}  r15 {:#018x}",
        frame.r13, frame.r14, frame.r15
    );
}
