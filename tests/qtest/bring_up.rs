// SPDX-License-Identifier: MIT OR Apache-2.0
//! The way from a PCI function to a driven device for a kernel that does it itself, by [`Parts`].
//!
//! The steps and their order are those of `ivshmem::attach`, which maps BARs into its own address
//! space and so cannot reach the device of another process.

use std::ops::Deref;
use std::rc::Rc;

use ivshmem::pci::{probe, CommandRegister, Function, MsixResources, PciAddress, Resources};
use ivshmem::{
    Flavour, Interrupts, Ivshmem, MsiMessage, MsixTable, Parts, Quirks, SharedMemory, VectorIndex,
};
use ivshmem_scenarios::{ensure, ensure_eq, Failure};

use crate::board::{Board, Ports, Window};

const COMMAND: u16 = 0x04;
/// Message Control bits (PCI 3.0, 6.8.2.3), as they stand in the capability's first word.
const MSIX_ENABLE: u32 = 1 << 31;
const MSIX_FUNCTION_MASK: u32 = 1 << 30;

/// A device that [`attach`] has brought up.
pub struct Attached {
    device: Ivshmem<Window>,
    pub resources: Resources,
    saved: Vec<Saved>,
}

/// A word of configuration space, as it was.
struct Saved {
    offset: u16,
    value: u32,
}

impl Deref for Attached {
    type Target = Ivshmem<Window>;

    fn deref(&self) -> &Self::Target {
        &self.device
    }
}

/// Brings up the device at `function`, whose memory is `memory`; `message` gives the vectors' messages.
#[allow(unsafe_code)]
pub fn attach(
    ports: &Ports,
    function: &Function<'_, Ports>,
    memory: SharedMemory<'static>,
    message: impl Fn(VectorIndex) -> Option<MsiMessage>,
) -> Result<Attached, Failure> {
    let resources = probe(function)?;
    let Resources {
        address,
        shared_memory,
        ..
    } = resources;
    ensure_eq("bar 2", shared_memory.len, memory.len() as u64)?;
    ensure_eq("revision", resources.revision, 1)?;
    let registers = resources.registers.ok_or("no register bar")?;
    let saved = [Some(COMMAND), resources.msix.as_ref().map(control)]
        .into_iter()
        .flatten()
        .map(|offset| save(function, offset))
        .collect();

    let mut command = function.command() | CommandRegister::MEMORY_ENABLE;
    set_command(ports, address, command);
    let interrupts = match &resources.msix {
        Some(msix) => Interrupts::Msix(start_msix(ports, function, msix, message)?),
        None => Interrupts::None,
    };
    command |= CommandRegister::BUS_MASTER_ENABLE | CommandRegister::INTERRUPT_DISABLE;
    set_command(ports, address, command);
    if let Some(msix) = &resources.msix {
        set_msix(ports, function, msix, MsixControl::Live);
    }
    let parts = Parts {
        flavour: match interrupts {
            Interrupts::None => Flavour::Plain,
            _ => Flavour::Doorbell,
        },
        registers: Some(Window::new(&ports.0, registers.start)),
        shared_memory: memory,
        interrupts,
        quirks: Quirks::empty(),
    };
    Ok(Attached {
        // SAFETY: all parts are of one device of a machine that this trial has for itself; a `Window`
        // needs no mapping, and the memory is mapped for good.
        device: unsafe { Ivshmem::new(parts) },
        resources,
        saved,
    })
}

impl Attached {
    /// Writes Message Control of the device.
    pub fn set_msix(
        &self,
        ports: &Ports,
        function: &Function<'_, Ports>,
        state: MsixControl,
    ) -> Result<(), Failure> {
        let msix = self.resources.msix.as_ref().ok_or("no MSI-X")?;
        set_msix(ports, function, msix, state);
        Ok(())
    }

    /// Silences the device and leaves configuration space as it was.
    pub fn detach(self, ports: &Ports) {
        let Self {
            device,
            resources,
            saved,
        } = self;
        drop(device);
        for Saved { offset, value } in saved.iter().rev() {
            ports.write_word(resources.address, *offset, *value);
        }
    }
}

/// The function-wide state of MSI-X.
pub enum MsixControl {
    Off,
    Masked,
    Live,
}

/// Writes Message Control.
fn set_msix(
    ports: &Ports,
    function: &Function<'_, Ports>,
    msix: &MsixResources,
    state: MsixControl,
) {
    let Saved { offset, value } = save(function, control(msix));
    let others = value & !(MSIX_ENABLE | MSIX_FUNCTION_MASK);
    let value = match state {
        MsixControl::Off => others,
        MsixControl::Masked => others | MSIX_ENABLE | MSIX_FUNCTION_MASK,
        MsixControl::Live => others | MSIX_ENABLE,
    };
    ports.write_word(function.address(), offset, value);
}

/// Writes the Command register; the Status half is written as zero, which changes nothing.
pub fn set_command(ports: &Ports, address: PciAddress, command: CommandRegister) {
    ports.write_word(address, COMMAND, command.bits().into());
}

/// The table silences itself when it is dropped on an error.
fn start_msix(
    ports: &Ports,
    function: &Function<'_, Ports>,
    msix: &MsixResources,
    message: impl Fn(VectorIndex) -> Option<MsiMessage>,
) -> Result<MsixTable<Window>, Failure> {
    let capability = &msix.capability;
    let part =
        |board: &Rc<Board>, bar: u64, offset: u32| Window::new(board, bar + u64::from(offset));
    let mut table = MsixTable::new(
        part(&ports.0, msix.table_bar.start, capability.table.offset),
        part(&ports.0, msix.pending_bar.start, capability.pending.offset),
        capability.vectors,
    );
    table.clear();
    set_msix(ports, function, msix, MsixControl::Masked);
    for vector in (0..table.vectors()).map(VectorIndex) {
        ensure(
            table.is_masked(vector)?,
            format_args!("vector {vector} is not masked after clearing"),
        )?;
        if let Some(message) = message(vector) {
            table.set_message(vector, message)?;
            table.unmask(vector)?;
        }
    }
    Ok(table)
}

/// Returns the offset of the word that holds Message Control.
fn control(msix: &MsixResources) -> u16 {
    msix.capability.offset.into()
}

fn save(function: &Function<'_, Ports>, offset: u16) -> Saved {
    // The Status half of the Command word would be cleared by what is saved of it.
    let bits = if offset == COMMAND { 0xffff } else { !0 };
    Saved {
        offset,
        value: function.word(offset).unwrap_or(0) & bits,
    }
}
