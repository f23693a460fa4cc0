// SPDX-License-Identifier: MIT OR Apache-2.0
//! All that a kernel does with a device, from firmware's part to the end, as one program: [`life`].

use ivshmem::pci::Function;
use ivshmem::{InterruptStatus, Ivshmem, PeerId, VectorIndex};
use ivshmem_scenarios::{device, ensure, ensure_eq, Failure, Machine};

use crate::board::{Bus, Window};
use crate::machine::{Device, ModelMachine};
use crate::setup::VECTORS;

/// A vector that is used.
const VECTOR: VectorIndex = VectorIndex(1);
/// What is said of a device that does not answer in configuration space.
pub const ABSENT: &str = "no device answers";

/// Assigns, finds, attaches, uses and detaches the device; what was attached is detached also if its use fails.
/// Returns how many accesses had reached the device when the end began.
pub fn life(machine: &ModelMachine) -> Result<usize, Failure> {
    machine.assign()?;
    let function = device(machine)?;
    let device = machine.attach(&function, VECTORS)?;
    let used = use_device(machine, &function, &device);
    let before_detach = machine.board.reached();
    machine.detach(device, &function);
    used.map(|()| before_detach)
}

fn use_device(
    machine: &ModelMachine,
    function: &Function<'_, Bus>,
    device: &Device,
) -> Result<(), Failure> {
    machine.wait(&mut || device.poll_ready().is_ready());
    device.wait_ready(|| false)?;
    let memory = device.memory();
    memory.write(8, b"for all to see")?;
    ensure_eq("memory", &memory.read_array::<3>(8)?, b"for")?;
    if device.intx().is_ok() {
        use_line(machine, function, device)?;
    }
    if device.msix().is_ok() {
        use_vectors(machine, function, device)?;
    }
    present(function)
}

/// Asks configuration space whether the device is there, as [`ivshmem::Attached::ensure_present`] does.
fn present(function: &Function<'_, Bus>) -> Result<(), Failure> {
    ensure(function.refresh().is_some(), format_args!("{ABSENT}"))
}

/// Waits for what the device must do, and asks whether it is there at all if it does not.
fn awaited(
    machine: &ModelMachine,
    function: &Function<'_, Bus>,
    what: &mut dyn FnMut() -> bool,
) -> Result<(), Failure> {
    if machine.wait(what) {
        return Ok(());
    }
    present(function)?;
    Err(Failure::from(
        "the device is there, and nothing comes of it",
    ))
}

fn use_line(
    machine: &ModelMachine,
    function: &Function<'_, Bus>,
    device: &Device,
) -> Result<(), Failure> {
    let intx = device.intx()?;
    machine.take_line(device, function)?;
    intx.enable();
    intx.raise(InterruptStatus::PEER);
    awaited(machine, function, &mut || machine.line(device).taken > 0)?;
    intx.disable();
    let mask = intx.mask().bits();
    present(function)?;
    ensure_eq("the mask", mask, 0)?;
    ring_others(device)
}

fn use_vectors(
    machine: &ModelMachine,
    function: &Function<'_, Bus>,
    device: &Device,
) -> Result<(), Failure> {
    let own = device.position()?;
    let msix = device.msix()?;
    let before = machine.interrupts(VECTOR);
    let again = |more| {
        let came = &mut || machine.interrupts(VECTOR) >= before + more;
        awaited(machine, function, came)
    };
    device.ring(own, VECTOR)?;
    again(1)?;
    msix.mask(VECTOR)?;
    device.ring(own, VECTOR)?;
    awaited(machine, function, &mut || {
        msix.is_pending(VECTOR) == Ok(true)
    })?;
    msix.unmask(VECTOR)?;
    again(2)?;
    machine.mask_all(device, function)?;
    device.ring(own, VECTOR)?;
    machine.unmask_all(device, function)?;
    again(3)?;
    msix.clear_message(VECTOR)?;
    msix.set_message(VECTOR, machine.message(VECTOR)?)?;
    msix.unmask(VECTOR)?;
    ring_others(device)
}

/// Rings a peer that is there perhaps, and one that is not.
fn ring_others(device: &Ivshmem<Window>) -> Result<(), Failure> {
    for peer in [1, 0x7fff].map(PeerId) {
        device.ring(peer, VectorIndex(0))?;
    }
    Ok(())
}
