// SPDX-License-Identifier: MIT OR Apache-2.0
//! `mode=lspci`: every PCI function with its IDs, BARs and capabilities.

use ivshmem::pci::{Bar, BarKind, ConfigRegionAccess, Function};
use ivshmem_scenarios::{Failure, Machine};

use crate::{machine::KernelMachine, println};

/// Base class and sub-class of host bridges, whose decoding must not be turned off to size BARs.
const HOST_BRIDGE: u32 = 0x0600;

/// Prints all functions; with the word `hold` on the command line, waits for a line from the host at the end.
pub fn run(machine: &mut KernelMachine) -> Result<(), Failure> {
    let mut count = 0;
    for function in machine.config().functions() {
        match function {
            Ok(function) => show(&function),
            Err(error) => println!("error: {error}"),
        }
        count += 1;
    }
    println!("@ end functions={count}");
    if machine.has("hold") {
        machine.hear(&mut [0; 16])?;
    }
    Ok(())
}

fn show<C: ConfigRegionAccess>(function: &Function<'_, C>) {
    let address = function.address();
    println!(
        "@ function address={address} id={:04x}:{:04x} class={:06x} revision={:02x} header={} command={:04x} pin={}",
        function.vendor_id(),
        function.device_id(),
        function.class(),
        function.revision(),
        function.header_kind().0,
        function.command().bits(),
        function.interrupt_pin(),
    );
    if function.class() >> 8 != HOST_BRIDGE {
        for bar in function.bars() {
            match bar {
                Ok(bar) => show_bar(function, &bar),
                Err(error) => println!("error: {address}: {error}"),
            }
        }
    }
    for capability in function.capabilities() {
        match capability {
            Ok(capability) => println!(
                "@ capability address={address} id={:#04x} offset={:#04x}",
                capability.id, capability.offset
            ),
            Err(error) => println!("error: {address}: {error}"),
        }
    }
    if let Ok(Some(msix)) = function.msix() {
        println!(
            "@ msix address={address} vectors={} table={}+{:#x} pending={}+{:#x}",
            msix.vectors, msix.table.bar, msix.table.offset, msix.pending.bar, msix.pending.offset
        );
    }
}

fn show_bar<C: ConfigRegionAccess>(function: &Function<'_, C>, bar: &Bar) {
    let kind = match bar.kind {
        BarKind::Io => "io",
        BarKind::Memory32 => "memory32",
        BarKind::Memory64 => "memory64",
    };
    let prefetchable = if bar.prefetchable {
        " prefetchable"
    } else {
        ""
    };
    println!(
        "@ bar address={} index={} kind={kind}{prefetchable} at={:#x} size={:#x}",
        function.address(),
        bar.index,
        bar.address,
        bar.size
    );
}
