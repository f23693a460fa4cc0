// SPDX-License-Identifier: MIT OR Apache-2.0
//! ivshmem in a kernel of Theseus' shape, in two ways; see `docs/embedding.md`. A host program: ordinary memory stands for the device.

#[path = "../support/config.rs"]
mod config;
mod glue;
#[path = "../support/memory.rs"]
mod memory;
mod parts;
mod stubs;

use std::error::Error;
use std::sync::atomic::Ordering;

use ivshmem::pci::{ConfigSpace, Function, PciAddress};
use ivshmem::registers::DOORBELL;
use ivshmem::{attach, Ivshmem, MmioRegion, PeerId, VectorIndex};

use stubs::interrupts::{self, interrupt_handler};
use stubs::{ports::FakePorts, spin::Mutex};

interrupt_handler!(on_doorbell, _, _stack_frame, {
    glue::DOORBELLS.fetch_add(1, Ordering::Release);
    interrupts::EoiBehaviour::HandlerDidNotSendEoi
});

fn main() -> Result<(), Box<dyn Error>> {
    let found = stubs::pci::PciDevice::scan(config::DEVICE);

    println!("by attach:");
    let at = found.location;
    let address = PciAddress::new(0, at.bus(), at.slot(), at.function());
    // SAFETY: there is no other driver, and the fake takes accesses to any address.
    let config = unsafe { ConfigSpace::new(glue::Locked(Mutex::new(FakePorts))) };
    let function = Function::at(&config, address).ok_or("no device")?;
    let attached = attach(&function, &mut glue::Theseus).map_err(|e| e.to_string())?;
    exchange(&attached, PeerId(7), 1)?;
    // SAFETY: the function and the kernel that it was attached with.
    unsafe { attached.detach(&function, &mut glue::Theseus) };

    println!("by parts:");
    let started = parts::start(&found, on_doorbell)?;
    exchange(&started.device, PeerId(8), 2)
}

/// Writes, rings `peer`, and lets the message of the device's vector 0 arrive as doorbell number `count`.
fn exchange(device: &Ivshmem<MmioRegion>, peer: PeerId, count: u32) -> Result<(), Box<dyn Error>> {
    let text = peer.0.to_le_bytes();
    device.memory().write(0, &text).map_err(|e| e.to_string())?;
    device
        .ring(peer, VectorIndex(0))
        .map_err(|e| e.to_string())?;
    let doorbell = memory::word(memory::REGISTERS + DOORBELL as u64);
    println!(
        "{}; its doorbell was rung with {doorbell:#x}",
        device.flavour()
    );
    assert_eq!(doorbell, u32::from(peer.0) << 16);
    assert_eq!(memory::word(memory::SHARED_MEMORY), u32::from(peer.0));

    let vector = memory::word(memory::MSIX + 8);
    println!("vector 0 of the device raises interrupt {vector}");
    assert_eq!(memory::word(memory::MSIX + 12) & 1, 0, "vector 0 is masked");
    interrupts::deliver(u8::try_from(vector)?);
    assert_eq!(glue::DOORBELLS.load(Ordering::Acquire), count);
    Ok(())
}

#[cfg(test)]
#[test]
fn runs() -> Result<(), Box<dyn Error>> {
    main()
}
