// SPDX-License-Identifier: MIT OR Apache-2.0
//! A kernel with little memory that watches what the driver asks of it.

use std::alloc::{alloc_zeroed, dealloc, handle_alloc_error, Layout};
use std::ptr::NonNull;

use ivshmem::{CachePolicy, MsiMessage, PhysRegion, Platform, VectorIndex};

use crate::machine::Plan;

/// The largest region that is mapped.
const MAX_LEN: u64 = 1 << 20;
const PAGE: usize = 4096;

/// Why the kernel refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refused;

/// A region and the memory that stands for it.
struct Mapping {
    region: PhysRegion,
    layout: Layout,
    /// Of the whole allocation, which starts where the region's first page does.
    base: NonNull<u8>,
}

impl Mapping {
    fn new(region: PhysRegion) -> Self {
        let before = region.start as usize % PAGE;
        // Ends where the region ends, so that an access behind it is one that the sanitizer sees.
        let layout = Layout::from_size_align(before + region.len as usize, PAGE).unwrap();
        // SAFETY: the region, and so the layout, is not empty, as `map` has checked.
        let base = unsafe { alloc_zeroed(layout) };
        let base = NonNull::new(base).unwrap_or_else(|| handle_alloc_error(layout));
        Self {
            region,
            layout,
            base,
        }
    }

    /// Returns where the region starts.
    fn address(&self) -> NonNull<u8> {
        let first = self
            .base
            .as_ptr()
            .wrapping_add(self.region.start as usize % PAGE);
        NonNull::new(first).unwrap()
    }

    fn fill(&self, pattern: u32) {
        let first = self.address().as_ptr().cast::<u32>();
        for word in 0..self.region.len as usize / 4 {
            // SAFETY: inside the allocation and aligned, since regions are of 16 bytes and their multiples.
            unsafe { first.wrapping_add(word).write_volatile(pattern) };
        }
    }

    /// Returns the 32-bit word at `offset`.
    fn word(&self, offset: u64) -> u32 {
        assert!(offset + 4 <= self.region.len && offset.is_multiple_of(4));
        let word = self.address().as_ptr().wrapping_add(offset as usize);
        // SAFETY: inside the allocation and aligned, as just checked.
        unsafe { word.cast::<u32>().read_volatile() }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: from `alloc_zeroed` with this layout, and dropped once.
        unsafe { dealloc(self.base.as_ptr(), self.layout) };
    }
}

/// A kernel that acts on a [`Plan`].
pub struct FuzzKernel {
    plan: Plan,
    mappings: Vec<Mapping>,
    /// What was mapped uncached and is so no more.
    old: Vec<Mapping>,
    next_vector: u16,
}

impl FuzzKernel {
    pub fn new(plan: Plan) -> Self {
        Self {
            plan,
            mappings: Vec::new(),
            old: Vec::new(),
            next_vector: 0,
        }
    }

    /// Returns how many regions are mapped.
    pub fn mapped(&self) -> usize {
        self.mappings.len()
    }

    /// Returns whether this vector was given a message.
    pub fn has_message(&self, vector: u16) -> bool {
        vector < u16::from(self.plan.vectors)
    }

    /// Returns the word at `offset` of `region`, as it stands or as it stood when it was unmapped.
    pub fn word(&self, region: PhysRegion, offset: u64) -> u32 {
        let mut all = self.mappings.iter().chain(&self.old);
        let mapping = all.find(|mapping| mapping.region == region);
        mapping.expect("never mapped").word(offset)
    }
}

// SAFETY: each mapping is an allocation of its own, congruent to its region, that is reached through raw pointers
// alone and stays until `unmap`; messages go nowhere.
unsafe impl Platform for FuzzKernel {
    type Error = Refused;

    fn map(&mut self, region: PhysRegion, cache: CachePolicy) -> Result<NonNull<u8>, Refused> {
        assert!(region.len >= 16, "{region:?} is no bar");
        let end = region.start.checked_add(region.len);
        let end = end.expect("the region has no end");
        for other in &self.mappings {
            let other = other.region;
            let apart = end <= other.start || other.start + other.len <= region.start;
            assert!(apart, "{region:?} overlaps {other:?}");
        }
        match &mut self.plan.maps {
            Some(0) => return Err(Refused),
            Some(left) => *left -= 1,
            None => {}
        }
        if region.len > MAX_LEN {
            return Err(Refused);
        }
        let mapping = Mapping::new(region);
        if cache == CachePolicy::Uncached {
            mapping.fill(self.plan.pattern);
        }
        let address = mapping.address();
        self.mappings.push(mapping);
        Ok(address)
    }

    unsafe fn unmap(&mut self, address: NonNull<u8>, region: PhysRegion) {
        let mut mappings = self.mappings.iter();
        let index = mappings.position(|m| m.region == region && m.address() == address);
        let mapping = self
            .mappings
            .remove(index.expect("an unmap of what is not mapped"));
        self.old.push(mapping);
    }

    fn msi(&mut self, vector: VectorIndex) -> Result<Option<MsiMessage>, Refused> {
        assert_eq!(vector.0, self.next_vector, "vectors come in order");
        self.next_vector += 1;
        if self.plan.refused == Some(vector.0) {
            return Err(Refused);
        }
        let message = MsiMessage::x86(1, 0x40 + (vector.0 % 128) as u8);
        Ok(message.filter(|_| self.has_message(vector.0)))
    }
}
