// SPDX-License-Identifier: MIT OR Apache-2.0
//! `mode=doctor`: looks at every ivshmem device, says what works, and for each fault what to do.
//!
//! Lines for people, and lines `@ doctor ...` with the same facts for programs. What was there
//! before is read first, and every device is detached again: nothing is changed for good. What
//! cannot be told on this machine is said to be unknown, which is no fault.

use ivshmem::{
    pci::{is_ivshmem, BarKind, CommandRegister, Function},
    Flavour,
};
use ivshmem_scenarios::{Failure, Machine};

use self::{hypervisor::Hypervisor, report::Report};
use crate::{machine::KernelMachine, println};

mod caching;
mod hypervisor;
mod report;
mod vectors;

/// A function of this kernel's machine.
type PciFunction<'c> = Function<'c, <KernelMachine as Machine>::Config>;

/// Examines all devices; fails if there is a fault. `vectors=N` on the command line says how many
/// vectors of each may be unmasked.
pub fn run(machine: &mut KernelMachine) -> Result<(), Failure> {
    let hypervisor = Hypervisor::detect();
    let asked = vectors::asked(machine)?;
    let mut report = Report::new();
    let mut devices = 0;
    for function in machine.config().functions() {
        match function {
            Ok(function) if is_ivshmem(&function) => {
                devices += 1;
                examine(machine, &function, hypervisor, asked, &mut report);
            }
            Ok(_) => {}
            Err(error) => println!("note: {error}; it is passed over"),
        }
    }
    if devices == 0 {
        report.fault(
            format_args!("no ivshmem device (1af4:1110) on any bus"),
            format_args!("start QEMU with -device ivshmem-plain or -device ivshmem-doorbell"),
        );
    }
    let faults = report.faults();
    println!("@ doctor devices={devices} faults={faults}");
    match faults {
        0 => Ok(()),
        1 => Err("1 fault".into()),
        _ => Err(Failure::new(format_args!("{faults} faults"))),
    }
}

/// Examines one device.
fn examine(
    machine: &KernelMachine,
    function: &PciFunction<'_>,
    hypervisor: Hypervisor,
    asked: Option<u16>,
    report: &mut Report,
) {
    let address = function.address();
    let command = function.command();
    let state = |bit| if command.contains(bit) { "on" } else { "off" };
    let decode = state(CommandRegister::MEMORY_ENABLE);
    let master = state(CommandRegister::BUS_MASTER_ENABLE);
    let vectors = match function.msix() {
        Ok(msix) => msix.map_or(0, |msix| msix.vectors),
        Err(_) => 0,
    };
    let flavour = flavour(function, vectors);
    println!(
        "{address}: {flavour}, revision {}, {vectors} MSI-X vectors; as found, memory decode is \
         {decode} and bus master is {master} (the driver turns on what it needs)",
        function.revision()
    );
    let assigned = bars(function, report);
    println!(
        "@ doctor address={address} flavour={flavour:?} revision={} decode={decode} \
         master={master} bars={}",
        function.revision(),
        if assigned { "assigned" } else { "unassigned" }
    );
    if !assigned {
        return;
    }
    let tried = vectors::tried(hypervisor, asked, vectors);
    match machine.attach(function, tried) {
        Ok(device) => {
            vectors::examine(machine, device.attached(), hypervisor, tried, report);
            caching::examine(device.attached(), hypervisor, report);
            machine.detach(device, function);
        }
        Err(failure) => report.fault(
            format_args!(
                "{address}: the driver does not attach: {}",
                failure.as_str()
            ),
            format_args!("mend what the reason names; what else the device has was not examined"),
        ),
    }
}

/// Returns the kind of device, from configuration space alone: also one that cannot be attached
/// has a kind.
fn flavour(function: &PciFunction<'_>, vectors: u16) -> Flavour {
    match (function.revision(), vectors) {
        (0, _) => Flavour::Legacy,
        (_, 0) => Flavour::Plain,
        _ => Flavour::Doorbell,
    }
}

/// Shows the memory BARs; returns whether all have addresses.
fn bars(function: &PciFunction<'_>, report: &mut Report) -> bool {
    let address = function.address();
    let mut unassigned = 0;
    for bar in function.bars() {
        match bar {
            Ok(bar) if bar.kind == BarKind::Io => {}
            Ok(bar) if bar.address == 0 => {
                unassigned += 1;
                println!("  BAR {} of {:#x} bytes: no address", bar.index, bar.size);
            }
            Ok(bar) => println!(
                "  BAR {} of {:#x} bytes: at {:#x}",
                bar.index, bar.size, bar.address
            ),
            Err(error) => report.fault(
                format_args!("{address}: {error}"),
                format_args!("report it to the authors of the hypervisor"),
            ),
        }
    }
    if unassigned > 0 {
        report.fault(
            format_args!("{address}: {unassigned} BARs have no address"),
            format_args!(
                "boot with firmware that assigns BARs (SeaBIOS, OVMF), or assign them in the \
                 kernel with ivshmem::pci::assign (this kernel does with the word `assign`)"
            ),
        );
    }
    unassigned == 0
}
