// SPDX-License-Identifier: MIT OR Apache-2.0
//! Where things lie: the sections of the kernel image, and low RAM.

use core::ops::Range;

use x86_64::structures::paging::{PageSize, Size2MiB};

use crate::boot::MemoryRegion;

const FOUR_GIB: u64 = 1 << 32;

// Set by link.ld, each on a page boundary.
extern "C" {
    static kernel_text_start: u8;
    static kernel_rodata_start: u8;
    static kernel_data_start: u8;
    static kernel_end: u8;
}

/// Returns the addresses of the kernel's code.
pub fn text() -> Range<u64> {
    address(&raw const kernel_text_start)..address(&raw const kernel_rodata_start)
}

/// Returns the addresses of the kernel's constants.
pub fn rodata() -> Range<u64> {
    address(&raw const kernel_rodata_start)..address(&raw const kernel_data_start)
}

/// Returns the addresses of the kernel's variables and stacks.
pub fn data() -> Range<u64> {
    address(&raw const kernel_data_start)..address(&raw const kernel_end)
}

fn address(symbol: *const u8) -> u64 {
    symbol.addr() as u64
}

/// Returns the end of the RAM below 4 GiB, rounded up to 2 MiB.
///
/// The rounding takes in the ACPI tables, which firmware puts at the end of RAM and no
/// longer calls RAM. The devices of a PC lie far above.
pub fn low_ram_end(regions: &[MemoryRegion]) -> u64 {
    regions
        .iter()
        .filter(|region| region.is_ram() && region.start < FOUR_GIB)
        .map(|region| region.end.min(FOUR_GIB))
        .max()
        .unwrap_or(0)
        .next_multiple_of(Size2MiB::SIZE)
}
