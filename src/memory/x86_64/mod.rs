// SPDX-License-Identifier: MIT OR Apache-2.0
//! What x86-64 processors have for shared memory: vector registers and string instructions, hints and fences, and how to tell.
//!
//! All of it is assembly: what the compiler cannot see it can neither split, repeat nor reorder.

mod copies;
mod cpuid;

use core::arch::asm;

pub(super) use copies::{copy_long, copy_medium, copy_short, is_backward, is_medium};
pub(super) use cpuid::{means, STRINGS};

/// Orders all accesses before this before all behind it, also for other machines.
///
/// QEMU's TCG emulates a machine that has one processor without regard to others: its locked instructions are not locked, and
/// its barriers are none (seen with QEMU 7.2.22: one wake-up in some 100,000 was lost between two such guests, and none where
/// each could have two processors). The time stamp counter is read under a lock of QEMU's, by an exchange of the host's.
#[inline]
pub(super) fn full_fence() {
    // SAFETY: it accesses nothing.
    unsafe { asm!("mfence", options(nostack, preserves_flags)) };
    if cpuid::is_tcg() {
        // SAFETY: it accesses nothing, and is allowed where the system has not forbidden it to its processes.
        unsafe { asm!("rdtsc", out("eax") _, out("edx") _, options(nostack, preserves_flags)) };
    }
}

/// Has the line at `address` fetched for writing; whatever the address is, that is a hint.
#[inline]
pub(super) fn expect_write(address: *const u8) {
    // SAFETY: `prefetchw` accesses nothing and never faults; processors of 64 bits that lack it take it for a no-op (Intel
    // SDM, volume 2B, "PREFETCHW"; AMD APM, volume 3, likewise).
    unsafe {
        asm!("prefetchw [{}]", in(reg) address, options(nostack, preserves_flags, readonly));
    }
}
