// SPDX-License-Identifier: MIT OR Apache-2.0
//! ivshmem in Hermit: what would be `src/drivers/ivshmem.rs`.

use core::ptr::NonNull;
use core::sync::atomic::{AtomicU32, Ordering};

use ivshmem::pci::{ConfigSpace, Function};
use ivshmem::{attach, AttachError, Attached};
use ivshmem::{CachePolicy, MsiMessage, PhysRegion, Platform, VectorIndex};

use crate::stubs::drivers::{InterruptHandlerMap, PciDevice};
use crate::stubs::hermit_sync::OnceCell;
use crate::stubs::mm::{self, PhysAddr, VirtAddr};
use crate::stubs::pci::PciConfigRegion;

/// As many as the server gives each peer.
const VECTORS: u16 = 1;

pub static DEVICE: OnceCell<Attached> = OnceCell::new();
/// Counts wake-ups, which are hints: whoever waits looks at the shared memory.
pub static DOORBELLS: AtomicU32 = AtomicU32::new(0);

/// A handler has no argument, so what it needs is in statics.
fn on_doorbell() {
    DOORBELLS.fetch_add(1, Ordering::Release);
}

struct HermitPlatform<'h>(&'h mut InterruptHandlerMap);

// SAFETY: 1. `mm::map` gives pages of their own, mapped until `mm::unmap`; 2. the line of a message gets
// its handler here, and interrupts are off until `install_handlers`, after which none is removed.
unsafe impl Platform for HermitPlatform<'_> {
    type Error = &'static str;

    fn map(&mut self, region: PhysRegion, cache: CachePolicy) -> Result<NonNull<u8>, Self::Error> {
        // `mm::map` maps whole pages and gives the start of the first one.
        let inside = region.start as usize % mm::PAGE;
        let no_cache = cache == CachePolicy::Uncached;
        let start = PhysAddr::new(region.start - inside as u64);
        let page = mm::map(start, inside + region.len as usize, true, true, no_cache);
        NonNull::new(page.as_mut_ptr::<u8>().wrapping_add(inside)).ok_or("mapped at 0")
    }

    unsafe fn unmap(&mut self, address: NonNull<u8>, region: PhysRegion) {
        let inside = region.start as usize % mm::PAGE;
        let page = VirtAddr::new((address.as_ptr() as usize - inside) as u64);
        mm::unmap(page, inside + region.len as usize);
    }

    fn msi(&mut self, vector: VectorIndex) -> Result<Option<MsiMessage>, Self::Error> {
        if vector.0 >= VECTORS {
            return Ok(None);
        }
        let free = (0..=0xfe - 32).find(|line| !self.0.contains_key(line));
        let line = free.ok_or("no interrupt line is free")?;
        self.0.entry(line).or_default().push_back(on_doorbell);
        // To the first processor, like Hermit's own MSI-X code.
        Ok(MsiMessage::x86(0, line + 32))
    }
}

/// Called from `drivers::pci::init` for the device with the IDs 1af4:1110.
pub fn init(
    device: &PciDevice<PciConfigRegion>,
    handlers: &mut InterruptHandlerMap,
) -> Result<(), AttachError<&'static str>> {
    // SAFETY: drivers start one after the other on one processor, this is the only one for the
    // device, and no other address is used.
    let config = unsafe { ConfigSpace::new(*device.access()) };
    // Nothing to do for a device that was unplugged since the scan.
    if let Some(function) = Function::at(&config, device.header().address()) {
        let attached = attach(&function, &mut HermitPlatform(handlers))?;
        DEVICE.get_or_init(|| attached);
    }
    Ok(())
}
