// SPDX-License-Identifier: MIT OR Apache-2.0
//! The device itself: [`Ivshmem`], built from [`Parts`] that someone has mapped.

use core::fmt;

use crate::interrupt::MsixTable;
use crate::memory::SharedMemory;
use crate::mmio::Registers;
use crate::registers::{
    doorbell, InterruptBits, PeerId, VectorIndex, DOORBELL, INTERRUPT_MASK, INTERRUPT_STATUS,
    IV_POSITION,
};

/// The mapped parts of a device, as a kernel that does its own PCI hands them over.
#[derive(Debug)]
pub struct Parts<R> {
    /// Revision ID from configuration space.
    pub revision: u8,
    /// BAR 0.
    pub registers: R,
    /// BAR 2.
    pub shared_memory: SharedMemory<'static>,
    /// The MSI-X table, if the device has one.
    pub msix: Option<MsixTable<R>>,
}

/// An ivshmem device.
///
/// All methods take `&self`, take no lock and are safe to call from any CPU and from
/// interrupt handlers, so one value in a `static` serves the whole kernel.
///
/// What the device does *not* tell: who is connected, how many vectors a peer has,
/// whether the server lives, or whether a doorbell was heard. All that has to be agreed on in
/// the shared memory.
#[derive(Debug)]
pub struct Ivshmem<R> {
    parts: Parts<R>,
}

impl<R: Registers> Ivshmem<R> {
    /// Takes over a device.
    ///
    /// # Safety
    ///
    /// - `parts` must all belong to one ivshmem device that no other driver uses.
    /// - They must stay mapped for as long as the returned value lives.
    #[must_use]
    #[allow(unsafe_code)]
    pub const unsafe fn new(parts: Parts<R>) -> Self {
        Self { parts }
    }

    /// Returns the Revision ID: 0 for the device before QEMU 2.6, 1 since.
    #[must_use]
    pub const fn revision(&self) -> u8 {
        self.parts.revision
    }

    /// Returns the shared memory.
    #[must_use]
    pub const fn memory(&self) -> SharedMemory<'_> {
        self.parts.shared_memory
    }

    /// Returns the MSI-X vectors.
    ///
    /// # Errors
    ///
    /// - [`DeviceError::NoInterrupts`]: the device has no MSI-X (`ivshmem-plain`).
    pub fn msix(&self) -> Result<&MsixTable<R>, DeviceError> {
        self.parts.msix.as_ref().ok_or(DeviceError::NoInterrupts)
    }

    /// Returns the own ID, from `IVPosition`.
    ///
    /// # Errors
    ///
    /// - [`DeviceError::NoInterrupts`]: `ivshmem-plain`, whose `IVPosition` reads 0 for everyone.
    /// - [`DeviceError::NotReady`]: revision 0 before the server's shared memory has arrived, or the
    ///   device was unplugged; both read all ones.
    /// - [`DeviceError::BadPosition`]: no ID has this value.
    pub fn position(&self) -> Result<PeerId, DeviceError> {
        self.require_doorbell()?;
        let value = self.parts.registers.read(IV_POSITION);
        match PeerId::from_position(value) {
            Some(peer) => Ok(peer),
            None if value == !0 => Err(DeviceError::NotReady),
            None => Err(DeviceError::BadPosition { value }),
        }
    }

    /// Rings `vector` of `peer`, which may be the own ID.
    ///
    /// One 32-bit store. The device never says whether anybody heard it: a doorbell to a peer
    /// that is not there, or to a vector it does not have, is ignored, and several may
    /// arrive as one interrupt. Store what is to be said in the shared memory before.
    ///
    /// # Errors
    ///
    /// - [`DeviceError::NoInterrupts`]: `ivshmem-plain` has no doorbell.
    /// - [`DeviceError::VectorTooLarge`]: above 255; QEMU would ring another one.
    pub fn ring(&self, peer: PeerId, vector: VectorIndex) -> Result<(), DeviceError> {
        self.require_doorbell()?;
        let value = doorbell(peer, vector).ok_or(DeviceError::VectorTooLarge { vector })?;
        self.parts.registers.write(DOORBELL, value);
        Ok(())
    }

    /// Returns the Interrupt Mask.
    #[must_use]
    pub fn interrupt_mask(&self) -> InterruptBits {
        InterruptBits::from_bits_retain(self.parts.registers.read(INTERRUPT_MASK))
    }

    /// Writes the Interrupt Mask. Set bits let INTx through on revision 0; revision 1 only stores them.
    pub fn set_interrupt_mask(&self, mask: InterruptBits) {
        self.parts.registers.write(INTERRUPT_MASK, mask.bits());
    }

    /// Reads the Interrupt Status **and clears it**: a read of this register has that effect.
    ///
    /// Of use on revision 0 with INTx. With MSI-X it says nothing and costs an exit to the hypervisor.
    #[must_use]
    pub fn take_interrupt_status(&self) -> InterruptBits {
        InterruptBits::from_bits_retain(self.parts.registers.read(INTERRUPT_STATUS))
    }

    /// Writes the Interrupt Status. On revision 0 this raises INTx if the mask lets it.
    pub fn set_interrupt_status(&self, status: InterruptBits) {
        self.parts.registers.write(INTERRUPT_STATUS, status.bits());
    }

    /// Refuses on the one device that is known to have no doorbell. Revision 0 without MSI-X may have INTx
    /// and a server, and does not tell.
    const fn require_doorbell(&self) -> Result<(), DeviceError> {
        if self.parts.msix.is_none() && self.parts.revision > 0 {
            return Err(DeviceError::NoInterrupts);
        }
        Ok(())
    }
}

/// Something that a device cannot do, or not now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DeviceError {
    /// `ivshmem-plain` has neither ID, doorbell nor vectors.
    NoInterrupts,
    /// `IVPosition` reads all ones.
    NotReady,
    /// `IVPosition` reads a value that no ID has.
    BadPosition {
        /// The value read.
        value: u32,
    },
    /// The vector does not fit the doorbell register.
    VectorTooLarge {
        /// The vector asked for.
        vector: VectorIndex,
    },
}

impl fmt::Display for DeviceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoInterrupts => write!(
                f,
                "ivshmem-plain has no id, doorbell or interrupts; use ivshmem-doorbell or poll"
            ),
            Self::NotReady => write!(
                f,
                "the device has no id yet, or is gone (ivposition reads all ones)"
            ),
            Self::BadPosition { value } => {
                write!(f, "ivposition reads {value:#x}, which is no id")
            }
            Self::VectorTooLarge { vector } => {
                write!(f, "vector {vector} cannot be rung, the largest is 255")
            }
        }
    }
}
