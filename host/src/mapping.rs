// SPDX-License-Identifier: MIT OR Apache-2.0
//! Shared memory mapped into this process.
#![allow(unsafe_code)]

use std::ffi::c_void;
use std::fmt;
use std::os::fd::AsFd;
use std::ptr::{self, NonNull};
use std::sync::Arc;

use ivshmem::channel::inspect::Source;
use ivshmem::SharedMemory;
use rustix::fs::Stat;
use rustix::io::Errno;
use rustix::mm::{mmap, munmap, MapFlags, ProtFlags};

use crate::size::MIN_BYTES;

/// A mapping of the whole of a shared memory object, removed on drop.
///
/// The server of this crate seals its memory against shrinking. Memory from
/// elsewhere, or in a file, may be cut short by others while it is mapped; an access
/// beyond the new end then ends the process with `SIGBUS`.
#[derive(Debug)]
pub struct Mapping {
    pages: Pages,
    /// Device and inode of the object.
    object: (u64, u64),
}

impl Mapping {
    /// Maps all of the object behind `fd`, readable, writable and shared.
    ///
    /// # Errors
    ///
    /// - [`MapError::TooSmall`]: less than [`MIN_BYTES`], or an object without a size.
    /// - [`MapError::TooLarge`]: more than this process can address.
    /// - [`MapError::Stat`], [`MapError::Map`]: the system refuses.
    pub fn of(fd: impl AsFd) -> Result<Self, MapError> {
        let stat = rustix::fs::fstat(&fd).map_err(MapError::Stat)?;
        Self::part(&fd, 0, size(&stat))
    }

    /// Maps `bytes` bytes at `offset` of the object behind `fd`, which are there.
    ///
    /// # Errors
    ///
    /// As [`Mapping::of`].
    pub(crate) fn part(fd: impl AsFd, offset: u64, bytes: u64) -> Result<Self, MapError> {
        let stat = rustix::fs::fstat(&fd).map_err(MapError::Stat)?;
        if bytes < MIN_BYTES {
            return Err(MapError::TooSmall { bytes });
        }
        Ok(Self {
            pages: Pages::map(fd, offset, bytes, ProtFlags::READ | ProtFlags::WRITE)?,
            object: (stat.st_dev, stat.st_ino),
        })
    }

    /// Returns whether both are of the same object, and of the same size.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        (self.object, self.pages.len_bytes) == (other.object, other.pages.len_bytes)
    }

    /// Returns the mapped memory.
    #[must_use]
    pub fn memory(&self) -> SharedMemory<'_> {
        // SAFETY: 1. the bytes are mapped, by the invariant of `base`, readable and writable, as `of` has asked for, until `drop`,
        // which needs that no borrow of `self` is left; 2. `map` has checked the length; 3. nobody
        // makes references to them: `base` is only used here and in `drop`.
        unsafe { SharedMemory::new(self.pages.base.cast(), self.pages.len_bytes) }
    }
}

impl Mapping {
    /// Returns the mapped memory as a view that is not tied to a borrow, for values that keep the mapping beside it.
    ///
    /// # Safety
    ///
    /// The view, and whatever is made of it, must not be used once the last clone of `this` is dropped.
    pub(crate) unsafe fn lasting_memory(this: &Arc<Self>) -> SharedMemory<'static> {
        // SAFETY: as in `memory`, but that the caller promises the mapping to be there at each use.
        unsafe { SharedMemory::new(this.pages.base.cast(), this.pages.len_bytes) }
    }
}

/// A mapping through which nothing can be written, for [looking into a region](ivshmem::channel::inspect).
///
/// Also of a file that is not of a region's size, say a copy that was cut off. If it is cut short while it is mapped, an access
/// beyond the new end ends the process with `SIGBUS`.
#[derive(Debug)]
pub struct View(Pages);

impl View {
    /// Maps all of the object behind `fd`, readable and shared.
    ///
    /// # Errors
    ///
    /// - [`MapError::Empty`]: it has no bytes, or no size.
    /// - [`MapError::TooLarge`]: more than this process can address.
    /// - [`MapError::Stat`], [`MapError::Map`]: the system refuses.
    pub fn of(fd: impl AsFd) -> Result<Self, MapError> {
        let stat = rustix::fs::fstat(&fd).map_err(MapError::Stat)?;
        match size(&stat) {
            0 => Err(MapError::Empty),
            bytes => Pages::map(fd, 0, bytes, ProtFlags::READ).map(Self),
        }
    }
}

impl Source for View {
    fn len(&self) -> usize {
        self.0.len_bytes
    }

    fn load(&self, offset: usize) -> u64 {
        let is_inside = offset
            .checked_add(8)
            .is_some_and(|end| end <= self.0.len_bytes);
        if !is_inside || !offset.is_multiple_of(8) {
            return 0;
        }
        let word = self.0.base.as_ptr().wrapping_byte_add(offset);
        // No reference to an atomic: that would have to be writable.
        // SAFETY: 1. the word is inside the mapping and aligned, which was checked, as the mapping begins at a page; 2. it is mapped
        // readable, by the invariant of `base`, as long as `self` is borrowed; 3. it lies outside every Rust allocation, where
        // a volatile access may find what others have written meanwhile.
        u64::from_le(unsafe { word.cast::<u64>().read_volatile() })
    }
}

/// Returns the size of an object in bytes.
fn size(stat: &Stat) -> u64 {
    u64::try_from(stat.st_size).unwrap_or(0)
}

/// Pages that are mapped, until they are dropped.
#[derive(Debug)]
struct Pages {
    /// Invariant: start of a mapping of `len_bytes` bytes that belongs to this value alone.
    base: NonNull<c_void>,
    len_bytes: usize,
}

impl Pages {
    /// Maps the `bytes` bytes of an object, more than 0.
    fn map(
        fd: impl AsFd,
        offset: u64,
        bytes: u64,
        protection: ProtFlags,
    ) -> Result<Self, MapError> {
        let len_bytes = usize::try_from(bytes)
            .ok()
            .filter(|&len| isize::try_from(len).is_ok())
            .ok_or(MapError::TooLarge { bytes })?;
        // SAFETY: without MAP_FIXED the kernel chooses addresses that nothing uses.
        let start = unsafe {
            mmap(
                ptr::null_mut(),
                len_bytes,
                protection,
                MapFlags::SHARED,
                &fd,
                offset,
            )
        };
        let start = start.map_err(|error| MapError::Map { bytes, error })?;
        // The kernel gives out no mapping at address 0 unless asked for it.
        let base = NonNull::new(start).ok_or(MapError::Map {
            bytes,
            error: Errno::NOMEM,
        })?;
        Ok(Self { base, len_bytes })
    }
}

impl Drop for Pages {
    fn drop(&mut self) {
        // SAFETY: the mapping belongs to this value alone (invariant of `base`), and views borrow from it.
        let unmapped = unsafe { munmap(self.base.as_ptr(), self.len_bytes) };
        debug_assert!(unmapped.is_ok(), "a mapping of our own can be removed");
    }
}

// SAFETY: a mapping belongs to the process, not to a thread, and can be removed from any.
unsafe impl Send for Pages {}
// SAFETY: `&Pages` permits only to make `SharedMemory`, which is `Sync` itself, and to load words atomically.
unsafe impl Sync for Pages {}

/// A failed attempt to map shared memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum MapError {
    /// The object has no bytes, or no size.
    Empty,
    /// The object is smaller than a page.
    TooSmall {
        /// Its size in bytes.
        bytes: u64,
    },
    /// The object is larger than the address space.
    TooLarge {
        /// Its size in bytes.
        bytes: u64,
    },
    /// The size of the object cannot be told.
    Stat(Errno),
    /// The system refuses to map the object.
    Map {
        /// Its size in bytes.
        bytes: u64,
        /// Why.
        error: Errno,
    },
}

impl fmt::Display for MapError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Empty => write!(f, "the shared memory is empty"),
            Self::TooSmall { bytes } => write!(
                f,
                "the shared memory has {bytes} bytes, fewer than {MIN_BYTES}"
            ),
            Self::TooLarge { bytes } => write!(
                f,
                "the shared memory has {bytes} bytes, more than this process can address"
            ),
            Self::Stat(error) => write!(f, "the size of the shared memory cannot be told: {error}"),
            Self::Map { bytes, error } => {
                write!(f, "cannot map {bytes} bytes of shared memory: {error}")
            }
        }
    }
}

impl std::error::Error for MapError {}
