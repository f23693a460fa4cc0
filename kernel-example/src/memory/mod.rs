// SPDX-License-Identifier: MIT OR Apache-2.0
//! The kernel's address space: low RAM at its own addresses, devices in a window.
//!
//! RAM below 4 GiB is mapped write-back, identical, without page 0 (null
//! pointers) and without the guard pages of the stacks; only code can be
//! executed, and only variables can be written. The hole above low RAM is not mapped:
//! a write-back alias of a device's registers would be a trap. Everything
//! else is mapped on request in a window of its own, each mapping once, with
//! addresses handed out in ascending order.

use core::{fmt, ptr::NonNull};

use ivshmem::{CachePolicy, PhysRegion};
use spin::{Mutex, Once};
use x86_64::{
    instructions::tlb,
    registers::model_specific::{Efer, EferFlags, Msr},
    structures::paging::{PageSize, PageTableFlags, Size1GiB, Size2MiB, Size4KiB},
    VirtAddr,
};

use self::{
    frames::Frames,
    paging::{TableError, Tables},
};
use crate::{
    arch::{cpu, gdt},
    boot,
};

mod frames;
mod layout;
mod paging;

/// The window of `map`: the upper half of the lower canonical half (level 4 entries 128 to 255).
const WINDOW_START: u64 = 1 << 46;
const WINDOW_END: u64 = 1 << 47;

/// The page attribute table as processors leave it on reset: entry 0 write-back, entry 3,
/// which PCD and PWT together select, strong uncached.
const PAT_AT_RESET: u64 = 0x0007_0406_0007_0406;

/// The MSR of the page attribute table.
const PAT: Msr = Msr::new(0x277);

const READ_ONLY: PageTableFlags = PageTableFlags::PRESENT.union(PageTableFlags::NO_EXECUTE);
const READ_WRITE: PageTableFlags = READ_ONLY.union(PageTableFlags::WRITABLE);
const UNCACHED: PageTableFlags = PageTableFlags::NO_CACHE.union(PageTableFlags::WRITE_THROUGH);

static MEMORY: Once<Mutex<Memory>> = Once::new();

struct Memory {
    tables: Tables,
    /// Invariant: nothing is mapped from here to `WINDOW_END`.
    window_next: u64,
}

/// Leaves the boot page tables for our own.
///
/// # Errors
///
/// - [`MapError::NotReady`]: `boot::init` has not run.
/// - [`MapError::Pat`]: the page attribute table is not as on reset.
/// - [`MapError::Table`]: there is not enough RAM for page tables.
pub fn init() -> Result<(), MapError> {
    let regions = boot::info().ok_or(MapError::NotReady)?.regions();
    // SAFETY: every x86-64 processor has this MSR, and reading it changes nothing.
    let pat = unsafe { PAT.read() };
    if pat != PAT_AT_RESET {
        return Err(MapError::Pat { found: pat });
    }
    // SAFETY: no-execute is needed by the tables below; the boot tables do not use the bit.
    unsafe { Efer::update(|flags| *flags |= EferFlags::NO_EXECUTE_ENABLE) };

    let kernel = layout::text().start..layout::data().end;
    // SAFETY: what the loader left there was copied by `boot::init`, and the kernel itself
    // uses no memory outside its image.
    let frames = unsafe { Frames::new(regions, kernel.end) };
    let mut tables = Tables::new(frames)?;
    let low_end = layout::low_ram_end(regions);
    for (range, flags) in [
        (Size4KiB::SIZE..kernel.start, READ_WRITE),
        (layout::text(), PageTableFlags::PRESENT),
        (layout::rodata(), READ_ONLY),
        (kernel.end..low_end, READ_WRITE),
    ] {
        // SAFETY: the kernel's own memory, with the access that it was linked for, and RAM
        // that only `Frames` gives out.
        unsafe { map_identical(&mut tables, range.start, range.end, flags)? };
    }
    for page in layout::data().step_by(Size4KiB::SIZE as usize) {
        if !is_guard_page(page) {
            // SAFETY: the kernel's own variables and stacks.
            unsafe { map_identical(&mut tables, page, page + Size4KiB::SIZE, READ_WRITE)? };
        }
    }
    // SAFETY: the kernel's image and all low RAM stay mapped where they were.
    unsafe { tables.activate() };
    MEMORY.call_once(|| {
        Mutex::new(Memory {
            tables,
            window_next: WINDOW_START,
        })
    });
    log::info!("low RAM mapped to {low_end:#x}, kernel at {kernel:#x?}");
    Ok(())
}

/// Maps the physical addresses from `start` to `end` at the same virtual ones.
///
/// # Safety
///
/// As for [`Tables::map`].
unsafe fn map_identical(
    tables: &mut Tables,
    start: u64,
    end: u64,
    flags: PageTableFlags,
) -> Result<(), TableError> {
    let len = end.saturating_sub(start);
    // SAFETY: the caller vouches for the mapping.
    unsafe { tables.map(start, start, len, flags) }
}

fn is_guard_page(page: u64) -> bool {
    gdt::STACKS
        .iter()
        .map(|stack| stack.guard_page())
        .chain([boot::STACK.guard_page()])
        .any(|guard| guard.as_u64() == page)
}

/// Maps `region`, readable and writable, and returns the address of its first byte.
///
/// The region need not start or end on a page boundary. Virtual and physical address are
/// congruent modulo 2 MiB, or 1 GiB where the processor has such pages, so that large
/// regions need few of them.
///
/// # Errors
///
/// - [`MapError::NotReady`]: [`init`] has not run.
/// - [`MapError::Unreachable`]: the region is empty, or not within the physical address space.
/// - [`MapError::WindowFull`]: no virtual addresses are left.
/// - [`MapError::Table`]: there is not enough RAM for page tables.
pub fn map(region: PhysRegion, cache: CachePolicy) -> Result<NonNull<u8>, MapError> {
    let mut memory = MEMORY.get().ok_or(MapError::NotReady)?.lock();
    let (phys, len) = pages(region)?;
    let alignment = if cpu::has_gigabyte_pages() && len >= Size1GiB::SIZE {
        Size1GiB::SIZE
    } else {
        Size2MiB::SIZE
    };
    let virt = memory.window_next.next_multiple_of(alignment) + phys % alignment;
    // One page stays free behind each mapping, so that running over its end faults.
    let next = virt + len + Size4KiB::SIZE;
    if next > WINDOW_END {
        return Err(MapError::WindowFull { region });
    }
    let flags = match cache {
        CachePolicy::Uncached => READ_WRITE | UNCACHED,
        CachePolicy::WriteBack => READ_WRITE,
    };
    // SAFETY: the window is used for nothing else, and its memory only through the pointer
    // returned, whose users are bound by the contract of what they access.
    unsafe { memory.tables.map(virt, phys, len, flags)? };
    memory.window_next = next;
    let address = VirtAddr::new(virt + (region.start - phys));
    NonNull::new(address.as_mut_ptr()).ok_or(MapError::WindowFull { region })
}

/// Removes a mapping made by [`map`].
///
/// # Safety
///
/// `address` and `region` must be those of one successful `map` that was not unmapped
/// before, and nothing may access the mapping any more.
pub unsafe fn unmap(address: NonNull<u8>, region: PhysRegion) {
    let (Some(memory), Ok((phys, len))) = (MEMORY.get(), pages(region)) else {
        return;
    };
    let virt = address.addr().get() as u64 - (region.start - phys);
    // SAFETY: the caller guarantees that this is one mapping of `map`, no longer in use.
    unsafe { memory.lock().tables.unmap(virt, len) };
    tlb::flush_all();
}

/// Returns the physical address that `address` is mapped to, and how it is cached.
pub fn translate(address: NonNull<u8>) -> Option<(u64, CachePolicy)> {
    let memory = MEMORY.get()?.lock();
    let (phys, flags) = memory.tables.translate(address.addr().get() as u64)?;
    let cache = if flags.contains(UNCACHED) {
        CachePolicy::Uncached
    } else {
        CachePolicy::WriteBack
    };
    Some((phys, cache))
}

/// Returns the start and the length of the whole pages that hold `region`.
fn pages(region: PhysRegion) -> Result<(u64, u64), MapError> {
    let bits = cpu::physical_address_bits();
    let error = MapError::Unreachable { region, bits };
    let end = region.start.checked_add(region.len).ok_or(error)?;
    if region.len == 0 || end > 1 << bits {
        return Err(error);
    }
    let start = region.start - region.start % Size4KiB::SIZE;
    Ok((start, end.next_multiple_of(Size4KiB::SIZE) - start))
}

/// Why a region cannot be mapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MapError {
    /// The kernel's memory is not set up.
    NotReady,
    /// The page attribute table does not mean what the page tables assume.
    Pat {
        /// Its value.
        found: u64,
    },
    /// The region is empty or not within the physical address space.
    Unreachable {
        /// The region.
        region: PhysRegion,
        /// The width of a physical address in bits.
        bits: u32,
    },
    /// No virtual addresses are left.
    WindowFull {
        /// The region.
        region: PhysRegion,
    },
    /// The page tables cannot hold the mapping.
    Table(TableError),
}

impl From<TableError> for MapError {
    fn from(error: TableError) -> Self {
        Self::Table(error)
    }
}

impl fmt::Display for MapError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotReady => write!(f, "the kernel's memory is not set up"),
            Self::Pat { found } => write!(
                f,
                "the page attribute table is {found:#x}, not {PAT_AT_RESET:#x} as on reset"
            ),
            Self::Unreachable { region, bits } => write!(
                f,
                "{:#x} bytes at {:#x} are not a region of the {bits}-bit physical address space",
                region.len, region.start
            ),
            Self::WindowFull { region } => write!(
                f,
                "no virtual addresses are left for {:#x} bytes at {:#x}",
                region.len, region.start
            ),
            Self::Table(error) => error.fmt(f),
        }
    }
}
