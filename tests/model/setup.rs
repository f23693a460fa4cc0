// SPDX-License-Identifier: MIT OR Apache-2.0
//! The devices that the driver is tried on: [`Setup`].

use std::rc::Rc;

use ivshmem_device::{Generation, Properties, Source};
use libtest_mimic::Failed;

use crate::board::Board;
use crate::course::Course;
use crate::descriptor::Shared;
use crate::hub::{Hub, Memory};
use crate::machine::ModelMachine;
use crate::slot::Slot;

/// Size of the shared memory, the least that a historic device has.
pub const SIZE: u64 = 1 << 20;
pub const VECTORS: u16 = 4;
/// The number of the first device on the bus; a second one is next to it.
pub const FIRST: u8 = 2;

/// What a device is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flavour {
    /// `ivshmem` with `shm=`: no server.
    LegacyShm(Generation),
    /// `ivshmem` with `msi=off`.
    LegacyLine(Generation),
    /// `ivshmem` with MSI-X.
    LegacyMsix(Generation),
    Plain,
    Doorbell,
}

/// A machine with one device or more of a flavour.
#[derive(Clone, Copy, Debug)]
pub struct Setup {
    pub flavour: Flavour,
    /// The ID that the server gives its first client. 0 is special to the driver of a device with INTx.
    pub id: u16,
    pub devices: u8,
    pub memory: Memory,
    pub course: Course,
}

impl Setup {
    pub const fn new(flavour: Flavour) -> Self {
        Self {
            flavour,
            id: 0,
            devices: 1,
            memory: Memory::AtOnce,
            course: Course::Prompt,
        }
    }

    /// Returns every flavour that is a PCI device.
    pub fn flavours() -> impl Iterator<Item = Flavour> {
        let historic = [Generation::V2_3, Generation::V2_5].into_iter();
        let legacy = [Flavour::LegacyShm, Flavour::LegacyLine, Flavour::LegacyMsix];
        historic
            .flat_map(move |generation| legacy.map(|flavour| flavour(generation)))
            .chain([Flavour::Plain, Flavour::Doorbell])
    }

    /// Plugs the devices in, and powers the machine on. A modern device has its memory by now; a
    /// historic one gets it when time passes.
    pub fn power_on(self, memory: &'static Shared) -> Result<ModelMachine, Failed> {
        let board = Board::new(self.course);
        let hub = Hub::new(self.id, memory);
        for number in (FIRST..).take(self.devices.into()) {
            self.plug(&board, &hub, memory, number)?;
        }
        Ok(ModelMachine::new(&board, &hub, memory).arguments(format!("id={}", self.id)))
    }

    /// Plugs a device in.
    pub fn plug(
        self,
        board: &Board,
        hub: &Rc<Hub>,
        memory: &'static Shared,
        number: u8,
    ) -> Result<(), Failed> {
        let properties = self.flavour.properties();
        let mut slot = Slot::new(&properties, hub, memory, self.memory, self.course)?;
        if !slot.device.is_realized() {
            slot.receive()?;
        }
        if !slot.device.is_realized() {
            return Err("the device is not realized, so no guest may see it".into());
        }
        board.plug(number, slot);
        Ok(())
    }

    /// Powers the machine on, and lets firmware run.
    pub fn boot(self, memory: &'static Shared) -> Result<ModelMachine, Failed> {
        let machine = self.power_on(memory)?;
        machine.assign().map_err(|error| error.to_string())?;
        Ok(machine)
    }
}

impl Flavour {
    pub fn name(self) -> String {
        match self {
            Self::LegacyShm(generation) => format!("{generation}-shm"),
            Self::LegacyLine(generation) => format!("{generation}-intx"),
            Self::LegacyMsix(generation) => format!("{generation}-msix"),
            Self::Plain => "plain".into(),
            Self::Doorbell => "doorbell".into(),
        }
    }

    /// Returns whether a server gives the device an ID, by which others ring it.
    pub const fn has_server(self) -> bool {
        !matches!(self, Self::LegacyShm(_) | Self::Plain)
    }

    pub const fn has_msix(self) -> bool {
        matches!(self, Self::LegacyMsix(_) | Self::Doorbell)
    }

    /// Returns whether it is set up while the guest runs.
    pub const fn is_late(self) -> bool {
        matches!(self, Self::LegacyLine(_) | Self::LegacyMsix(_))
    }

    pub fn properties(self) -> Properties {
        let server = || Source::Chardev("server".into());
        let legacy = |generation, source| Properties {
            size_bytes: SIZE,
            vectors: VECTORS.into(),
            ..Properties::legacy(generation, source)
        };
        match self {
            Self::LegacyShm(generation) => Properties {
                // The memory above 4 GiB, and below.
                use64: generation == Generation::V2_3,
                ..legacy(generation, Source::Shm("memory".into()))
            },
            Self::LegacyLine(generation) => Properties {
                msi: false,
                ..legacy(generation, server())
            },
            Self::LegacyMsix(generation) => Properties {
                // With and without: only with it does the device forget peers that leave.
                ioeventfd: generation == Generation::V2_5,
                ..legacy(generation, server())
            },
            Self::Plain => Properties::plain("memory"),
            Self::Doorbell => Properties {
                vectors: VECTORS.into(),
                ..Properties::doorbell("server")
            },
        }
    }
}
