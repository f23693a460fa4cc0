// SPDX-License-Identifier: MIT OR Apache-2.0
//! ivshmem in a kernel of Asterinas' shape; see `docs/embedding.md`. A host program: ordinary memory stands for the device.

mod component;
mod glue;
#[path = "../support/memory.rs"]
mod memory;
mod shim;
mod stubs;

use std::error::Error;
use std::sync::atomic::Ordering;

use ivshmem::registers::DOORBELL;
use ivshmem::{PeerId, VectorIndex};

use stubs::aster_pci::{PciCommonDevice, PciDriver};
use stubs::ostd::BusProbeError;

fn main() -> Result<(), Box<dyn Error>> {
    let other = component::IvshmemDriver.probe(PciCommonDevice::new(0x1af4, 0x1000));
    assert!(matches!(other, Err((BusProbeError::DeviceNotMatch, _))));
    let claimed = component::IvshmemDriver
        .probe(PciCommonDevice::new(0x1af4, 0x1110))
        .map_err(|(error, found)| format!("{error:?}: {found:?}"))?;
    println!("claimed {:x?}", claimed.device_id());

    let started = component::DEVICE.get().ok_or("no device was started")?;
    let device = &started.device;
    device
        .memory()
        .write(0, b"hello")
        .map_err(|e| e.to_string())?;
    device
        .ring(PeerId(7), VectorIndex(0))
        .map_err(|e| e.to_string())?;
    let doorbell = memory::word(memory::REGISTERS + DOORBELL as u64);
    println!(
        "{}; its doorbell was rung with {doorbell:#x}",
        device.flavour()
    );
    assert_eq!(doorbell, 0x0007_0000);
    assert_eq!(
        memory::word(memory::SHARED_MEMORY),
        u32::from_le_bytes(*b"hell")
    );

    let mut msix = started.msix.lock().map_err(|_| "a holder panicked")?;
    let irq = msix.irq_mut(0).ok_or("vector 0 has no line")?;
    let vector = memory::word(memory::MSIX + 8);
    println!("vector 0 of the device raises interrupt {vector}");
    assert_eq!(vector, u32::from(irq.num()));
    irq.deliver();
    assert_eq!(glue::DOORBELLS.load(Ordering::Acquire), 1);
    Ok(())
}

#[cfg(test)]
#[test]
fn runs() -> Result<(), Box<dyn Error>> {
    main()
}
