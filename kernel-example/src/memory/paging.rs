// SPDX-License-Identifier: MIT OR Apache-2.0
//! Page tables: ranges mapped with the largest pages that fit.

use core::{fmt, ptr};

use x86_64::{
    registers::control::Cr3,
    structures::paging::{
        mapper::{MapToError, MappedFrame, TranslateResult},
        FrameAllocator, Mapper, OffsetPageTable, Page, PageSize, PageTable, PageTableFlags,
        PhysFrame, Size1GiB, Size2MiB, Size4KiB, Translate,
    },
    PhysAddr, VirtAddr,
};

use super::frames::Frames;
use crate::arch::cpu;

/// A set of page tables, reached at their physical addresses.
#[derive(Debug)]
pub struct Tables {
    mapper: OffsetPageTable<'static>,
    frames: Frames,
    gigabyte_pages: bool,
    root: PhysFrame,
}

impl Tables {
    /// Makes an empty set of page tables with frames from `frames`, which must be mapped at
    /// their own addresses whenever the tables are worked on.
    ///
    /// # Errors
    ///
    /// - [`TableError::OutOfFrames`]: not one frame is left.
    pub fn new(mut frames: Frames) -> Result<Self, TableError> {
        let root = frames.allocate_frame().ok_or(TableError::OutOfFrames)?;
        let address = root.start_address().as_u64() as usize;
        let table: *mut PageTable = ptr::with_exposed_provenance_mut(address);
        // SAFETY: the frame is aligned, mapped at its own address, and ours alone.
        unsafe { table.write(PageTable::new()) };
        // SAFETY: it was just initialised, and no other reference to it is ever made.
        let table = unsafe { &mut *table };
        // SAFETY: `Frames` gives frames below `BOOT_MAPPED_BYTES` only, which are mapped at
        // their own addresses before and after `activate`, so the offset is zero.
        let mapper = unsafe { OffsetPageTable::new(table, VirtAddr::zero()) };
        Ok(Self {
            mapper,
            frames,
            gigabyte_pages: cpu::has_gigabyte_pages(),
            root,
        })
    }

    /// Makes the processor use these tables.
    ///
    /// # Safety
    ///
    /// They must map the kernel and everything that it uses at the addresses it uses.
    pub unsafe fn activate(&self) {
        let (_, flags) = Cr3::read();
        // SAFETY: the caller guarantees that what is in use stays mapped.
        unsafe { Cr3::write(self.root, flags) };
    }

    /// Maps the `len` bytes at `virt` to the physical address `phys`, all multiples of
    /// 4096. New mappings need no flush: the processor does not remember absent pages.
    ///
    /// # Errors
    ///
    /// Nothing stays mapped then.
    ///
    /// - [`TableError::OutOfFrames`]: no frame is left for a table.
    /// - [`TableError::Occupied`]: something is mapped there already.
    ///
    /// # Safety
    ///
    /// The mapping must not give access to memory that Rust code uses, unless that is what
    /// the mapping is for.
    pub unsafe fn map(
        &mut self,
        virt: u64,
        phys: u64,
        len: u64,
        flags: PageTableFlags,
    ) -> Result<(), TableError> {
        let mut done = 0;
        while done < len {
            let (at, to, left) = (virt + done, phys + done, len - done);
            let fits = |size: u64| at % size == 0 && to % size == 0 && left >= size;
            let mapped = if self.gigabyte_pages && fits(Size1GiB::SIZE) {
                // SAFETY: the caller vouches for the mapping.
                unsafe { self.map_page::<Size1GiB>(at, to, flags) }
            } else if fits(Size2MiB::SIZE) {
                // SAFETY: the caller vouches for the mapping.
                unsafe { self.map_page::<Size2MiB>(at, to, flags) }
            } else {
                // SAFETY: the caller vouches for the mapping.
                unsafe { self.map_page::<Size4KiB>(at, to, flags) }
            };
            match mapped {
                Ok(bytes) => done += bytes,
                Err(error) => {
                    // SAFETY: these pages were mapped above, and nobody knows of them yet.
                    unsafe { self.unmap(virt, done) };
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    /// Removes the mapping of the `len` bytes at `virt`, made by one or more calls of `map`
    /// and removed as a whole. Stops at the first page that is not mapped. The caller
    /// flushes the TLB.
    ///
    /// # Safety
    ///
    /// Nothing may use the mapping any more.
    pub unsafe fn unmap(&mut self, virt: u64, len: u64) {
        let mut done = 0;
        while done < len {
            let address = VirtAddr::new(virt + done);
            let TranslateResult::Mapped { frame, .. } = self.mapper.translate(address) else {
                return;
            };
            let removed = match frame {
                MappedFrame::Size4KiB(_) => self.unmap_page::<Size4KiB>(address),
                MappedFrame::Size2MiB(_) => self.unmap_page::<Size2MiB>(address),
                MappedFrame::Size1GiB(_) => self.unmap_page::<Size1GiB>(address),
            };
            if !removed {
                return;
            }
            done += frame.size();
        }
    }

    /// Returns the physical address and the flags of the page that `virt` is mapped to.
    pub fn translate(&self, virt: u64) -> Option<(u64, PageTableFlags)> {
        match self.mapper.translate(VirtAddr::new(virt)) {
            TranslateResult::Mapped {
                frame,
                offset,
                flags,
            } => Some((frame.start_address().as_u64() + offset, flags)),
            TranslateResult::NotMapped | TranslateResult::InvalidFrameAddress(_) => None,
        }
    }

    /// Maps one page and returns its size.
    ///
    /// # Safety
    ///
    /// As for `map`.
    unsafe fn map_page<S: PageSize>(
        &mut self,
        virt: u64,
        phys: u64,
        flags: PageTableFlags,
    ) -> Result<u64, TableError>
    where
        OffsetPageTable<'static>: Mapper<S>,
    {
        let page = Page::containing_address(VirtAddr::new(virt));
        let frame = PhysFrame::containing_address(PhysAddr::new(phys));
        // SAFETY: the caller vouches for the mapping.
        let mapped = unsafe { self.mapper.map_to(page, frame, flags, &mut self.frames) };
        match mapped {
            Ok(flush) => {
                flush.ignore();
                Ok(S::SIZE)
            }
            Err(MapToError::FrameAllocationFailed) => Err(TableError::OutOfFrames),
            Err(MapToError::ParentEntryHugePage | MapToError::PageAlreadyMapped(_)) => {
                Err(TableError::Occupied { address: virt })
            }
        }
    }

    /// Removes one page of a known size and returns whether it was there.
    fn unmap_page<S: PageSize>(&mut self, address: VirtAddr) -> bool
    where
        OffsetPageTable<'static>: Mapper<S>,
    {
        match self.mapper.unmap(Page::<S>::containing_address(address)) {
            Ok((_, flush)) => {
                flush.ignore();
                true
            }
            Err(_) => false,
        }
    }
}

/// Why a range cannot be mapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TableError {
    /// No frame is left for a page table.
    OutOfFrames,
    /// Something is mapped there already.
    Occupied {
        /// The virtual address.
        address: u64,
    },
}

impl fmt::Display for TableError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OutOfFrames => write!(
                f,
                "no RAM below 1 GiB is left for page tables: give the machine more"
            ),
            Self::Occupied { address } => {
                write!(f, "virtual address {address:#x} is mapped already")
            }
        }
    }
}
