// SPDX-License-Identifier: MIT OR Apache-2.0
//! This kernel as the side of a party in a region of channels.

use core::fmt;

use ivshmem::{Ivshmem, MmioRegion, PeerId, VectorIndex};
use ivshmem_scenarios::{device, party::Side, Failure, Machine};

use crate::{
    arch::{cpu, time},
    devices::Device,
    interrupts,
    machine::KernelMachine,
    println,
};

/// Vectors with a handler: others spread over them.
const VECTORS: u16 = 2;

/// An attached device, and the machine that counts its interrupts.
#[derive(Debug)]
pub struct Guest<'k> {
    machine: &'k KernelMachine,
    /// The device.
    pub device: Device,
    /// Where it is rung; nothing for an `ivshmem-plain`.
    id: Option<PeerId>,
}

impl<'k> Guest<'k> {
    /// Attaches the machine's first device.
    ///
    /// # Errors
    ///
    /// There is none, or it cannot be attached.
    pub fn attach(machine: &'k KernelMachine) -> Result<Self, Failure> {
        let function = device(machine)?;
        let device = machine.attach(&function, VECTORS)?;
        Ok(Self {
            machine,
            id: device.position().ok(),
            device,
        })
    }

    /// Has `handler` called at each doorbell, with interrupts off; see [`interrupts::set_handler`].
    pub fn on_doorbell(&self, handler: fn(u8)) {
        for vector in 0..VECTORS {
            if let Some(slot) = self.machine.slot(VectorIndex(vector)) {
                interrupts::set_handler(slot, handler);
            }
        }
    }

    /// Returns the ID of the device.
    ///
    /// # Errors
    ///
    /// It has none.
    pub fn id(&self) -> Result<PeerId, Failure> {
        Ok(self.device.position()?)
    }
}

impl<'g> Side for &'g Guest<'_> {
    type Bell = &'g Ivshmem<MmioRegion>;

    fn bell(&self) -> Self::Bell {
        &self.device
    }

    fn device(&self) -> Option<(PeerId, u16)> {
        self.id.map(|id| (id, VECTORS))
    }

    fn doorbells(&self) -> u64 {
        (0..VECTORS)
            .map(|vector| u64::from(self.machine.interrupts(VectorIndex(vector))))
            .sum()
    }

    fn sleep(&self, heard: u64, until_ns: u64) -> Result<(), Failure> {
        cpu::wait_until(until_ns, || self.doorbells() != heard);
        Ok(())
    }

    fn now_ns(&self) -> u64 {
        time::now_ns()
    }

    fn check(&self) -> Result<(), Failure> {
        // Whoever wants a guest to end ends the machine.
        Ok(())
    }

    fn show(&self, line: fmt::Arguments<'_>) {
        println!("{line}");
    }
}
