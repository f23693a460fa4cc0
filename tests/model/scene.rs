// SPDX-License-Identifier: MIT OR Apache-2.0
//! A driven device with a server and a peer, for trials that need just that: [`Scene`].

use ivshmem::pci::Function;
use ivshmem::{PeerId, VectorIndex};
use ivshmem_scenarios::{device, ensure, Failure, Machine};
use libtest_mimic::Failed;

use crate::board::Bus;
use crate::bring_up::MsixControl;
use crate::descriptor::{Eventfd, Shared};
use crate::machine::{Device, ModelMachine};
use crate::setup::{Setup, SIZE, VECTORS};
use crate::table::failed;

/// The vector that devices are rung by; the only one that a line could tell apart anyway.
pub const RUNG: u16 = 0;

/// A device attached, ready, and its interrupts served.
pub struct Scene<'m> {
    pub machine: &'m ModelMachine,
    pub function: Function<'m, Bus>,
    pub device: Device,
    pub own: u16,
    /// The ID of a peer, and its eventfd of vector [`RUNG`].
    pub peer: (u16, Eventfd),
}

/// Sets the scene and plays it.
pub fn scene(
    setup: Setup,
    play: impl FnOnce(Scene<'_>) -> Result<(), Failure>,
) -> Result<(), Failed> {
    let machine = setup.boot(Shared::new(SIZE)?)?;
    Scene::new(&machine).and_then(play).map_err(failed)
}

impl<'m> Scene<'m> {
    fn new(machine: &'m ModelMachine) -> Result<Self, Failure> {
        let peer = machine.hub.peer(VECTORS);
        let event = machine.hub.event(peer, RUNG).ok_or("no peer")?;
        machine.board.settle();
        let function = device(machine)?;
        let device = machine.attach(&function, VECTORS)?;
        device.wait_ready(|| false)?;
        serve(machine, &function, &device)?;
        Ok(Self {
            machine,
            own: device.position()?.0,
            function,
            device,
            peer: (peer, event),
        })
    }

    /// Rings a peer as the driver does, and lets the device take it in.
    pub fn ring(&self, peer: u16) -> Result<(), Failure> {
        self.device.ring(PeerId(peer), VectorIndex(RUNG))?;
        self.machine.board.settle();
        Ok(())
    }

    /// Rings the device as a peer does, and lets it take that in.
    pub fn ring_device(&self) {
        self.machine.hub.ring(self.own, RUNG);
        self.machine.board.settle();
    }

    /// Writes Message Control of the device.
    pub fn set_msix(&self, state: MsixControl) -> Result<(), Failure> {
        self.machine.set_msix(&self.device, &self.function, state)
    }

    /// Returns how many interrupts have been served.
    pub fn heard(&self) -> u32 {
        heard(self.machine, &self.device)
    }

    /// Rings the device, and fails unless that is heard once.
    pub fn is_heard(&self) -> Result<(), Failure> {
        let before = self.heard();
        self.ring_device();
        let more = self.heard() - before;
        ensure(more == 1, format_args!("{more} interrupts, not 1"))
    }
}

/// Has the line of a device served, if it has one.
pub fn serve(
    machine: &ModelMachine,
    function: &Function<'_, Bus>,
    device: &Device,
) -> Result<(), Failure> {
    if let Ok(intx) = device.intx() {
        machine.take_line(device, function)?;
        intx.enable();
    }
    Ok(())
}

/// Returns how many interrupts of a device have been served.
pub fn heard(machine: &ModelMachine, device: &Device) -> u32 {
    if device.intx().is_ok() {
        machine.line(device).taken
    } else {
        machine.interrupts(VectorIndex(RUNG))
    }
}
