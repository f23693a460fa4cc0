// SPDX-License-Identifier: MIT OR Apache-2.0
//! Scenarios of the register block, revision 1.

use ivshmem::{DeviceError, InterruptBits, PeerId, VectorIndex};

use crate::{device, ensure_eq, Failure, Machine};

/// Checks mask, status, position and doorbell. The host says in `id=` which ID the server gave.
pub fn registers<M: Machine>(machine: &mut M) -> Result<(), Failure> {
    let function = device(machine)?;
    let device = machine.attach(&function, 1)?;
    ensure_eq("mask at start", device.interrupt_mask().bits(), 0)?;
    ensure_eq("status at start", device.take_interrupt_status().bits(), 0)?;
    for mask in [
        InterruptBits::all(),
        InterruptBits::PEER,
        InterruptBits::empty(),
    ] {
        device.set_interrupt_mask(mask);
        ensure_eq("mask", device.interrupt_mask(), mask)?;
    }
    device.set_interrupt_status(InterruptBits::all());
    ensure_eq(
        "status",
        device.take_interrupt_status(),
        InterruptBits::all(),
    )?;
    ensure_eq(
        "status after it was read",
        device.take_interrupt_status(),
        InterruptBits::empty(),
    )?;
    if let Some(id) = machine.argument("id") {
        let id = id.parse().map(PeerId)?;
        ensure_eq("position", device.position()?, id)?;
    }
    Ok(())
}

/// Checks that `ivshmem-plain` has its memory and refuses the rest by name.
pub fn plain<M: Machine>(machine: &mut M) -> Result<(), Failure> {
    let function = device(machine)?;
    let device = machine.attach(&function, 4)?;
    let last = device.memory().len() - 8;
    device.memory().write(last, b"the end!")?;
    let mut text = [0; 8];
    device.memory().read(last, &mut text)?;
    ensure_eq("last bytes", &text, b"the end!")?;
    ensure_eq(
        "position",
        device.position(),
        Err(DeviceError::NoInterrupts),
    )?;
    let ring = device.ring(PeerId(0), VectorIndex(0));
    ensure_eq("ring", ring, Err(DeviceError::NoInterrupts))?;
    let msix = device.msix().map(|_| ());
    ensure_eq("msix", msix, Err(DeviceError::NoInterrupts))
}
