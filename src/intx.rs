// SPDX-License-Identifier: MIT OR Apache-2.0
//! INTx of the device before QEMU 2.6: a level-triggered line that other devices may share.
//!
//! The line is up while `status AND mask` is not zero. Two rules follow from what the
//! historic sources do with the status (QEMU 2.3 and 2.5-dev store the low byte
//! of the event counter in it, and fixed that to 1 later):
//!
//! - Set the mask to all ones. Two doorbells that coalesce give status 2, which a mask of 1 would not let through.
//! - Any bit is an event, and 256 coalesced doorbells give none: look at the shared memory now and then.

use core::sync::atomic::{AtomicU32, Ordering};

use crate::mmio::Registers;
use crate::registers::{InterruptStatus, DOORBELL, INTERRUPT_MASK, INTERRUPT_STATUS};

/// The INTx line of a device, from [`Ivshmem::intx`](crate::Ivshmem::intx).
#[derive(Clone, Copy, Debug)]
pub struct Intx<'d, R> {
    registers: &'d R,
    /// What was last written to the mask.
    mask: &'d AtomicU32,
}

impl<'d, R: Registers> Intx<'d, R> {
    pub(crate) const fn new(registers: &'d R, mask: &'d AtomicU32) -> Self {
        Self { registers, mask }
    }

    /// Lets the line go up: sets every bit of the mask. Look at the shared memory afterwards.
    pub fn enable(&self) {
        self.set_mask(InterruptStatus::all());
    }

    /// Keeps the line down: clears the mask. Events are noted in the status meanwhile.
    pub fn disable(&self) {
        self.set_mask(InterruptStatus::empty());
    }

    /// Returns the Interrupt Mask.
    #[must_use]
    pub fn mask(&self) -> InterruptStatus {
        InterruptStatus::from_bits_retain(self.registers.read(INTERRUPT_MASK))
    }

    /// Writes the Interrupt Mask.
    pub fn set_mask(&self, mask: InterruptStatus) {
        self.mask.store(mask.bits(), Ordering::Relaxed);
        self.registers.write(INTERRUPT_MASK, mask.bits());
    }

    /// Asks in an interrupt handler whether this device raised the line, and takes the line down again:
    /// reading Interrupt Status clears it. `None`: another device on the line did. While this one is
    /// [disabled](Self::disable) it raises nothing, and what is noted in its status is left there.
    #[must_use]
    pub fn acknowledge(&self) -> Option<InterruptStatus> {
        // Reading the mask costs an exit, so only who has not set it itself does: a mask outlives resets (QEMU 2.3).
        if self.mask.load(Ordering::Relaxed) == 0 && self.mask().is_empty() {
            return None;
        }
        let status = self.registers.read(INTERRUPT_STATUS);
        // A device that is gone reads all ones everywhere and raises nothing.
        if status == 0 || status == !0 && self.registers.read(DOORBELL) == !0 {
            return None;
        }
        Some(InterruptStatus::from_bits_retain(status))
    }

    /// Writes the Interrupt Status, which raises the line if the mask lets it: a way to test the path of an interrupt.
    pub fn raise(&self, status: InterruptStatus) {
        self.registers.write(INTERRUPT_STATUS, status.bits());
    }
}
