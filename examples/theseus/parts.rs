// SPDX-License-Identifier: MIT OR Apache-2.0
//! ivshmem in Theseus by `Parts`: Theseus' own `pci` crate maps BARs and programs MSI-X.

use core::ptr::NonNull;

use ivshmem::{Flavour, Interrupts, Ivshmem, MmioRegion, Parts, Quirks, SharedMemory};

use crate::stubs::cpu;
use crate::stubs::interrupts::register_msi_interrupt;
use crate::stubs::interrupts::InterruptHandler;
use crate::stubs::memory::{map_frame_range, MappedPages, DMA_FLAGS, PAGE_SIZE};
use crate::stubs::pci::{MsixVectorTable, PciDevice};

/// The device, and behind it what must stay mapped as long: fields are dropped in this order.
pub struct TheseusIvshmem {
    pub device: Ivshmem<MmioRegion>,
    _table: MsixVectorTable,
    _pages: [MappedPages; 2],
}

/// Returns the address of BAR `index`, of which `pages` are the mapping.
fn address(
    found: &PciDevice,
    index: usize,
    pages: &MappedPages,
) -> Result<NonNull<u8>, &'static str> {
    let inside = found.determine_mem_base(index)?.value() % PAGE_SIZE;
    NonNull::new((pages.start_address().value() + inside) as *mut u8).ok_or("mapped at 0")
}

pub fn start(found: &PciDevice, handler: InterruptHandler) -> Result<TheseusIvshmem, &'static str> {
    let registers = found.pci_map_bar_mem(0)?;
    // Not `pci_map_bar_mem`, which would map it uncached.
    let len = found.determine_mem_size(2) as usize;
    let memory = map_frame_range(found.determine_mem_base(2)?, len, DMA_FLAGS)?;
    // The entry is complete before MSI-X is enabled, and the others are masked since reset.
    let mut table = found.pci_mem_map_msix(1)?;
    table[0].init(cpu::current_cpu(), register_msi_interrupt(handler)?);
    found.pci_enable_msix()?;
    found.location.pci_set_command_bus_master_bit();
    found.location.pci_set_intx_disable_bit(true);

    let registers_len = found.determine_mem_size(0) as usize;
    let parts = Parts {
        flavour: Flavour::Doorbell,
        // SAFETY: BAR 0, mapped uncached for as long as `TheseusIvshmem` lives.
        registers: Some(unsafe { MmioRegion::new(address(found, 0, &registers)?, registers_len) }),
        // SAFETY: BAR 2, mapped write-back for as long, and only this driver knows the address.
        shared_memory: unsafe { SharedMemory::new(address(found, 2, &memory)?, len) },
        interrupts: Interrupts::Kernel,
        quirks: Quirks::empty(),
    };
    Ok(TheseusIvshmem {
        // SAFETY: all parts are of `found`, which no other driver uses, and are kept beside it.
        device: unsafe { Ivshmem::new(parts) },
        _table: table,
        _pages: [registers, memory],
    })
}
