// SPDX-License-Identifier: MIT OR Apache-2.0
//! Tests of the kernel's own machine layer: `mode=selftest what=NAME`.
//!
//! Those in [`faults`] are meant to fail; the host checks how they do.

use core::{
    fmt,
    sync::atomic::{AtomicU32, Ordering},
};

use ivshmem::{MsiMessage, Platform, VectorIndex};
use ivshmem_scenarios::Failure;

use super::{find, Entry};
use crate::{
    arch::{apic, cpu, time},
    cmdline, exit, interrupts,
    machine::KernelMachine,
    platform::KernelPlatform,
    println, serial,
};

mod faults;
mod memory;

const TESTS: &[Entry<fn()>] = &[
    ("panic", faults::panic),
    ("panic-in-line", faults::panic_in_line),
    ("panic-in-report", faults::panic_in_report),
    ("exception", faults::exception),
    ("null", faults::null),
    ("write-code", faults::write_code),
    ("execute-data", faults::execute_data),
    ("stack-overflow", faults::stack_overflow),
    ("unexpected-interrupt", faults::unexpected_interrupt),
    ("memory", memory::run),
    ("interrupts", interrupt_slots),
    ("time", clock_and_tick),
    ("echo", echo),
];

/// How long `echo` waits for its line.
const ECHO_NS: u64 = 10_000_000_000;

/// How long an interrupt may take.
const INTERRUPT_NS: u64 = 5_000_000_000;

/// How long `time` waits.
const TIME_NS: u64 = 200_000_000;

/// The slot numbers that `note_slot` was called with, summed.
static NOTED_SLOTS: AtomicU32 = AtomicU32::new(0);

/// Runs the test that the command line names.
pub fn run(_: &mut KernelMachine) -> Result<(), Failure> {
    let name = cmdline::get("what").unwrap_or("");
    find("self test", name, TESTS.iter().copied())();
    Ok(())
}

/// Ends the run unless `condition` holds. `what` says what should be.
fn check(condition: bool, what: fmt::Arguments<'_>) {
    if !condition {
        exit::fail(format_args!("not so: {what}"));
    }
}

/// The messages a device is given, counts and handlers of their interrupts, and the limit.
fn interrupt_slots() {
    let mut platform = new_platform(2);
    let messages = [0, 1, 2].map(|vector| platform.msi(VectorIndex(vector)));
    let id = apic::id() as u8;
    let expected = [Some(0x40), Some(0x41), None]
        .map(|vector| Ok(vector.and_then(|vector| MsiMessage::x86(id, vector))));
    check(
        messages == expected,
        format_args!("the messages are {expected:x?}, not {messages:x?}"),
    );
    let slots = [0, 1, 2].map(|vector| platform.slot(VectorIndex(vector)));
    check(
        slots == [Some(0), Some(1), None],
        format_args!("two vectors have slots, not {slots:?}"),
    );

    interrupts::set_handler(1, note_slot);
    for (vector, slot, count) in [(0x40, 0, 1), (0x41, 1, 1), (0x41, 1, 2)] {
        apic::interrupt_self(vector);
        let arrived = cpu::wait_until(time::now_ns() + INTERRUPT_NS, || {
            interrupts::count(slot) == count
        });
        check(
            arrived,
            format_args!("interrupt {vector:#x} arrived within {INTERRUPT_NS} ns"),
        );
    }
    let counts = [0, 1, 2].map(interrupts::count);
    check(
        counts == [1, 2, 0],
        format_args!("counts are 1, 2, 0, not {counts:?}"),
    );
    let noted = NOTED_SLOTS.load(Ordering::Relaxed);
    check(
        noted == 2,
        format_args!("slot 1 was handled twice, not {noted} times"),
    );
    let spurious = interrupts::spurious();
    check(
        spurious == 0,
        format_args!("no interrupt was spurious, {spurious} were"),
    );

    let second = new_platform(interrupts::SLOTS - 2);
    let slot = second.slot(VectorIndex(0));
    check(
        slot == Some(2),
        format_args!("a second device has slots from 2, not {slot:?}"),
    );
    match KernelPlatform::new(1) {
        Ok(platform) => exit::fail(format_args!(
            "not so: all slots are taken, {platform:?} came"
        )),
        Err(error) => log::info!("as it should be: {error}"),
    }
}

fn new_platform(vectors: u8) -> KernelPlatform {
    KernelPlatform::new(vectors).unwrap_or_else(|error| exit::fail(format_args!("{error}")))
}

fn note_slot(slot: u8) {
    NOTED_SLOTS.fetch_add(slot.into(), Ordering::Relaxed);
}

/// A halting wait and a spinning one keep their deadlines, and the tick comes.
fn clock_and_tick() {
    for (name, wait) in [
        ("halted", cpu::wait_until as fn(u64, fn() -> bool) -> bool),
        ("spun", cpu::spin_until),
    ] {
        let ticks_before = interrupts::ticks();
        let start_ns = time::now_ns();
        let deadline_ns = start_ns + TIME_NS;
        let held = wait(deadline_ns, || false);
        let end_ns = time::now_ns();
        let ticks = interrupts::ticks().wrapping_sub(ticks_before);
        check(
            !held,
            format_args!("a condition that is never true does not hold"),
        );
        check(
            end_ns >= deadline_ns,
            format_args!(
                "{name}: the wait ended at its deadline, not {} ns before",
                deadline_ns - end_ns.min(deadline_ns)
            ),
        );
        check(ticks > 0, format_args!("{name}: the tick came"));
        println!("@ time wait={name} ns={} ticks={ticks}", end_ns - start_ns);

        let held = wait(time::now_ns(), || true);
        check(
            held,
            format_args!("a condition that is true holds, whatever the time"),
        );
    }
}

/// Reads a line and prints it.
fn echo() {
    println!("@ ready");
    let mut buffer = [0; 256];
    match serial::read_line(&mut buffer, time::now_ns() + ECHO_NS) {
        Ok(line) => println!("@ echo text={line}"),
        Err(error) => exit::fail(format_args!("{error}")),
    }
}
