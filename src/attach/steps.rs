// SPDX-License-Identifier: MIT OR Apache-2.0
//! The steps that turn a probed function into a running device.

use pci_types::{CommandRegister, ConfigRegionAccess};

use super::error::AttachError;
use super::mappings::Mappings;
use crate::device::{Flavour, Interrupts, Ivshmem, Parts};
use crate::interrupt::MsixTable;
use crate::memory::SharedMemory;
use crate::mmio::{MmioRegion, Registers};
use crate::pci::{Function, MsixResources, MsixState, Resources, TablePlace};
use crate::platform::{CachePolicy, Platform};
use crate::quirks::Quirks;
use crate::registers::{VectorIndex, INTERRUPT_MASK, INTERRUPT_STATUS};

/// Steps 2 to 6.
#[allow(unsafe_code)]
pub(super) fn bring_up<C: ConfigRegionAccess, P: Platform>(
    function: &Function<'_, C>,
    platform: &mut P,
    resources: &Resources,
    quirks: Quirks,
    mappings: &mut Mappings,
) -> Result<Ivshmem<MmioRegion>, AttachError<P::Error>> {
    let mut command = function.command() | CommandRegister::MEMORY_ENABLE;
    function.set_command(command);

    let registers = match resources.registers {
        Some(region) => Some(mappings.map_registers(platform, region)?),
        None => None,
    };
    let (address, len) = mappings.map(platform, resources.shared_memory, CachePolicy::WriteBack)?;
    // SAFETY: mapped by `Platform::map` until `detach`; `map` has checked the length. `'static` is cut to the
    // device's own lifetime by `Ivshmem::memory`, and `detach` consumes the device.
    let shared_memory = unsafe { SharedMemory::new(address, len) };
    let flavour = Flavour::of_pci(
        resources.revision,
        resources.msix.is_some(),
        resources.interrupt_pin,
    );
    let interrupts = match (&resources.msix, flavour) {
        (Some(msix), _) => Interrupts::Msix(start_msix(function, platform, msix, mappings)?),
        (None, Flavour::Legacy) => Interrupts::Line,
        (None, _) => Interrupts::None,
    };

    command |= CommandRegister::BUS_MASTER_ENABLE;
    if let Some(msix) = &resources.msix {
        command |= CommandRegister::INTERRUPT_DISABLE;
        function.set_command(command);
        function.enable_msix(&msix.capability, MsixState::Live);
    } else {
        if let (Interrupts::Line, Some(registers)) = (&interrupts, &registers) {
            // A reset of the historic device keeps the mask, so an old one may be in it.
            registers.write(INTERRUPT_MASK, 0);
            registers.read(INTERRUPT_STATUS);
            command.remove(CommandRegister::INTERRUPT_DISABLE);
        }
        function.set_command(command);
    }
    let parts = Parts {
        flavour,
        registers,
        shared_memory,
        interrupts,
        quirks,
    };
    // SAFETY: all parts come from one function that `probe` recognised, which `ConfigSpace::new` was
    // promised to be used by this driver alone from here to `detach`; they stay mapped until then.
    Ok(unsafe { Ivshmem::new(parts) })
}

/// Step 4. The table silences itself when it is dropped on an error.
fn start_msix<C: ConfigRegionAccess, P: Platform>(
    function: &Function<'_, C>,
    platform: &mut P,
    msix: &MsixResources,
    mappings: &mut Mappings,
) -> Result<MsixTable<MmioRegion>, AttachError<P::Error>> {
    let capability = &msix.capability;
    let mut structure = |region, place: TablePlace, len: u64| {
        let bar = mappings.map_registers(platform, region)?;
        // `probe` has found the structure inside its BAR.
        bar.part(place.offset as usize, len as usize)
            .ok_or(AttachError::TooLarge { region })
    };
    let table = structure(msix.table_bar, capability.table, capability.table_len())?;
    let pending = structure(
        msix.pending_bar,
        capability.pending,
        capability.pending_len(),
    )?;
    let mut table = MsixTable::new(table, pending, capability.vectors);

    table.clear();
    function.enable_msix(capability, MsixState::Masked);
    for vector in (0..table.vectors()).map(VectorIndex) {
        let message = platform
            .msi(vector)
            .map_err(|error| AttachError::Msi { vector, error })?;
        if let Some(message) = message {
            table
                .set_message(vector, message)
                .and_then(|()| table.unmask(vector))
                .map_err(AttachError::Vector)?;
        }
    }
    Ok(table)
}
