// SPDX-License-Identifier: MIT OR Apache-2.0
//! A bare-metal test kernel for the `ivshmem` driver.
//!
//! Booted by PVH (`qemu -kernel`) or as a UEFI application (`cargo xtask
//! image`), it does what its command line says (see [`modes`]), speaks lines
//! over COM1, ends every run with `== PASS` or `== FAIL reason`, and leaves
//! through `isa-debug-exit` with QEMU's exit status 33 or 35.
#![no_std]
#![no_main]

use core::{fmt::Display, panic::PanicInfo};

use x86_64::instructions::interrupts as processor_interrupts;

mod acpi;
mod arch;
mod boot;
mod cmdline;
mod config;
mod devices;
mod exit;
mod guest;
mod interrupts;
mod lines;
mod logger;
mod machine;
mod memory;
mod modes;
mod platform;
mod serial;

use arch::{apic, gdt, idt, pic, time};

/// Sets the machine up, each part before the ones that need it, and runs the mode asked for.
/// Called by `pvh.s` with the physical address of `start_info`.
extern "C" fn kmain(start_info: u64) -> ! {
    or_fail(serial::init());
    or_fail(logger::init());
    or_fail(boot::init(start_info));
    gdt::init();
    idt::init();
    or_fail(memory::init());
    pic::init();
    or_fail(apic::init());
    or_fail(time::init());
    or_fail(apic::start_tick());
    processor_interrupts::enable();
    match modes::run() {
        Ok(()) => exit::pass(),
        Err(failure) => exit::fail(format_args!("{}", failure.as_str())),
    }
}

/// Ends the run if a part of the machine cannot be set up.
fn or_fail<E: Display>(result: Result<(), E>) {
    if let Err(error) = result {
        exit::fail(format_args!("{error}"));
    }
}

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    let message = info.message();
    match info.location() {
        Some(place) => exit::fail_after(
            || println!("panic at {place}:\n{message}"),
            format_args!("panic at {}:{}: {message}", place.file(), place.line()),
        ),
        None => exit::fail(format_args!("panic: {message}")),
    }
}
