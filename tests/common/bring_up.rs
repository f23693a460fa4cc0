// SPDX-License-Identifier: MIT OR Apache-2.0
//! The way from a PCI function to a driven device for a kernel that does it itself, by [`Parts`].
//!
//! The steps and their order are those of `ivshmem::attach`, which maps BARs into its own address
//! space and so can reach neither the device of another process nor a model of one.

use std::ops::Deref;

use ivshmem::pci::{
    probe, CommandRegister, ConfigRegionAccess, Function, MsixResources, PciAddress, Resources,
};
use ivshmem::registers::{INTERRUPT_MASK, INTERRUPT_STATUS};
use ivshmem::{
    Flavour, Interrupts, Ivshmem, MsiMessage, MsixTable, Parts, Quirks, Registers, SharedMemory,
    VectorIndex,
};
use ivshmem_scenarios::{ensure, ensure_eq, Failure};

const COMMAND: u16 = 0x04;
/// Message Control bits (PCI 3.0, 6.8.2.3), as they stand in the capability's first word.
const MSIX_ENABLE: u32 = 1 << 31;
const MSIX_FUNCTION_MASK: u32 = 1 << 30;

/// How the devices of a machine are reached.
pub trait Reach {
    type Config: ConfigRegionAccess;
    type Window: Registers;

    /// Writes a word of configuration space, for what the driver leaves to the kernel.
    fn write_word(&self, address: PciAddress, offset: u16, value: u32);

    /// Returns the physical memory from `start` on.
    fn window(&self, start: u64) -> Self::Window;
}

/// A device that [`attach`] has brought up.
pub struct Attached<W: Registers> {
    device: Ivshmem<W>,
    pub resources: Resources,
    saved: Vec<Saved>,
}

/// A word of configuration space, as it was.
struct Saved {
    offset: u16,
    value: u32,
}

impl<W: Registers> Deref for Attached<W> {
    type Target = Ivshmem<W>;

    fn deref(&self) -> &Self::Target {
        &self.device
    }
}

/// Brings up the device at `function`, whose memory is `memory`; `message` gives the vectors' messages.
#[allow(unsafe_code)]
pub fn attach<R: Reach>(
    reach: &R,
    function: &Function<'_, R::Config>,
    memory: SharedMemory<'static>,
    message: impl Fn(VectorIndex) -> Option<MsiMessage>,
) -> Result<Attached<R::Window>, Failure> {
    let resources = probe(function)?;
    let shared_memory = resources.shared_memory;
    ensure_eq("bar 2", shared_memory.len, memory.len() as u64)?;
    let start = resources.registers.ok_or("no register bar")?.start;
    let saved: Vec<_> = [Some(COMMAND), resources.msix.as_ref().map(control)]
        .into_iter()
        .flatten()
        .map(|offset| save(function, offset))
        .collect();
    let registers = reach.window(start);
    let interrupts = match start_device(reach, function, &resources, &registers, message) {
        Ok(interrupts) => interrupts,
        Err(failure) => {
            restore(reach, resources.address, &saved);
            return Err(failure);
        }
    };
    let parts = Parts {
        flavour: flavour(&resources),
        registers: Some(registers),
        shared_memory: memory,
        interrupts,
        quirks: Quirks::empty(),
    };
    Ok(Attached {
        // SAFETY: all parts are of one device of a machine that this trial has for itself; a window
        // needs no mapping, and the memory is mapped for good.
        device: unsafe { Ivshmem::new(parts) },
        resources,
        saved,
    })
}

/// Turns the device on, its vectors or its line last.
fn start_device<R: Reach>(
    reach: &R,
    function: &Function<'_, R::Config>,
    resources: &Resources,
    registers: &R::Window,
    message: impl Fn(VectorIndex) -> Option<MsiMessage>,
) -> Result<Interrupts<R::Window>, Failure> {
    let address = resources.address;
    let mut command = function.command() | CommandRegister::MEMORY_ENABLE;
    set_command(reach, address, command);
    command |= CommandRegister::BUS_MASTER_ENABLE;
    let Some(msix) = &resources.msix else {
        let interrupts = match flavour(resources) {
            Flavour::Legacy => {
                registers.write(INTERRUPT_MASK, 0);
                registers.read(INTERRUPT_STATUS);
                command.remove(CommandRegister::INTERRUPT_DISABLE);
                Interrupts::Line
            }
            _ => Interrupts::None,
        };
        set_command(reach, address, command);
        return Ok(interrupts);
    };
    let table = start_msix(reach, function, msix, message)?;
    command |= CommandRegister::INTERRUPT_DISABLE;
    set_command(reach, address, command);
    set_msix(reach, function, msix, MsixControl::Live);
    Ok(Interrupts::Msix(table))
}

impl<W: Registers> Attached<W> {
    /// Writes Message Control of the device.
    pub fn set_msix<R: Reach<Window = W>>(
        &self,
        reach: &R,
        function: &Function<'_, R::Config>,
        state: MsixControl,
    ) -> Result<(), Failure> {
        let msix = self.resources.msix.as_ref().ok_or("no MSI-X")?;
        set_msix(reach, function, msix, state);
        Ok(())
    }

    /// Silences the device and leaves configuration space as it was.
    pub fn detach(self, reach: &impl Reach<Window = W>) {
        let Self {
            device,
            resources,
            saved,
        } = self;
        drop(device);
        restore(reach, resources.address, &saved);
    }
}

/// The function-wide state of MSI-X.
pub enum MsixControl {
    Off,
    Masked,
    Live,
}

/// Writes Message Control.
fn set_msix<R: Reach>(
    reach: &R,
    function: &Function<'_, R::Config>,
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
    reach.write_word(function.address(), offset, value);
}

/// Writes the Command register; the Status half is written as zero, which changes nothing.
pub fn set_command(reach: &impl Reach, address: PciAddress, command: CommandRegister) {
    reach.write_word(address, COMMAND, command.bits().into());
}

/// The table silences itself when it is dropped on an error.
fn start_msix<R: Reach>(
    reach: &R,
    function: &Function<'_, R::Config>,
    msix: &MsixResources,
    message: impl Fn(VectorIndex) -> Option<MsiMessage>,
) -> Result<MsixTable<R::Window>, Failure> {
    let capability = &msix.capability;
    let part = |bar: u64, offset: u32| reach.window(bar + u64::from(offset));
    let mut table = MsixTable::new(
        part(msix.table_bar.start, capability.table.offset),
        part(msix.pending_bar.start, capability.pending.offset),
        capability.vectors,
    );
    table.clear();
    set_msix(reach, function, msix, MsixControl::Masked);
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

fn flavour(resources: &Resources) -> Flavour {
    Flavour::of_pci(
        resources.revision,
        resources.msix.is_some(),
        resources.interrupt_pin,
    )
}

/// Returns the offset of the word that holds Message Control.
fn control(msix: &MsixResources) -> u16 {
    msix.capability.offset.into()
}

fn save<C: ConfigRegionAccess>(function: &Function<'_, C>, offset: u16) -> Saved {
    // The Status half of the Command word would be cleared by what is saved of it.
    let bits = if offset == COMMAND { 0xffff } else { !0 };
    Saved {
        offset,
        value: function.word(offset).unwrap_or(0) & bits,
    }
}

fn restore(reach: &impl Reach, address: PciAddress, saved: &[Saved]) {
    for Saved { offset, value } in saved.iter().rev() {
        reach.write_word(address, *offset, *value);
    }
}
