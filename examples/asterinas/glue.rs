// SPDX-License-Identifier: MIT OR Apache-2.0
//! ivshmem in Asterinas: from a PCI device to a driver, without `unsafe`.
#![forbid(unsafe_code)]

use core::sync::atomic::{AtomicU32, Ordering};

use ivshmem::{Flavour, Interrupts, Ivshmem, Parts, Quirks};

use crate::shim::{ivshmem, shared_memory, IoRegisters};
use crate::stubs::aster_pci::{Bar, CapabilityMsixData, MemoryBar, PciCommonDevice};
use crate::stubs::ostd::{self, CachePolicy, IoMem, IrqLine};

/// Counts wake-ups, which are hints: whoever waits looks at the shared memory.
pub static DOORBELLS: AtomicU32 = AtomicU32::new(0);

fn memory_bar(found: &mut PciCommonDevice, index: u8) -> ostd::Result<&mut MemoryBar> {
    match found.bar_manager_mut().bar_mut(index) {
        Some(Bar::Memory(bar)) => Ok(bar),
        _ => Err(ostd::Error::InvalidArgs),
    }
}

/// The device, and the MSI-X capability, which holds the interrupt lines and stays beside it.
pub type Started = (Ivshmem<IoRegisters>, CapabilityMsixData);

pub fn start(found: &mut PciCommonDevice) -> ostd::Result<Started> {
    let registers = IoRegisters(memory_bar(found, 0)?.acquire()?.clone());
    // Not `bar.acquire()`, which would map it uncached. Never unmapped: drivers stay.
    let bar = memory_bar(found, 2)?;
    let range = bar.base() as usize..(bar.base() + bar.size()) as usize;
    let memory = IoMem::acquire_with_cache_policy(range, CachePolicy::Writeback)?;
    let msix = found.acquire_msix_capability()?;
    let mut msix = msix.ok_or(ostd::Error::InvalidArgs)?;
    let mut irq = IrqLine::alloc()?;
    irq.on_active(|_| {
        DOORBELLS.fetch_add(1, Ordering::Release);
    });
    msix.set_interrupt_vector(irq, 0);
    let parts = Parts {
        flavour: Flavour::Doorbell,
        registers: Some(registers),
        shared_memory: shared_memory(Box::leak(Box::new(memory)))?,
        interrupts: Interrupts::Kernel,
        quirks: Quirks::empty(),
    };
    Ok((ivshmem(parts), msix))
}
