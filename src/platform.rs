// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the driver asks of the kernel while it attaches: the trait [`Platform`] and its plain data.
//!
//! ivshmem does no DMA, so nothing is asked of the kernel once the device is
//! attached: the finished driver has no `Platform` parameter. The cache
//! policy is part of the request because one policy for all BARs is always
//! wrong here: registers and MSI-X table must be uncached, and shared memory
//! mapped uncached is the most frequent performance bug of ivshmem drivers.
//!
//! The driver neither allocates interrupt vectors nor registers handlers;
//! kernels differ too much in both. The kernel hands it a finished message
//! per vector, and its handler calls `&self` methods that take no lock.
#![allow(unsafe_code)]

use core::ptr::NonNull;

use crate::interrupt::MsiMessage;
use crate::registers::VectorIndex;

/// A range of physical (bus) addresses, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PhysRegion {
    /// First address.
    pub start: u64,
    /// Length in bytes.
    pub len: u64,
}

/// How a mapping is to be cached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CachePolicy {
    /// Strong uncached: device registers and MSI-X tables.
    Uncached,
    /// Ordinary write-back memory: the shared memory.
    WriteBack,
}

/// The kernel's services for attaching a device.
///
/// # Safety
///
/// Each method states under "Implementation safety" what an implementation
/// must guarantee; the driver's memory safety rests on it.
pub unsafe trait Platform {
    /// The kernel's own error.
    type Error;

    /// Maps `region`, readable and writable, not executable.
    ///
    /// `region` need not start or end at a page boundary: map the pages from
    /// `start / PAGE` to `(start + len - 1) / PAGE`, and return the address of the first byte of the region.
    /// Each BAR is mapped at most once per attach.
    ///
    /// # Errors
    ///
    /// Whatever keeps the kernel from mapping it; attaching ends with that error.
    ///
    /// # Implementation safety
    ///
    /// On success all bytes of `region` must stay mapped at the address returned, with the caching asked
    /// for, until `unmap` is called with the same address and region. No Rust allocation may lie there. The
    /// address must be congruent to `region.start` modulo 4096.
    fn map(&mut self, region: PhysRegion, cache: CachePolicy) -> Result<NonNull<u8>, Self::Error>;

    /// Removes a mapping made by `map`.
    ///
    /// # Safety
    ///
    /// `address` and `region` must be those of one successful `map` on this platform that has not been
    /// unmapped, and nothing may access the mapping from now on.
    unsafe fn unmap(&mut self, address: NonNull<u8>, region: PhysRegion);

    /// Returns the message that interrupt `vector` of the device shall send, or `None` to leave it masked.
    ///
    /// Called once for each entry of the MSI-X table, in ascending order. Give
    /// messages only to vectors that the ivshmem server serves (its own vector count):
    /// QEMU 7.2 with KVM aborts when a guest unmasks one beyond those.
    ///
    /// # Errors
    ///
    /// Whatever keeps the kernel from allocating an interrupt; attaching ends with that error. Interrupts handed
    /// out before stay the platform's to free, then as after `detach`.
    ///
    /// # Implementation safety
    ///
    /// The message must address an interrupt controller, and the interrupt it raises must have a
    /// handler, also for a while after `detach`: a message may be on its way.
    fn msi(&mut self, vector: VectorIndex) -> Result<Option<MsiMessage>, Self::Error>;
}
