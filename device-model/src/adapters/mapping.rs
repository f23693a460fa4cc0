// SPDX-License-Identifier: MIT OR Apache-2.0
//! Shared memory mapped into this process: [`Mapping`].

use std::fmt;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::Ordering;

use rustix::io::Errno;
use vm_memory::mmap::MmapRegionError;
use vm_memory::{AtomicAccess, Bytes, FileOffset, MmapRegion, VolatileMemory, VolatileSlice};

use super::Fd;
use crate::{Descriptor, HostError, Memory};

/// The beginning of a shared memory object, mapped readable, writable and shared until drop.
///
/// Aligned accesses of 1, 2, 4 and 8 bytes are one access of the processor; others are copied piece by piece, and
/// others who look meanwhile may see a part.
///
/// # Files that shrink
///
/// Whoever may write to the file behind it may also cut it short, unless it is a memfd that is sealed against that
/// (`F_SEAL_SHRINK`), as the server of `ivshmem-host` makes it. An access beyond the new end ends this process by
/// `SIGBUS`, with all devices in it; QEMU does the same. Where that is a danger, insist on the seal, or give
/// each device a process of its own.
#[derive(Debug)]
pub struct Mapping {
    region: MmapRegion,
}

impl Mapping {
    /// Maps the first `len_bytes` bytes of `memory`.
    ///
    /// # Errors
    ///
    /// - [`MapError::TooSmall`]: it has fewer, or it is no memory.
    /// - [`MapError::TooLarge`]: more than this process can address.
    /// - [`MapError::System`]: the system refuses, for example because `len_bytes` is 0.
    pub fn of(memory: &Fd, len_bytes: u64) -> Result<Self, MapError> {
        let has = memory.len_bytes().unwrap_or(0);
        if has < len_bytes {
            return Err(MapError::TooSmall {
                has,
                needs: len_bytes,
            });
        }
        let len = usize::try_from(len_bytes)
            .ok()
            .filter(|&len| isize::try_from(len).is_ok())
            .ok_or(MapError::TooLarge { bytes: len_bytes })?;
        let file = FileOffset::from_arc(memory.file().clone(), 0);
        let region = MmapRegion::from_file(file, len).map_err(|error| match error {
            // Cut short since it was looked at.
            MmapRegionError::MappingPastEof => MapError::TooSmall {
                has: memory.file().metadata().map_or(0, |now| now.len()),
                needs: len_bytes,
            },
            error => MapError::System {
                bytes: len_bytes,
                errno: errno_of(error),
            },
        })?;
        Ok(Self { region })
    }

    /// Returns the memory for the hypervisor to map into the guest, and for programs that look on.
    ///
    /// It is where it is for as long as this `Mapping` lives, wherever that is moved to. The one of an
    /// [`Attachment`](super::Attachment) ends when the device is unplugged or dropped, and when a server of QEMU 2.3 sends another
    /// memory: [`Wiring::memory`](super::Wiring::memory) is told before, so that the hypervisor can let go of it.
    #[must_use]
    pub const fn region(&self) -> &MmapRegion {
        &self.region
    }

    /// Returns the file behind it.
    #[must_use]
    pub fn file(&self) -> Option<BorrowedFd<'_>> {
        self.region.file_offset().map(|file| file.file().as_fd())
    }
}

impl Mapping {
    /// Returns `len` bytes from `offset`, or nothing if they are not inside, which the device has checked.
    fn slice(&self, offset: u64, len: usize) -> Option<VolatileSlice<'_>> {
        let offset = usize::try_from(offset).ok()?;
        self.region.get_slice(offset, len).ok()
    }
}

/// Reads in one access, if `slice` is aligned for it. The order is the one that loads of x86 have anyway.
fn load<T: AtomicAccess>(slice: &VolatileSlice<'_>) -> Option<T> {
    slice.load(0, Ordering::Acquire).ok()
}

/// Writes in one access, if `slice` is aligned for it.
fn store<T: AtomicAccess>(slice: &VolatileSlice<'_>, value: T) -> Option<()> {
    slice.store(value, 0, Ordering::Release).ok()
}

impl Memory for Mapping {
    fn len_bytes(&self) -> u64 {
        self.region.len() as u64
    }

    fn read(&self, offset: u64, bytes: &mut [u8]) {
        let Some(slice) = self.slice(offset, bytes.len()) else {
            return;
        };
        let value = match bytes.len() {
            1 => load::<u8>(&slice).map(u64::from),
            2 => load::<u16>(&slice).map(|value| u16::from_le(value).into()),
            4 => load::<u32>(&slice).map(|value| u32::from_le(value).into()),
            8 => load::<u64>(&slice).map(u64::from_le),
            _ => None,
        };
        match value {
            Some(value) => bytes
                .iter_mut()
                .zip(value.to_le_bytes())
                .for_each(|(byte, part)| *byte = part),
            None => {
                slice.copy_to(bytes);
            }
        }
    }

    fn write(&self, offset: u64, bytes: &[u8]) {
        let Some(slice) = self.slice(offset, bytes.len()) else {
            return;
        };
        let done = match *bytes {
            [a] => store(&slice, a),
            [a, b] => store(&slice, u16::from_ne_bytes([a, b])),
            [a, b, c, d] => store(&slice, u32::from_ne_bytes([a, b, c, d])),
            [a, b, c, d, e, f, g, h] => store(&slice, u64::from_ne_bytes([a, b, c, d, e, f, g, h])),
            _ => None,
        };
        if done.is_none() {
            slice.copy_from(bytes);
        }
    }
}

/// Returns the number of an error of the memory library. Its own are about arguments.
fn errno_of(error: MmapRegionError) -> i32 {
    match error {
        MmapRegionError::Mmap(error) => error.raw_os_error(),
        _ => None,
    }
    .unwrap_or(Errno::INVAL.raw_os_error())
}

/// A failed attempt to map shared memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum MapError {
    /// It is smaller than what is to be mapped.
    TooSmall {
        /// Its size in bytes.
        has: u64,
        /// What is to be mapped, in bytes.
        needs: u64,
    },
    /// It is larger than the address space.
    TooLarge {
        /// What is to be mapped, in bytes.
        bytes: u64,
    },
    /// The system refuses.
    System {
        /// What is to be mapped, in bytes.
        bytes: u64,
        /// Why, as in `errno`.
        errno: i32,
    },
}

impl fmt::Display for MapError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::TooSmall { has, needs } => {
                write!(f, "the shared memory has {has} bytes, fewer than {needs}")
            }
            Self::TooLarge { bytes } => write!(
                f,
                "{bytes} bytes of shared memory are more than this process can address"
            ),
            Self::System { bytes, errno } => write!(
                f,
                "cannot map {bytes} bytes of shared memory: {}",
                io::Error::from_raw_os_error(errno)
            ),
        }
    }
}

impl core::error::Error for MapError {}

impl From<MapError> for HostError {
    fn from(error: MapError) -> Self {
        Self {
            errno: match error {
                MapError::TooSmall { .. } => Errno::NXIO.raw_os_error(),
                MapError::TooLarge { .. } => Errno::NOMEM.raw_os_error(),
                MapError::System { errno, .. } => errno,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fs::{ftruncate, memfd_create, MemfdFlags};

    fn memory(len_bytes: u64) -> Fd {
        let file = memfd_create("memory", MemfdFlags::CLOEXEC).unwrap();
        ftruncate(&file, len_bytes).unwrap();
        Fd::new(file).unwrap()
    }

    #[test]
    fn what_one_mapping_writes_another_reads() {
        let file = memory(8192);
        let (ours, theirs) = (
            Mapping::of(&file, 8192).unwrap(),
            Mapping::of(&file, 4096).unwrap(),
        );
        assert_eq!((ours.len_bytes(), theirs.len_bytes()), (8192, 4096));
        for (offset, len) in [
            (0, 1),
            (2, 2),
            (4, 4),
            (8, 8),
            (17, 8),
            (33, 2),
            (35, 5),
            (100, 64),
        ] {
            let bytes: Vec<u8> = (1..=len).collect();
            ours.write(offset, &bytes);
            let mut seen = vec![0; bytes.len()];
            theirs.read(offset, &mut seen);
            assert_eq!(seen, bytes, "{len} bytes at {offset}");
        }
    }

    #[test]
    fn an_access_outside_does_nothing() {
        let memory = Mapping::of(&memory(4096), 4096).unwrap();
        let mut bytes = [7; 8];
        for offset in [4089, 4096, u64::MAX - 3, u64::MAX] {
            memory.write(offset, &[1; 8]);
            memory.read(offset, &mut bytes);
        }
        assert_eq!(bytes, [7; 8]);
        memory.read(4088, &mut bytes);
        assert_eq!(bytes, [0; 8]);
    }

    #[test]
    fn what_cannot_be_mapped_is_named() {
        let few = memory(4096);
        for (len, error) in [
            (
                4097,
                MapError::TooSmall {
                    has: 4096,
                    needs: 4097,
                },
            ),
            (
                0,
                MapError::System {
                    bytes: 0,
                    errno: Errno::INVAL.raw_os_error(),
                },
            ),
        ] {
            assert_eq!(Mapping::of(&few, len).unwrap_err(), error);
        }
        let huge = memory(i64::MAX as u64);
        assert!(matches!(
            Mapping::of(&huge, i64::MAX as u64),
            Err(MapError::System { .. })
        ));
    }
}
