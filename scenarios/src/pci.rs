// SPDX-License-Identifier: MIT OR Apache-2.0
//! Scenarios of layer 1: discovery, and configuration space left as found.

use ivshmem::pci::{probe, ConfigRegionAccess, Function};
use ivshmem::VectorIndex;

use crate::{attach, device, ensure, Failure, Machine};

/// Probes the device and tells the host what was found, for comparison with QEMU's own view.
pub fn discover<M: Machine>(machine: &mut M) -> Result<(), Failure> {
    let function = device(machine)?;
    let before = snapshot(&function);
    let resources = probe(&function)?;
    ensure_unchanged(&function, &before, "probe")?;
    let registers = resources.registers.ok_or("no register bar")?;
    let vectors = resources.msix.map_or(0, |msix| msix.capability.vectors);
    machine.say(format_args!(
        "@ device address={} revision={} class={:06x} pin={} registers={:#x}+{:#x} memory={:#x}+{:#x} vectors={vectors}",
        resources.address,
        resources.revision,
        function.class(),
        function.interrupt_pin(),
        registers.start,
        registers.len,
        resources.shared_memory.start,
        resources.shared_memory.len,
    ));
    if let Some(msix) = resources.msix {
        machine.say(format_args!(
            "@ msix table={:#x}+{:#x} pending={:#x}",
            msix.table_bar.start,
            msix.table_bar.len,
            msix.pending_bar.start + u64::from(msix.capability.pending.offset),
        ));
    }
    hold(machine)
}

/// If `hold` was asked for, waits until the host has seen the machine as it is now.
fn hold<M: Machine>(machine: &M) -> Result<(), Failure> {
    if machine.has("hold") {
        machine.hear(&mut [0; 16])?;
    }
    Ok(())
}

/// Attaches, detaches, compares, and attaches again to a working device.
pub fn detach<M: Machine>(machine: &mut M) -> Result<(), Failure> {
    let function = device(machine)?;
    let before = snapshot(&function);
    for round in 1..=3 {
        let attached = attach(machine, &function, 1)?;
        ensure(
            snapshot(&function) != before,
            format_args!("attaching changed nothing, so this scenario shows nothing"),
        )?;
        let own = attached.position()?;
        let vector = VectorIndex(0);
        let seen = machine.interrupts(vector);
        attached.ring(own, vector)?;
        ensure(
            machine.wait(&mut || machine.interrupts(vector) > seen),
            format_args!("no interrupt in round {round}"),
        )?;
        machine.detach(attached, &function);
        ensure_unchanged(&function, &before, "detach")?;
    }
    Ok(())
}

/// Words of configuration space.
const WORDS: usize = 64;

/// Returns all of configuration space.
fn snapshot<C: ConfigRegionAccess>(function: &Function<'_, C>) -> [u32; WORDS] {
    core::array::from_fn(|index| function.word(4 * index as u16).unwrap_or(0))
}

/// Fails at the first word that is not as in `before`.
fn ensure_unchanged<C: ConfigRegionAccess>(
    function: &Function<'_, C>,
    before: &[u32; WORDS],
    after_what: &str,
) -> Result<(), Failure> {
    for (index, (now, before)) in snapshot(function).iter().zip(before).enumerate() {
        ensure(
            now == before,
            format_args!(
                "configuration word {:#04x} is {now:#010x} after {after_what}, was {before:#010x}",
                4 * index
            ),
        )?;
    }
    Ok(())
}
