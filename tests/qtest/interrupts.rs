// SPDX-License-Identifier: MIT OR Apache-2.0
//! What QEMU's own cases leave out: what becomes of doorbells while the device cannot send messages.
//!
//! The driver's order of steps in `ivshmem::attach` rests on these facts.

use ivshmem::pci::{CommandRegister, Function};
use ivshmem::VectorIndex;
use ivshmem_scenarios::{device, Machine};
use libtest_mimic::Failed;
use xtask::guests::{Place, TestServer};
use xtask::trials::same;

use crate::board::{Board, Ports, Window};
use crate::bring_up::{set_command, Attached, MsixControl};
use crate::cases::attach;
use crate::lab::{on, Lab, Need, SIZE};
use crate::machine::QtestMachine;
use crate::table::failed;

const VECTORS: u16 = 2;
const RUNG: VectorIndex = VectorIndex(0);
const OTHER: VectorIndex = VectorIndex(1);

pub fn trials() -> Vec<Need> {
    vec![
        Need::new("interrupts::rung_before_msix_is_enabled_is_lost", |lab| {
            with_device(lab, |setup| {
                setup.msix(MsixControl::Off)?;
                setup.ring_unheard()?;
                setup.msix(MsixControl::Live)?;
                setup.still_silent()
            })
        }),
        Need::new("interrupts::rung_under_function_mask_is_kept", |lab| {
            with_device(lab, |setup| {
                setup.msix(MsixControl::Masked)?;
                setup.ring_unheard()?;
                let msix = setup.device.msix()?;
                same("pending", msix.is_pending(RUNG)?, true)?;
                setup.msix(MsixControl::Live)?;
                setup.arrives(RUNG)?;
                same("pending after delivery", msix.is_pending(RUNG)?, false)
            })
        }),
        Need::new("interrupts::rung_without_bus_master_is_lost", |lab| {
            with_device(lab, |setup| {
                let command = setup.function.command();
                let address = setup.function.address();
                let ports = &setup.machine.ports;
                set_command(ports, address, command - CommandRegister::BUS_MASTER_ENABLE);
                setup.ring_unheard()?;
                set_command(ports, address, command);
                setup.still_silent()
            })
        }),
        Need::new("interrupts::many_rings_of_a_masked_vector_are_one", |lab| {
            with_device(lab, |setup| {
                let msix = setup.device.msix()?;
                msix.mask(RUNG)?;
                for _ in 0..100 {
                    setup.ring_unheard()?;
                }
                msix.unmask(RUNG)?;
                setup.arrives(RUNG)?;
                setup.board.settle();
                same("interrupts", setup.machine.interrupts(RUNG), 1)
            })
        }),
        Need::new(
            "interrupts::a_dropped_driver_leaves_no_vector_live",
            dropped,
        ),
    ]
}

/// An attached device, alone on its server, with messages for all vectors.
struct Setup<'m> {
    board: &'m Board,
    machine: &'m QtestMachine,
    function: Function<'m, Ports>,
    device: Attached<Window>,
}

fn with_device(
    lab: &Lab,
    trial: impl FnOnce(Setup<'_>) -> Result<(), Failed>,
) -> Result<(), Failed> {
    let server = TestServer::start(SIZE, VECTORS)?;
    on([server.doorbell(lab.guest(), Place::Q35)], |[board]| {
        let machine = QtestMachine::new(board, server.server.memory())?;
        trial(Setup {
            board,
            machine: &machine,
            function: device(&machine).map_err(failed)?,
            device: attach(&machine, VECTORS)?,
        })
    })
}

impl Setup<'_> {
    fn msix(&self, state: MsixControl) -> Result<(), Failed> {
        let set = self
            .device
            .set_msix(&self.machine.ports, &self.function, state);
        set.map_err(|failure| failure.as_str().into())
    }

    /// Rings, lets QEMU take it in, and sees that nothing comes.
    fn ring_unheard(&self) -> Result<(), Failed> {
        self.device.ring(self.device.position()?, RUNG)?;
        self.board.settle();
        same("interrupts", self.machine.interrupts(RUNG), 0)
    }

    /// Sees that nothing has come of what was rung, while the device can be rung again.
    fn still_silent(&self) -> Result<(), Failed> {
        let own = self.device.position()?;
        self.device.ring(own, OTHER)?;
        self.arrives(OTHER)?;
        let pending = self.device.msix()?.is_pending(RUNG)?;
        same("pending", pending, false)?;
        same("interrupts", self.machine.interrupts(RUNG), 0)?;
        self.device.ring(own, RUNG)?;
        self.arrives(RUNG)
    }

    fn arrives(&self, vector: VectorIndex) -> Result<(), Failed> {
        let came = self
            .machine
            .wait(&mut || self.machine.interrupts(vector) > 0);
        same("an interrupt comes", came, true)
    }
}

/// Dropping the driver silences the device, also while its peers go on ringing.
fn dropped(lab: &Lab) -> Result<(), Failed> {
    let server = TestServer::start(SIZE, VECTORS)?;
    let guests = ["first", "second"].map(|name| server.doorbell(lab.guest().name(name), Place::Pc));
    on(guests, |[first, second]| {
        let one = QtestMachine::new(first, server.server.memory())?;
        let two = QtestMachine::new(second, server.server.memory())?;
        let (victim, peer) = (attach(&one, VECTORS)?, attach(&two, VECTORS)?);
        let id = victim.position()?;
        let came = |count| one.wait(&mut || one.interrupts(RUNG) >= count);
        peer.ring(id, RUNG)?;
        same("an interrupt comes", came(1), true)?;
        drop(victim);
        peer.ring(id, RUNG)?;
        // Both main loops have it behind them: the ringing machine's and the rung one's.
        second.settle();
        first.settle();
        same("interrupts", one.interrupts(RUNG), 1)?;
        // It was noted while the vector was masked, and is told to the next driver.
        let next = attach(&one, VECTORS)?;
        same("the doorbell in between comes", came(2), true)?;
        same("pending", next.msix()?.is_pending(RUNG)?, false)?;
        peer.ring(id, RUNG)?;
        same("an interrupt comes again", came(3), true)
    })
}
