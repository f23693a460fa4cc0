// SPDX-License-Identifier: MIT OR Apache-2.0
//! The code that the interrupt descriptor table points to, for all 256 vectors.
//!
//! Each stub evens out the stack (an error code, or a zero where the processor
//! pushes none, then the vector) and joins one common path, which saves the
//! general registers and calls [`dispatch`]. The kernel is compiled without
//! SSE and x87, so there is no further state to save, and without a red zone.

use core::arch::naked_asm;

use crate::interrupts::dispatch;

/// The processor state that an interrupt saved, in stack order. A field without
/// documentation is the register of its name.
#[repr(C)]
#[derive(Debug)]
pub struct Frame {
    pub r15: u64,
    pub r14: u64,
    pub r13: u64,
    pub r12: u64,
    pub r11: u64,
    pub r10: u64,
    pub r9: u64,
    pub r8: u64,
    pub rbp: u64,
    pub rdi: u64,
    pub rsi: u64,
    pub rdx: u64,
    pub rcx: u64,
    pub rbx: u64,
    pub rax: u64,
    pub vector: u64,
    /// Zero for vectors without an error code.
    pub error_code: u64,
    pub rip: u64,
    pub cs: u64,
    pub rflags: u64,
    pub rsp: u64,
    pub ss: u64,
}

/// Returns whether the processor pushes an error code for `vector`
/// (AMD APM volume 2, 8.2; Intel SDM volume 3, 6.15).
const fn has_error_code(vector: u8) -> bool {
    matches!(vector, 8 | 10..=14 | 17 | 21 | 29 | 30)
}

/// The entry point of the interrupt `VECTOR`.
#[unsafe(naked)]
extern "C" fn stub<const VECTOR: u8>() {
    naked_asm!(
        ".if {has_error_code} == 0",
        "push 0",
        ".endif",
        "push {vector}",
        "jmp {common}",
        has_error_code = const has_error_code(VECTOR) as u8,
        vector = const VECTOR,
        common = sym common,
    )
}

/// Saves the general registers, calls [`dispatch`] with the frame, and returns from the
/// interrupt.
///
/// The processor aligns the stack to 16 before it pushes its five words; with the error
/// code, the vector and 15 registers that makes 22 words, so the call is aligned again.
#[unsafe(naked)]
extern "C" fn common() {
    naked_asm!(
        "push rax",
        "push rbx",
        "push rcx",
        "push rdx",
        "push rsi",
        "push rdi",
        "push rbp",
        "push r8",
        "push r9",
        "push r10",
        "push r11",
        "push r12",
        "push r13",
        "push r14",
        "push r15",
        "cld",
        "mov rdi, rsp",
        "call {dispatch}",
        "pop r15",
        "pop r14",
        "pop r13",
        "pop r12",
        "pop r11",
        "pop r10",
        "pop r9",
        "pop r8",
        "pop rbp",
        "pop rdi",
        "pop rsi",
        "pop rdx",
        "pop rcx",
        "pop rbx",
        "pop rax",
        "add rsp, 16",
        "iretq",
        dispatch = sym dispatch,
    )
}

/// Lists the stubs of sixteen vectors for each first vector given.
macro_rules! stubs {
    ($($first:literal)*) => {
        [$(
            stub::<$first>, stub::<{ $first + 1 }>, stub::<{ $first + 2 }>, stub::<{ $first + 3 }>,
            stub::<{ $first + 4 }>, stub::<{ $first + 5 }>, stub::<{ $first + 6 }>, stub::<{ $first + 7 }>,
            stub::<{ $first + 8 }>, stub::<{ $first + 9 }>, stub::<{ $first + 10 }>, stub::<{ $first + 11 }>,
            stub::<{ $first + 12 }>, stub::<{ $first + 13 }>, stub::<{ $first + 14 }>, stub::<{ $first + 15 }>,
        )*]
    };
}

/// The entry points by vector. Only the interrupt descriptor table may use them.
pub static STUBS: [extern "C" fn(); 256] = stubs!(
    0x00 0x10 0x20 0x30 0x40 0x50 0x60 0x70 0x80 0x90 0xa0 0xb0 0xc0 0xd0 0xe0 0xf0
);
