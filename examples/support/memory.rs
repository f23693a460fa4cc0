// SPDX-License-Identifier: MIT OR Apache-2.0
//! Physical memory of the examples' kernels: ordinary memory where the BARs of one ivshmem device are.

use std::alloc::{alloc_zeroed, Layout};
use std::ptr::NonNull;
use std::sync::OnceLock;

/// BAR 2.
pub const SHARED_MEMORY: u64 = 0xfe00_0000;
/// BAR 1, with the MSI-X table at its start.
pub const MSIX: u64 = 0xfe10_0000;
/// BAR 0. Smaller than a page, so firmware need not put it at the start of one.
pub const REGISTERS: u64 = 0xfe10_1100;

const PAGE: usize = 4096;
const LEN: usize = 0x10_2000;

/// Returns where the byte at `physical` is.
pub fn at(physical: u64) -> NonNull<u8> {
    static BASE: OnceLock<usize> = OnceLock::new();
    let base = *BASE.get_or_init(|| {
        let layout = Layout::from_size_align(LEN, PAGE).expect("a power of two");
        // SAFETY: the layout has bytes.
        unsafe { alloc_zeroed(layout) as usize }
    });
    let offset = physical.checked_sub(SHARED_MEMORY).map(|o| o as usize);
    let offset = offset.filter(|&o| o < LEN).expect("no device is there");
    NonNull::new((base + offset) as *mut u8).expect("the machine has no memory left")
}

/// Fails unless the shared memory, and nothing else, is mapped cached.
pub fn check_caching(physical: u64, cached: bool) {
    assert_eq!(
        cached,
        physical == SHARED_MEMORY,
        "caching of {physical:#x}"
    );
}

/// Returns the 32-bit word at `physical`.
pub fn word(physical: u64) -> u32 {
    // SAFETY: `at` gives the address of memory that is never freed; the callers' addresses are
    // multiples of 4 below its end.
    unsafe { at(physical).as_ptr().cast::<u32>().read_volatile() }
}
