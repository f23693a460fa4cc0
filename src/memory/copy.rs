// SPDX-License-Identifier: MIT OR Apache-2.0
//! The copy between shared and private memory.
//!
//! The other side may write at the same time, so shared memory is touched by
//! volatile accesses and by assembly only: the compiler can neither assume that
//! the bytes hold still, nor read them twice, nor invent a read. A torn copy is
//! possible and is the reader's to detect; undefined behaviour is not.

use super::processor;
use super::strategy::CopyStrategy;

/// Copies below this length, in bytes, are always made in words: nothing wider pays off.
pub(super) const SHORT: usize = 16;

/// Which side of a copy is the shared memory.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Shared {
    /// What is read.
    Source,
    /// What is written.
    Target,
}

/// Copies `len` bytes.
///
/// An aligned 2, 4 or 8 bytes on the shared side that are copied alone are one access.
///
/// # Safety
///
/// - The `len` bytes from `from` must be readable and those from `to` writable, and they must not overlap.
/// - Those on the private side must not be accessed by others meanwhile.
// Most copies are short, and the call would take longer.
#[inline(always)]
pub(super) unsafe fn copy(
    to: *mut u8,
    from: *const u8,
    len: usize,
    shared: Shared,
    strategy: CopyStrategy,
) {
    if len < SHORT {
        // SAFETY: the caller gives the same guarantees.
        unsafe { processor::copy_short(to, from, len, shared) };
    } else if processor::is_medium(len) {
        // SAFETY: the caller gives the same guarantees, and the length is what is asked for.
        unsafe { processor::copy_medium(strategy.0, to, from, len) };
    } else {
        // SAFETY: the caller gives the same guarantees.
        unsafe { processor::copy_long(strategy.0, to, from, len, shared) };
    }
}

/// Copies `len` bytes by the widest accesses up to 64 bits that are aligned on the shared side.
///
/// # Safety
///
/// As for [`copy`].
// Apart, so that what is around it stays short.
#[inline(never)]
pub(super) unsafe fn words(to: *mut u8, from: *const u8, len: usize, shared: Shared) {
    let address = match shared {
        Shared::Source => from as usize,
        Shared::Target => to as usize,
    };
    let mut rest = Rest {
        to,
        from,
        len,
        shared,
    };
    // To the next word boundary, unless the end comes first. What is left out because the end comes first is
    // larger than all that is left, so the steps behind the words are aligned too.
    let misaligned = |size: usize| address.wrapping_neg() & size != 0;
    if misaligned(1) && rest.len >= 1 {
        // SAFETY: 1 byte is left, and every address is aligned to 1.
        unsafe { rest.step::<u8>() };
    }
    if misaligned(2) && rest.len >= 2 {
        // SAFETY: 2 bytes are left, and the step before has aligned the shared side to 2.
        unsafe { rest.step::<u16>() };
    }
    if misaligned(4) && rest.len >= 4 {
        // SAFETY: 4 bytes are left, and the steps before have aligned the shared side to 4.
        unsafe { rest.step::<u32>() };
    }
    while rest.len >= 32 {
        for _ in 0..4 {
            // SAFETY: 8 bytes are left in each of the four, and the shared side is aligned to 8.
            unsafe { rest.step::<u64>() };
        }
    }
    while rest.len >= 8 {
        // SAFETY: 8 bytes are left, and the shared side is aligned to 8.
        unsafe { rest.step::<u64>() };
    }
    if rest.len >= 4 {
        // SAFETY: 4 bytes are left, and the shared side is aligned to 4 or more.
        unsafe { rest.step::<u32>() };
    }
    if rest.len >= 2 {
        // SAFETY: 2 bytes are left, and the shared side is aligned to 2 or more.
        unsafe { rest.step::<u16>() };
    }
    if rest.len >= 1 {
        // SAFETY: 1 byte is left, and every address is aligned to 1.
        unsafe { rest.step::<u8>() };
    }
}

/// What is left of a copy.
struct Rest {
    /// Invariant: `len` bytes from here are writable.
    to: *mut u8,
    /// Invariant: `len` bytes from here are readable.
    from: *const u8,
    len: usize,
    shared: Shared,
}

impl Rest {
    /// Copies one integer.
    ///
    /// # Safety
    ///
    /// At least its size must be left, and the shared side must be aligned to it.
    #[inline(always)]
    unsafe fn step<T: Copy>(&mut self) {
        let size = core::mem::size_of::<T>();
        let (to, from) = (self.to.cast::<T>(), self.from.cast::<T>());
        match self.shared {
            Shared::Source => {
                // SAFETY: readable by the invariant of `from`, aligned as the caller promises.
                let value = unsafe { from.read_volatile() };
                // SAFETY: writable by the invariant of `to`.
                unsafe { to.write_unaligned(value) };
            }
            Shared::Target => {
                // SAFETY: readable by the invariant of `from`.
                let value = unsafe { from.read_unaligned() };
                // SAFETY: writable by the invariant of `to`, aligned as the caller promises.
                unsafe { to.write_volatile(value) };
            }
        }
        self.to = self.to.wrapping_add(size);
        self.from = self.from.wrapping_add(size);
        self.len -= size;
    }
}
