// SPDX-License-Identifier: MIT OR Apache-2.0
//! Scenarios of the register block.

use ivshmem::registers::{DOORBELL, INTERRUPT_MASK, INTERRUPT_STATUS, IV_POSITION};
use ivshmem::{DeviceError, Feature, Flavour, PeerId, Registers, VectorIndex};

use crate::{attach, device, ensure_eq, Failure, Machine};

/// Checks the access rules of each register, and the ID, if the host says it in `id=`; else says that it does not.
pub fn registers<M: Machine>(machine: &mut M) -> Result<(), Failure> {
    let function = device(machine)?;
    let device = attach(machine, &function, 1)?;
    let registers = device.registers()?;
    ensure_eq("mask at start", registers.read(INTERRUPT_MASK), 0)?;
    ensure_eq("status at start", registers.read(INTERRUPT_STATUS), 0)?;
    for mask in [!0, 1, 0x8000_0000, 0] {
        registers.write(INTERRUPT_MASK, mask);
        ensure_eq("mask", registers.read(INTERRUPT_MASK), mask)?;
    }
    for status in [!0, 1] {
        registers.write(INTERRUPT_STATUS, status);
        ensure_eq("status", registers.read(INTERRUPT_STATUS), status)?;
        ensure_eq("status, read again", registers.read(INTERRUPT_STATUS), 0)?;
    }
    let position = registers.read(IV_POSITION);
    registers.write(IV_POSITION, !position);
    ensure_eq(
        "position after a write",
        registers.read(IV_POSITION),
        position,
    )?;
    ensure_eq("doorbell, read", registers.read(DOORBELL), 0)?;
    if device.flavour() == Flavour::Plain {
        // `ivshmem-plain` has no ID to be told, and 0 in the register.
        return ensure_eq("position", position, 0);
    }
    let own = device.position()?;
    let Some(id) = machine.argument("id") else {
        // Said aloud, so that nobody takes for checked what was not.
        machine.say(format_args!(
            "@ unchecked position={own} # the host did not say id="
        ));
        return Ok(());
    };
    ensure_eq("position", own, PeerId(id.parse()?))
}

/// Checks that `ivshmem-plain` has its memory and names what it lacks.
pub fn plain<M: Machine>(machine: &mut M) -> Result<(), Failure> {
    let function = device(machine)?;
    let device = machine.attach(&function, 4)?;
    ensure_eq("flavour", device.flavour(), Flavour::Plain)?;
    let last = device.memory().len() - 8;
    device.memory().write(last, b"the end!")?;
    let mut text = [0; 8];
    device.memory().read(last, &mut text)?;
    ensure_eq("last bytes", &text, b"the end!")?;
    let lacks = |feature| {
        Err(DeviceError::Lacks {
            flavour: Flavour::Plain,
            feature,
        })
    };
    ensure_eq("position", device.position().map(drop), lacks(Feature::Id))?;
    let ring = device.ring(PeerId(0), VectorIndex(0));
    ensure_eq("ring", ring, lacks(Feature::Doorbell))?;
    ensure_eq("msix", device.msix().map(drop), lacks(Feature::Msix))?;
    ensure_eq("intx", device.intx().map(drop), lacks(Feature::Intx))
}
