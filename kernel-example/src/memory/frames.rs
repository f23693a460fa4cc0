// SPDX-License-Identifier: MIT OR Apache-2.0
//! The allocator of the frames that page tables are made of.
//!
//! Frames are taken in ascending order and never given back: nothing but page
//! tables needs them, and those are kept for the next mapping nearby.

use x86_64::{
    structures::paging::{FrameAllocator, PhysFrame, Size4KiB},
    PhysAddr,
};

use crate::boot::{MemoryRegion, BOOT_MAPPED_BYTES};

const FRAME_BYTES: u64 = 4096;

/// The unused RAM above the kernel and below [`BOOT_MAPPED_BYTES`], where both the boot
/// page tables and our own map each frame at its own address.
#[derive(Debug)]
pub struct Frames {
    regions: &'static [MemoryRegion],
    /// Invariant: no frame at or above this address was given away, and it is not below
    /// the end of the kernel.
    next: u64,
}

impl Frames {
    /// Takes over all RAM of `regions` at and above `kernel_end`.
    ///
    /// # Safety
    ///
    /// Nothing else may use that memory, now or later.
    pub const unsafe fn new(regions: &'static [MemoryRegion], kernel_end: u64) -> Self {
        Self {
            regions,
            next: kernel_end,
        }
    }
}

// SAFETY: a frame lies in RAM that `new` was given for exclusive use, and `next` moves
// behind every frame that is given away, so each is given away once.
unsafe impl FrameAllocator<Size4KiB> for Frames {
    fn allocate_frame(&mut self) -> Option<PhysFrame> {
        let start = self
            .regions
            .iter()
            .filter(|region| region.is_ram())
            .filter_map(|region| {
                let start = region
                    .start
                    .max(self.next)
                    .checked_next_multiple_of(FRAME_BYTES)?;
                let end = start.checked_add(FRAME_BYTES)?;
                (end <= region.end.min(BOOT_MAPPED_BYTES)).then_some(start)
            })
            .min()?;
        self.next = start + FRAME_BYTES;
        Some(PhysFrame::containing_address(PhysAddr::new(start)))
    }
}
