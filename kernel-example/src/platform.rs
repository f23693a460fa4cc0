// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the driver asks of a kernel, answered by this one.

use core::{fmt, ptr::NonNull};

use ivshmem::{CachePolicy, MsiMessage, PhysRegion, Platform, VectorIndex};

use crate::{
    arch::apic,
    interrupts::{self, NoSlots},
    memory::{self, MapError},
};

/// The kernel's services for attaching one device.
#[derive(Debug)]
pub struct KernelPlatform {
    /// The slot of the device's vector 0.
    first_slot: u8,
    vectors: u8,
    apic_id: u8,
}

impl KernelPlatform {
    /// Takes interrupts for the first `max_vectors` entries of a device's MSI-X table; the
    /// others will stay masked.
    ///
    /// # Errors
    ///
    /// - [`PlatformError::NoSlots`]: the kernel has fewer left.
    /// - [`PlatformError::ApicId`]: messages cannot reach this processor.
    pub fn new(max_vectors: u8) -> Result<Self, PlatformError> {
        let id = apic::id();
        Ok(Self {
            apic_id: u8::try_from(id).map_err(|_| PlatformError::ApicId { id })?,
            first_slot: interrupts::allocate(max_vectors).map_err(PlatformError::NoSlots)?,
            vectors: max_vectors,
        })
    }

    /// Returns the slot of a vector of the device, for [`interrupts::count`] and
    /// [`interrupts::set_handler`], or nothing if the vector stays masked.
    pub fn slot(&self, vector: VectorIndex) -> Option<u8> {
        let index = u8::try_from(vector.0).ok()?;
        (index < self.vectors).then(|| self.first_slot + index)
    }
}

// SAFETY: `map` gives memory in a window that nothing else uses, mapped until `unmap`, and
// makes no reference to it; `msi` gives messages to the local APIC whose vectors have
// handlers for good.
unsafe impl Platform for KernelPlatform {
    type Error = PlatformError;

    fn map(&mut self, region: PhysRegion, cache: CachePolicy) -> Result<NonNull<u8>, Self::Error> {
        memory::map(region, cache).map_err(PlatformError::Map)
    }

    unsafe fn unmap(&mut self, address: NonNull<u8>, region: PhysRegion) {
        // SAFETY: the caller gives the same guarantees.
        unsafe { memory::unmap(address, region) };
    }

    fn msi(&mut self, vector: VectorIndex) -> Result<Option<MsiMessage>, Self::Error> {
        Ok(self
            .slot(vector)
            .and_then(interrupts::vector)
            .and_then(|vector| MsiMessage::x86(self.apic_id, vector)))
    }
}

/// Why the kernel cannot serve a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PlatformError {
    /// A region cannot be mapped.
    Map(MapError),
    /// Too few interrupts are left.
    NoSlots(NoSlots),
    /// The local APIC's number does not fit into a message.
    ApicId {
        /// The number.
        id: u32,
    },
}

impl fmt::Display for PlatformError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Map(error) => error.fmt(f),
            Self::NoSlots(error) => error.fmt(f),
            Self::ApicId { id } => write!(
                f,
                "local APIC {id} is above 255, where no message interrupt reaches it"
            ),
        }
    }
}
