// SPDX-License-Identifier: MIT OR Apache-2.0
//! ivshmem in a kernel of Hermit's shape; see `docs/embedding.md`. A host program: ordinary memory stands for the device.

#[path = "../support/config.rs"]
mod config;
mod glue;
#[path = "../support/memory.rs"]
mod memory;
mod stubs;

use std::error::Error;

use ivshmem::pci::PciAddress;
use ivshmem::registers::DOORBELL;
use ivshmem::{PeerId, VectorIndex};

fn main() -> Result<(), Box<dyn Error>> {
    let address = PciAddress::new(0, 0, config::DEVICE, 0);
    let found = stubs::drivers::PciDevice::new(address, stubs::pci::PciConfigRegion);
    let mut handlers = stubs::drivers::InterruptHandlerMap::new();
    glue::init(&found, &mut handlers).map_err(|error| error.to_string())?;

    let device = glue::DEVICE.get().ok_or("no device was attached")?;
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

    let vector = memory::word(memory::MSIX + 8);
    println!("vector 0 of the device raises interrupt {vector}");
    let line = u8::try_from(vector)? - 32;
    for handler in &handlers[&line] {
        handler();
    }
    assert_eq!(
        glue::DOORBELLS.load(std::sync::atomic::Ordering::Acquire),
        1
    );
    Ok(())
}

#[cfg(test)]
#[test]
fn runs() -> Result<(), Box<dyn Error>> {
    main()
}
