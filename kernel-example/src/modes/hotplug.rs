// SPDX-License-Identifier: MIT OR Apache-2.0
//! `mode=hotplug`: a device comes, works, and goes, as often as the host says: behind a root port of `q35`, or on
//! bus 0 of a `pc` whose firmware gives no addresses.
//!
//! The host answers `@ ready` with `plugged`, `@ works` with `unplug`, `@ detached` with
//! `eject`, and `@ gone` with `plugged` or `end`.

use ivshmem::pci::{assign_behind, find, AssignError, Function, HeaderKind};
use ivshmem::{InterruptStatus, VectorIndex};
use ivshmem_scenarios::{device, ensure, Failure, Machine};
use x86_64::instructions::port::PortWriteOnly;

use crate::{
    config::{self, Mechanism},
    devices::Device,
    machine::KernelMachine,
    println,
};

/// QEMU's ACPI hot-plug registers (`docs/specs/acpi_pci_hotplug.rst`) start here on pc and on q35.
const PC_REGISTERS: u16 = 0xae00;
const Q35_REGISTERS: u16 = 0xcc0;

/// In them, the slots of a bus to eject, and the number that QEMU has given to that bus.
const EJECT: u16 = 0x08;
const BUS_SELECT: u16 = 0x10;

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
        let functions = machine.config().functions().flatten();
        let mut bridges = functions
            .filter(|function| function.header_kind() == HeaderKind::BRIDGE)
            .peekable();
        if bridges.peek().is_none() {
            // Nothing else has an address that could be taken from it.
            config::give_addresses_on_pc(machine.config());
        }
        bridges.try_for_each(|bridge| assign_new(&bridge))?;
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

/// Attaches the device, has it interrupt, and detaches when the host wants it back.
fn work(machine: &KernelMachine) -> Result<(), Failure> {
    let function = device(machine)?;
    let attached = machine.attach(&function, 1)?;
    let resources = attached.attached().resources();
    println!(
        "@ assigned registers={:#x} memory={:#x}",
        resources.registers.map_or(0, |region| region.start),
        resources.shared_memory.start
    );
    machine.wait(&mut || attached.poll_ready().is_ready());
    ensure(
        interrupts(machine, &attached, &function)?,
        format_args!("the device that was plugged in gives no interrupt"),
    )?;
    attached.memory().write(0, b"plugged in")?;
    println!("@ works");
    expect(machine, "unplug")?;
    machine.detach(attached, &function);
    println!("@ detached");
    Ok(())
}

/// Has the device interrupt, by its own doorbell or, if it has a line, by its status, and returns whether that came.
fn interrupts(
    machine: &KernelMachine,
    device: &Device,
    function: &Function<'_, Mechanism>,
) -> Result<bool, Failure> {
    let Ok(intx) = device.intx() else {
        let (own, vector) = (device.position()?, VectorIndex(0));
        let seen = machine.interrupts(vector);
        device.ring(own, vector)?;
        return Ok(machine.wait(&mut || machine.interrupts(vector) > seen));
    };
    device.position()?;
    machine.take_line(device, function)?;
    intx.enable();
    intx.raise(InterruptStatus::PEER);
    Ok(machine.wait(&mut || machine.line(device).taken > 0))
}

/// Lets go of the device, without which QEMU keeps it.
fn eject(function: &Function<'_, Mechanism>) {
    let registers = match function.address().bus() {
        0 => PC_REGISTERS,
        _ => Q35_REGISTERS,
    };
    // SAFETY: the ports are QEMU's hot-plug registers on the machines of this mode; the device is detached.
    unsafe { PortWriteOnly::new(registers + BUS_SELECT).write(ONLY_BUS) };
    // SAFETY: as above.
    unsafe { PortWriteOnly::new(registers + EJECT).write(1_u32 << function.address().device()) };
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
