// SPDX-License-Identifier: MIT OR Apache-2.0
//! Stacks with a guard page below them.

use core::{cell::UnsafeCell, mem::offset_of};

use x86_64::VirtAddr;

/// The size of a guard page in bytes.
const GUARD_BYTES: usize = 4096;

/// A stack of `BYTES` bytes, a multiple of 4096, above a page that
/// [`memory::init`](crate::memory::init) leaves unmapped, so that an overflow
/// faults at once instead of overwriting what lies below.
#[repr(C, align(4096))]
#[derive(Debug)]
pub struct GuardedStack<const BYTES: usize> {
    guard: [u8; GUARD_BYTES],
    /// In a cell: the CPU writes to it although it lies in a `static`.
    stack: UnsafeCell<[u8; BYTES]>,
}

// SAFETY: `&GuardedStack` gives addresses only; no Rust code reads or writes the bytes.
unsafe impl<const BYTES: usize> Sync for GuardedStack<BYTES> {}

impl<const BYTES: usize> GuardedStack<BYTES> {
    /// Makes a stack filled with zeros.
    pub const fn new() -> Self {
        assert!(
            BYTES.is_multiple_of(GUARD_BYTES),
            "a stack is made of whole pages"
        );
        Self {
            guard: [0; GUARD_BYTES],
            stack: UnsafeCell::new([0; BYTES]),
        }
    }

    /// Returns the address of the guard page.
    pub fn guard_page(&self) -> VirtAddr {
        VirtAddr::from_ptr(&self.guard)
    }

    /// Returns the address just above the stack: the stack pointer when it is empty.
    pub fn top(&self) -> VirtAddr {
        let bytes = offset_of!(Self, stack) + BYTES;
        VirtAddr::from_ptr(self) + bytes as u64
    }
}
