// SPDX-License-Identifier: MIT OR Apache-2.0
//! The rules that properties keep, each alone and with the shared memory they meet.

use super::{Kind, Properties, PropertyError, Role, Source};
use crate::Generation;

/// The most vectors of the modern device: a table of MSI-X (PCI 3.0, 6.8.2.3).
const MSIX_VECTORS: u32 = 2048;

/// The most vectors that QEMU had a table for at the time of the historic device.
const HISTORIC_VECTORS: u32 = 128;

/// The most vectors of `ivshmem-flat`.
pub(super) const FLAT_VECTORS: u32 = 64;

/// The unit of `size`.
pub(super) const MIB: u64 = 1 << 20;

/// The least that QEMU maps.
const PAGE_BYTES: u64 = 4096;

/// What the character device is that stands for the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ChardevKind {
    /// The client's side of a Unix socket.
    UnixSocket,
    /// Anything else.
    Other,
}

impl Properties {
    /// Checks all rules that can be checked before there is any memory.
    ///
    /// A historic device's `size` is in units of a MiB and a power of two, less than 4 GiB with `use64` off; QEMU 2.3 let 0 pass as one. It has 1 to
    /// 128 vectors, `ivshmem-doorbell` 1 to 2048 (QEMU 7.2) and `ivshmem-flat` 1 to 64 (QEMU 10.0).
    ///
    /// # Errors
    ///
    /// - [`PropertyError::NotOfGeneration`], [`NoSource`](PropertyError::NoSource),
    ///   [`BadSize`](PropertyError::BadSize), [`BadVectors`](PropertyError::BadVectors),
    ///   [`IoeventfdWithoutMsi`](PropertyError::IoeventfdWithoutMsi), [`AutoRole`](PropertyError::AutoRole).
    pub fn check(&self) -> Result<(), PropertyError> {
        if !self.kind.is_of(self.generation) {
            return Err(PropertyError::NotOfGeneration {
                kind: self.kind,
                generation: self.generation,
            });
        }
        self.check_source()?;
        match self.kind {
            Kind::Legacy => self.check_legacy(),
            Kind::Plain => Ok(()),
            Kind::Doorbell => self.check_vectors(MSIX_VECTORS),
            Kind::Flat => self.check_flat(),
        }
    }

    /// Checks that the device takes a character device of this kind for its server.
    ///
    /// QEMU 2.3 passed over one that was no Unix socket as if there were none; QEMU 2.5 refused it; the modern
    /// device takes any.
    ///
    /// # Errors
    ///
    /// - [`PropertyError::NoSource`]: it is none for QEMU 2.3.
    /// - [`PropertyError::NotASocket`]: it is none for QEMU 2.5.
    pub const fn check_chardev(&self, chardev: ChardevKind) -> Result<(), PropertyError> {
        match (self.generation, &self.source, chardev) {
            (Generation::V2_3, Source::Chardev(_), ChardevKind::Other) => {
                Err(PropertyError::NoSource { kind: self.kind })
            }
            (Generation::V2_5, Source::Chardev(_), ChardevKind::Other) => {
                Err(PropertyError::NotASocket)
            }
            _ => Ok(()),
        }
    }

    /// Returns how many bytes of a shared memory of `memory_bytes` bytes the device shows.
    ///
    /// # Errors
    ///
    /// - [`PropertyError::MemoryTooSmall`]: `ivshmem` is larger.
    /// - [`PropertyError::BadMemory`]: `ivshmem-plain` or `ivshmem-doorbell` would have a BAR of a size that
    ///   there is not, on which QEMU 7.2 aborts.
    /// - [`PropertyError::MemoryDiffers`]: `ivshmem-flat` is larger or smaller.
    pub const fn memory_size(&self, memory_bytes: u64) -> Result<u64, PropertyError> {
        let size_bytes = self.size_bytes;
        match self.kind {
            Kind::Legacy if memory_bytes < size_bytes => Err(PropertyError::MemoryTooSmall {
                memory_bytes,
                size_bytes,
            }),
            Kind::Legacy => Ok(size_bytes),
            Kind::Plain | Kind::Doorbell => {
                if memory_bytes < PAGE_BYTES || !memory_bytes.is_power_of_two() {
                    return Err(PropertyError::BadMemory { memory_bytes });
                }
                Ok(memory_bytes)
            }
            Kind::Flat if memory_bytes != size_bytes => Err(PropertyError::MemoryDiffers {
                memory_bytes,
                size_bytes,
            }),
            Kind::Flat => Ok(size_bytes),
        }
    }

    /// A source without a name is no source, in QEMU 7.2 as well.
    fn check_source(&self) -> Result<(), PropertyError> {
        let name = match (self.kind, &self.source) {
            (Kind::Legacy, Source::Shm(name) | Source::Chardev(name))
            | (Kind::Plain, Source::Memdev(name))
            | (Kind::Doorbell | Kind::Flat, Source::Chardev(name)) => name.as_str(),
            _ => "",
        };
        if name.is_empty() {
            return Err(PropertyError::NoSource { kind: self.kind });
        }
        Ok(())
    }

    fn check_legacy(&self) -> Result<(), PropertyError> {
        let size_bytes = self.size_bytes;
        let nothing = size_bytes == 0 && self.generation == Generation::V2_3;
        let too_large = !self.use64 && size_bytes > u64::from(u32::MAX);
        if !nothing && (size_bytes < MIB || !size_bytes.is_power_of_two() || too_large) {
            return Err(PropertyError::BadSize {
                kind: self.kind,
                size_bytes,
            });
        }
        if self.ioeventfd && !self.msi {
            return Err(PropertyError::IoeventfdWithoutMsi);
        }
        if self.role == Role::Auto {
            return Err(PropertyError::AutoRole);
        }
        self.check_vectors(HISTORIC_VECTORS)
    }

    /// `shmem-size` is a number of 32 bits in QEMU. A size of 0 is none that memory can have.
    fn check_flat(&self) -> Result<(), PropertyError> {
        if self.size_bytes == 0 || self.size_bytes > u64::from(u32::MAX) {
            return Err(PropertyError::BadSize {
                kind: self.kind,
                size_bytes: self.size_bytes,
            });
        }
        self.check_vectors(FLAT_VECTORS)
    }

    const fn check_vectors(&self, most: u32) -> Result<(), PropertyError> {
        let vectors = self.vectors;
        if vectors == 0 || vectors > most {
            return Err(PropertyError::BadVectors { vectors, most });
        }
        Ok(())
    }
}

impl Kind {
    /// Returns whether there is such a device in this generation.
    #[must_use]
    pub fn is_of(self, generation: Generation) -> bool {
        (self == Self::Legacy) == generation.is_historic()
    }
}

#[cfg(test)]
#[path = "check_tests.rs"]
mod tests;
