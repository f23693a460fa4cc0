// SPDX-License-Identifier: MIT OR Apache-2.0
//! Processors without special means for copies, and Miri.

pub(super) use super::copy::words as copy_short;
use super::copy::{words, Shared};
use super::strategy::Means;

/// What [`CopyStrategy::STRINGS`](super::CopyStrategy::STRINGS) uses.
pub(super) const STRINGS: Means = Means::empty();

/// Returns what copies are best made with here.
pub(super) const fn means() -> Means {
    Means::empty()
}

/// Orders all accesses before this before all behind it, also for other machines.
pub(super) fn full_fence() {
    core::sync::atomic::fence(core::sync::atomic::Ordering::SeqCst);
}

/// Does nothing.
pub(super) const fn expect_write(_: *const u8) {}

/// Returns whether a copy of `len` bytes writes what comes first last.
pub(super) const fn is_backward(_: usize) -> bool {
    false
}

/// Returns whether [`copy_medium`] copies `len` bytes.
pub(super) const fn is_medium(_: usize) -> bool {
    false
}

/// Copies nothing, since nobody may call it.
///
/// # Safety
///
/// [`is_medium`] must say so.
pub(super) const unsafe fn copy_medium(_: Means, _: *mut u8, _: *const u8, _: usize) {}

/// Copies `len` bytes.
///
/// # Safety
///
/// As for [`words`].
pub(super) unsafe fn copy_long(_: Means, to: *mut u8, from: *const u8, len: usize, shared: Shared) {
    // SAFETY: the caller gives the same guarantees.
    unsafe { words(to, from, len, shared) };
}
