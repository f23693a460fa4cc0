// SPDX-License-Identifier: MIT OR Apache-2.0
//! ivshmem in Theseus by `Platform` and `attach`: the driver sizes BARs and programs MSI-X.

use core::ptr::NonNull;
use core::sync::atomic::{AtomicU32, Ordering};

use ivshmem::pci::{ConfigRegionAccess, PciAddress};
use ivshmem::{CachePolicy, MsiMessage, PhysRegion, Platform, VectorIndex};

use crate::stubs::interrupts::{interrupt_handler, register_msi_interrupt, EoiBehaviour};
use crate::stubs::memory::{map_frame_range, MappedPages, PhysicalAddress};
use crate::stubs::memory::{DMA_FLAGS, MMIO_FLAGS, PAGE_SIZE};
use crate::stubs::{cpu, spin::Mutex};

/// As many as the server gives each peer.
const VECTORS: u16 = 1;

/// Counts wake-ups, which are hints: whoever waits looks at the shared memory.
pub static DOORBELLS: AtomicU32 = AtomicU32::new(0);
interrupt_handler!(on_doorbell, _, _stack_frame, {
    DOORBELLS.fetch_add(1, Ordering::Release);
    EoiBehaviour::HandlerDidNotSendEoi
});

/// A configuration mechanism under one lock: in Theseus `Locked<PortCam>`. The crate `pci` must go through
/// it too, since its own two locks let another processor in between address and data.
pub struct Locked<C>(pub Mutex<C>);

impl<C: ConfigRegionAccess> ConfigRegionAccess for Locked<C> {
    unsafe fn read(&self, address: PciAddress, offset: u16) -> u32 {
        // SAFETY: the caller declares the access valid.
        unsafe { self.0.lock().read(address, offset) }
    }

    unsafe fn write(&self, address: PciAddress, offset: u16, value: u32) {
        // SAFETY: the caller declares the access valid.
        unsafe { self.0.lock().write(address, offset, value) }
    }
}

/// A mapping ends when its `MappedPages` are dropped, so they are kept here until `unmap`.
static MAPPED: Mutex<Vec<MappedPages>> = Mutex::new(Vec::new());

pub struct Theseus;

// SAFETY: 1. `map_frame_range` gives pages of their own, which `MAPPED` keeps until `unmap`; 2. the
// interrupt of a message has its handler, which is never deregistered.
unsafe impl Platform for Theseus {
    type Error = &'static str;

    fn map(&mut self, region: PhysRegion, cache: CachePolicy) -> Result<NonNull<u8>, Self::Error> {
        let start = PhysicalAddress::new(region.start as usize).ok_or("BAR out of reach")?;
        let flags = match cache {
            CachePolicy::Uncached => MMIO_FLAGS,
            CachePolicy::WriteBack => DMA_FLAGS,
        };
        let pages = map_frame_range(start, region.len as usize, flags)?;
        let address = pages.start_address().value() + start.value() % PAGE_SIZE;
        MAPPED.lock().push(pages);
        NonNull::new(address as *mut u8).ok_or("mapped at 0")
    }

    unsafe fn unmap(&mut self, address: NonNull<u8>, _region: PhysRegion) {
        let page = address.as_ptr() as usize & !(PAGE_SIZE - 1);
        MAPPED
            .lock()
            .retain(|pages| pages.start_address().value() != page);
    }

    fn msi(&mut self, vector: VectorIndex) -> Result<Option<MsiMessage>, Self::Error> {
        if vector.0 >= VECTORS {
            return Ok(None);
        }
        let number = register_msi_interrupt(on_doorbell)?;
        Ok(MsiMessage::x86(cpu::current_cpu().into_u8(), number))
    }
}
