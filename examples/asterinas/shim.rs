// SPDX-License-Identifier: MIT OR Apache-2.0
//! The one module with `unsafe`: what OSTD, or a crate beside it, would have to offer.

use core::ptr::NonNull;

use ivshmem::{Ivshmem, Parts, Registers, SharedMemory};

use crate::stubs::ostd::{CachePolicy, Error, IoMem, Result, VmIoOnce};

/// Device registers, without pointers.
#[derive(Debug)]
pub struct IoRegisters(pub IoMem);

impl Registers for IoRegisters {
    fn read(&self, offset: usize) -> u32 {
        self.0.read_once(offset).unwrap_or(!0)
    }

    fn write(&self, offset: usize, value: u32) {
        // Outside the block nothing answers.
        let _ = self.0.write_once(offset, &value);
    }
}

/// Returns `io_mem` as memory that other machines write to, if it is mapped write-back.
pub fn shared_memory(io_mem: &'static IoMem) -> Result<SharedMemory<'static>> {
    let write_back = io_mem.cache_policy() == CachePolicy::Writeback;
    let base = NonNull::new(io_mem.writer().cursor()).filter(|_| write_back);
    let base = base.ok_or(Error::InvalidArgs)?;
    // SAFETY: 1. the mapping lives as long as `io_mem`, for ever; 2. OSTD makes no reference to
    // I/O memory and hands a range of it out once.
    Ok(unsafe { SharedMemory::new(base, io_mem.size()) })
}

/// Takes over a device whose registers and memory are I/O memory.
pub fn ivshmem(parts: Parts<IoRegisters>) -> Ivshmem<IoRegisters> {
    // SAFETY: 1. each part keeps its own mapping; 2. OSTD hands out I/O memory only where no access can
    // harm memory safety, also if the parts are of two devices or another driver uses them.
    unsafe { Ivshmem::new(parts) }
}
