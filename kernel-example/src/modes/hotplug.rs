// SPDX-License-Identifier: MIT OR Apache-2.0
//! `mode=hotplug`: a device comes behind a root port, works, and goes, as often as the host says.
//!
//! The host answers `@ ready` with `plugged`, `@ works` with `unplug`, `@ detached` with
//! `eject`, and `@ gone` with `plugged` or `end`.

use ivshmem::pci::{assign_behind, find, AssignError, Function, HeaderKind};
use ivshmem::VectorIndex;
use ivshmem_scenarios::{device, ensure, Failure, Machine};
use x86_64::instructions::port::PortWriteOnly;

use crate::{config::Mechanism, machine::KernelMachine, println};

/// QEMU's ACPI hot-plug registers on q35 (`docs/specs/acpi_pci_hotplug.rst`): the number that QEMU has
/// given to the bus, and the slots on it to eject.
const BUS_SELECT: u16 = 0xcd0;
const EJECT: u16 = 0xcc8;

/// The number of the only bus of the machine that takes devices.
const ONLY_BUS: u32 = 0;

/// Takes part in plugging and unplugging until the host says `end`.
pub fn run(machine: &mut KernelMachine) -> Result<(), Failure> {
    ensure(
        find(machine.config()).next().is_none(),
        format_args!("there is a device before one was plugged in"),
    )?;
    println!("@ ready");
    while heard(machine, "plugged")? {
        for function in machine.config().functions().flatten() {
            if function.header_kind() == HeaderKind::BRIDGE {
                assign_new(&function)?;
            }
        }
        work(machine)?;
        expect(machine, "eject")?;
        eject(&device(machine)?);
        ensure(
            machine.wait(&mut || find(machine.config()).next().is_none()),
            format_args!("the device is still there"),
        )?;
        println!("@ gone");
    }
    Ok(())
}

/// Gives addresses to what is new behind `bridge`.
fn assign_new(bridge: &Function<'_, Mechanism>) -> Result<(), Failure> {
    match assign_behind(bridge) {
        Ok(()) | Err(AssignError::AlreadyAssigned { .. }) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Attaches the device, rings every vector of its own, and detaches when the host wants it back.
fn work(machine: &KernelMachine) -> Result<(), Failure> {
    let function = device(machine)?;
    let attached = machine.attach(&function, 1)?;
    let resources = attached.resources();
    println!(
        "@ assigned registers={:#x} memory={:#x}",
        resources.registers.map_or(0, |region| region.start),
        resources.shared_memory.start
    );
    let (own, vector) = (attached.position()?, VectorIndex(0));
    let seen = machine.interrupts(vector);
    attached.ring(own, vector)?;
    ensure(
        machine.wait(&mut || machine.interrupts(vector) > seen),
        format_args!("the device that was plugged in gives no interrupt"),
    )?;
    attached.memory().write(0, b"plugged in")?;
    println!("@ works");
    expect(machine, "unplug")?;
    machine.detach(attached, &function);
    println!("@ detached");
    Ok(())
}

/// Lets go of the device, without which QEMU keeps it.
fn eject(function: &Function<'_, Mechanism>) {
    // SAFETY: the ports are QEMU's hot-plug registers on q35, the machine of this mode; the device is detached.
    unsafe { PortWriteOnly::new(BUS_SELECT).write(ONLY_BUS) };
    // SAFETY: as above.
    unsafe { PortWriteOnly::new(EJECT).write(1_u32 << function.address().device()) };
}

/// Waits for a line: whether it is `word`, or the end.
fn heard(machine: &KernelMachine, word: &str) -> Result<bool, Failure> {
    let mut buffer = [0; 16];
    let line = machine.hear(&mut buffer)?;
    ensure(
        line == word || line == "end",
        format_args!("the host says {line}, not {word}"),
    )?;
    Ok(line == word)
}

fn expect(machine: &KernelMachine, word: &str) -> Result<(), Failure> {
    let heard = heard(machine, word)?;
    ensure(heard, format_args!("the host says end, not {word}"))
}
