// SPDX-License-Identifier: MIT OR Apache-2.0
//! The shared memory region: bounds-checked copies and atomics, never a reference to its bytes.
//!
//! The other side of this memory is another machine that may be hostile. Four
//! rules follow, and the types here leave no other way:
//!
//! - There is no `&[u8]` into the region and no `Deref`: a Rust reference
//!   promises that bytes hold still, which nobody can promise here.
//! - Bytes cross by a copy ([`SharedMemory::read`], [`SharedMemory::write`]);
//!   words that both sides use at once are atomics
//!   ([`SharedMemory::atomic_u32`], [`SharedMemory::atomic_u64`]).
//! - Copy out first, then check, then use the copy: a value checked in place
//!   may be another one when it is used.
//! - Every access is checked against the bounds and gives an error, since
//!   offsets tend to come from what the other side wrote.
//!
//! # What Rust defines, and what it does not
//!
//! `read_volatile` is defined for "memory outside of any Rust allocation", also where that changes by itself;
//! a BAR and a shared `mmap` are such memory, and [`SharedMemory::new`] asks for nothing else. Assembly is
//! opaque to the compiler, so the copies made by it are as good. `AtomicU32::from_ptr` further wants that
//! atomic accesses do not conflict with non-atomic ones, nor with atomic ones of another size: within one
//! program, do not use the same bytes as words of two sizes, nor copy over a word that another CPU of this
//! program uses as an atomic at that moment. What a *peer* does to them is no access of this program: to Rust
//! it is a value that changed.
#![allow(unsafe_code)]

mod circular;
mod copy;
#[cfg_attr(all(target_arch = "x86_64", not(miri)), path = "x86_64/mod.rs")]
#[cfg_attr(not(all(target_arch = "x86_64", not(miri))), path = "portable.rs")]
mod processor;
mod strategy;
#[cfg(feature = "zerocopy")]
mod typed;

use core::fmt;
use core::marker::PhantomData;
use core::ptr::NonNull;
use core::sync::atomic::AtomicU32;
#[cfg(target_has_atomic = "64")]
use core::sync::atomic::AtomicU64;

pub(crate) use circular::Circular;
use copy::Shared;
pub use strategy::CopyStrategy;

/// Bytes of a line of the cache.
pub(crate) const LINE: usize = 64;

/// A view of shared memory, valid for `'m`.
///
/// A cheap handle to copy around and to divide with [`SharedMemory::region`].
/// It is not tied to a PCI device: the host's peers use the same type over
/// their mapping of the same memory.
#[derive(Clone, Copy, Debug)]
pub struct SharedMemory<'m> {
    /// Invariant: `len_bytes` bytes from here are mapped, readable and writable for `'m` (`new`).
    base: NonNull<u8>,
    /// Invariant: at most `isize::MAX` (`new`).
    len_bytes: usize,
    strategy: CopyStrategy,
    lifetime: PhantomData<&'m AtomicU32>,
}

impl<'m> SharedMemory<'m> {
    /// Wraps `len_bytes` bytes of mapped shared memory starting at `base`.
    ///
    /// Copies are made as [`CopyStrategy::detect`] says.
    ///
    /// # Safety
    ///
    /// - The `len_bytes` bytes from `base`, at most `isize::MAX`, must be mapped readable and writable,
    ///   with write-back caching or uncached, as long as the view, a part of it, or an atomic taken from one of them is
    ///   used; `'m` must not be longer than that where the view is handed on. Uncached is slow; write-combining changes the
    ///   order of stores, on which atomics rely.
    /// - They must lie outside every Rust allocation, as a BAR or an `mmap` does, or be used by one thread only.
    ///   No Rust reference to them may exist, other than the atomics given out by values of this type; other
    ///   machines and processes may read and write them at will.
    #[must_use]
    pub unsafe fn new(base: NonNull<u8>, len_bytes: usize) -> Self {
        Self {
            base,
            len_bytes,
            strategy: CopyStrategy::detect(),
            lifetime: PhantomData,
        }
    }

    /// Returns the view with another way to copy, which the parts taken of it inherit.
    #[must_use]
    pub const fn with_copy_strategy(self, strategy: CopyStrategy) -> Self {
        Self { strategy, ..self }
    }

    /// Returns how copies are made.
    #[must_use]
    pub const fn copy_strategy(&self) -> CopyStrategy {
        self.strategy
    }

    /// Returns the length in bytes.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.len_bytes
    }

    /// Returns whether the view has no bytes.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len_bytes == 0
    }

    /// Returns the address of the first byte, for code that brings its own rules of access.
    #[must_use]
    pub const fn as_ptr(&self) -> *mut u8 {
        self.base.as_ptr()
    }

    /// Returns the part of this view that starts at `offset` and has `len_bytes` bytes.
    ///
    /// # Errors
    ///
    /// - [`AccessError::OutOfBounds`]: the part does not lie inside this view.
    #[inline]
    pub fn region(&self, offset: usize, len_bytes: usize) -> Result<Self, AccessError> {
        let base = self.locate(offset, len_bytes)?;
        Ok(Self {
            base,
            len_bytes,
            ..*self
        })
    }

    /// Copies `target.len()` bytes at `offset` out of shared memory.
    ///
    /// The copy is not atomic: of what a peer writes meanwhile any part may be seen. Only 2, 4 or 8
    /// bytes that are aligned to their number and read alone are never torn. Order the copy with an atomic
    /// that the peer stores with `Release` after its bytes and that is loaded with `Acquire` before.
    ///
    /// # Errors
    ///
    /// - [`AccessError::OutOfBounds`]: the bytes do not lie inside this view; `target` is unchanged.
    #[inline]
    pub fn read(&self, offset: usize, target: &mut [u8]) -> Result<(), AccessError> {
        let (to, len) = (target.as_mut_ptr(), target.len());
        // SAFETY: `to` is writable for `len` bytes, borrowed from `target`.
        unsafe { self.read_raw(offset, to, len) }
    }

    /// Returns a copy of the `N` bytes at `offset`, for a field of fixed size:
    /// `u32::from_le_bytes(memory.read_array(16)?)`.
    ///
    /// # Errors
    ///
    /// - [`AccessError::OutOfBounds`]: the bytes do not lie inside this view.
    pub fn read_array<const N: usize>(&self, offset: usize) -> Result<[u8; N], AccessError> {
        let mut bytes = [0; N];
        self.read(offset, &mut bytes)?;
        Ok(bytes)
    }

    /// Copies `source` into shared memory at `offset`.
    ///
    /// Not atomic, like [`SharedMemory::read`]: publish it by an atomic stored with `Release` afterwards.
    /// Until then no peer should write there: some bytes may be written twice.
    ///
    /// # Errors
    ///
    /// - [`AccessError::OutOfBounds`]: the bytes do not lie inside this view; nothing is written.
    #[inline]
    pub fn write(&self, offset: usize, source: &[u8]) -> Result<(), AccessError> {
        let (from, len) = (source.as_ptr(), source.len());
        let to = self.locate(offset, len)?.as_ptr();
        // SAFETY: 1. `locate` has found `len` bytes inside the view, writable by the invariant of `base`;
        // 2. `source` is borrowed, so nobody writes to it, and it is not shared memory (`new`).
        unsafe { copy::copy(to, from, len, Shared::Target, self.strategy) };
        Ok(())
    }

    /// Sets the `len_bytes` bytes at `offset` to `value`.
    ///
    /// # Errors
    ///
    /// - [`AccessError::OutOfBounds`]: the bytes do not lie inside this view; nothing is written.
    pub fn fill(&self, offset: usize, len_bytes: usize, value: u8) -> Result<(), AccessError> {
        let part = self.region(offset, len_bytes)?;
        let block = [value; 256];
        let mut done = 0;
        while done < len_bytes {
            let step = block.len().min(len_bytes - done);
            part.write(done, &block[..step])?;
            done += step;
        }
        Ok(())
    }

    /// Returns the 32-bit word at `offset` as an atomic.
    ///
    /// Its bytes are in the order of this machine; the convention of this
    /// crate is little-endian (`u32::from_le` after a load).
    ///
    /// # Errors
    ///
    /// - [`AccessError::OutOfBounds`]: the word does not lie inside this view.
    /// - [`AccessError::Misaligned`]: the word's address is not a multiple of 4.
    #[inline]
    pub fn atomic_u32(&self, offset: usize) -> Result<&'m AtomicU32, AccessError> {
        let word = self.locate_aligned(offset, 4)?;
        // SAFETY: 1. inside the view and aligned, as just checked; 2. valid for `'m` and free of
        // non-atomic references (`new`); 3. on conflicting accesses see "What Rust defines" above.
        Ok(unsafe { AtomicU32::from_ptr(word.cast()) })
    }

    /// Returns the 64-bit word at `offset` as an atomic.
    ///
    /// Its bytes are in the order of this machine, as for [`SharedMemory::atomic_u32`].
    ///
    /// # Errors
    ///
    /// - [`AccessError::OutOfBounds`]: the word does not lie inside this view.
    /// - [`AccessError::Misaligned`]: the word's address is not a multiple of 8.
    #[cfg(target_has_atomic = "64")]
    #[inline]
    pub fn atomic_u64(&self, offset: usize) -> Result<&'m AtomicU64, AccessError> {
        let word = self.locate_aligned(offset, 8)?;
        // SAFETY: the same three conditions as in `atomic_u32`, with 8 for 4.
        Ok(unsafe { AtomicU64::from_ptr(word.cast()) })
    }

    /// Copies `len` bytes at `offset` to private memory at `to`.
    ///
    /// # Safety
    ///
    /// `to` must be writable for `len` bytes, which nobody else accesses meanwhile.
    #[inline]
    unsafe fn read_raw(&self, offset: usize, to: *mut u8, len: usize) -> Result<(), AccessError> {
        let from = self.locate(offset, len)?.as_ptr();
        // SAFETY: 1. `locate` has found `len` bytes inside the view, readable by the invariant of `base`; 2. the
        // caller promises those at `to`, which are no shared memory, since nobody else accesses them.
        unsafe { copy::copy(to, from, len, Shared::Source, self.strategy) };
        Ok(())
    }

    /// Returns the address of `len_bytes` bytes at `offset`, all inside the view.
    #[inline]
    const fn locate(&self, offset: usize, len_bytes: usize) -> Result<NonNull<u8>, AccessError> {
        let inside = len_bytes <= self.len_bytes && offset <= self.len_bytes - len_bytes;
        if !inside {
            return Err(AccessError::OutOfBounds {
                offset,
                len_bytes,
                available: self.len_bytes,
            });
        }
        let first = self.base.as_ptr().wrapping_add(offset);
        // SAFETY: an address inside mapped memory that starts at a non-null address is not null.
        Ok(unsafe { NonNull::new_unchecked(first) })
    }

    /// Returns the address of a word of `size` bytes at `offset`, inside the view and aligned.
    #[inline]
    fn locate_aligned(&self, offset: usize, size: usize) -> Result<*mut u8, AccessError> {
        let word = self.locate(offset, size)?.as_ptr();
        if word as usize % size != 0 {
            return Err(AccessError::Misaligned {
                offset,
                align: size,
            });
        }
        Ok(word)
    }
}

/// Orders all accesses to shared memory before this before all behind it, for all machines.
///
/// As `fence(SeqCst)`, which is not enough where a machine is emulated.
#[inline]
pub(crate) fn full_fence() {
    processor::full_fence();
}

// SAFETY: the view is an address and a length, valid on every CPU for `'m`.
unsafe impl Send for SharedMemory<'_> {}
// SAFETY: `&SharedMemory` permits only atomics and volatile copies, and every user of this
// memory already has to expect concurrent writers.
unsafe impl Sync for SharedMemory<'_> {}

/// A refused access to shared memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AccessError {
    /// The bytes do not lie inside the view.
    OutOfBounds {
        /// Offset of the first byte.
        offset: usize,
        /// Number of bytes.
        len_bytes: usize,
        /// Length of the view in bytes.
        available: usize,
    },
    /// The address of an atomic word is not a multiple of its size.
    Misaligned {
        /// Offset of the word in the view.
        offset: usize,
        /// Size and required alignment of the word in bytes.
        align: usize,
    },
}

impl fmt::Display for AccessError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::OutOfBounds {
                offset,
                len_bytes,
                available,
            } => write!(
                f,
                "{len_bytes} bytes at offset {offset:#x} are outside the {available} bytes of shared memory"
            ),
            Self::Misaligned { offset, align } => write!(
                f,
                "the word at offset {offset:#x} of shared memory is not aligned to {align} bytes"
            ),
        }
    }
}

#[cfg(test)]
mod tests;
