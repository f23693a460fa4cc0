// SPDX-License-Identifier: MIT OR Apache-2.0
//! Shared memory between two guards: an access beside it ends the process.

use std::ffi::c_void;
use std::os::fd::{AsFd, OwnedFd};
use std::ptr::{self, NonNull};

use ivshmem::SharedMemory;
use rustix::fs::{ftruncate, memfd_create, MemfdFlags};
use rustix::mm::{mmap, mmap_anonymous, munmap, MapFlags, ProtFlags};

const PAGE: usize = 4096;

/// Returns blank memory of whole pages that `len_bytes` bytes fit in.
pub fn object(len_bytes: usize) -> OwnedFd {
    let fd = memfd_create("ivshmem-fuzz", MemfdFlags::CLOEXEC).unwrap();
    ftruncate(&fd, len_bytes.next_multiple_of(PAGE) as u64).unwrap();
    fd
}

/// A mapping of memory, with a page on both sides that nobody may touch.
pub struct Window {
    /// Invariant: start of a mapping of `whole` bytes that belongs to this value alone; all but its first and its
    /// last page are readable and writable.
    start: NonNull<c_void>,
    whole: usize,
    len_bytes: usize,
}

impl Window {
    /// Maps an [`object`] of which `len_bytes` are used, those before the guard at the end.
    pub fn of(object: impl AsFd, len_bytes: usize) -> Self {
        let inner = len_bytes.next_multiple_of(PAGE);
        let whole = inner + 2 * PAGE;
        // SAFETY: without MAP_FIXED the kernel chooses addresses that nothing uses.
        let start = unsafe {
            mmap_anonymous(
                ptr::null_mut(),
                whole,
                ProtFlags::empty(),
                MapFlags::PRIVATE,
            )
        };
        let start = NonNull::new(start.unwrap()).unwrap();
        if inner > 0 {
            let behind_guard = start.as_ptr().wrapping_byte_add(PAGE);
            // SAFETY: these addresses are in the mapping that was just made and that nobody else knows of.
            let mapped = unsafe {
                mmap(
                    behind_guard,
                    inner,
                    ProtFlags::READ | ProtFlags::WRITE,
                    MapFlags::SHARED | MapFlags::FIXED,
                    object,
                    0,
                )
            };
            assert_eq!(mapped, Ok(behind_guard));
        }
        Self {
            start,
            whole,
            len_bytes,
        }
    }

    /// Returns the bytes that are used.
    pub fn memory(&self) -> SharedMemory<'_> {
        let base = self.start.as_ptr().cast::<u8>();
        let base = base.wrapping_add(self.whole - PAGE - self.len_bytes);
        // SAFETY: 1. the bytes lie between the guards, so they are mapped (invariant of `start`) until `drop`, which needs that
        // no borrow of `self` is left; 2. nobody makes references to them: `start` is private.
        unsafe { SharedMemory::new(NonNull::new(base).unwrap(), self.len_bytes) }
    }
}

impl Drop for Window {
    fn drop(&mut self) {
        // SAFETY: the mapping belongs to this value alone (invariant of `start`), and views borrow from it.
        unsafe { munmap(self.start.as_ptr(), self.whole) }.unwrap();
    }
}
