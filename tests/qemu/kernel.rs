// SPDX-License-Identifier: MIT OR Apache-2.0
//! Trials of the test kernel itself: its markers, its exit codes, and what it says when something is wrong.

use libtest_mimic::Failed;
use xtask::accelerator::AcceleratorKind;
use xtask::qemu::{Marker, Outcome};

use crate::guests::{plain, Place, TestServer};
use crate::lab::{field, hear, same, with_kvm, Lab, Need, PATIENCE};

/// Scenarios that trials run, to be compared with the kernel's list.
const SCENARIOS: [&str; 17] = [
    "discover",
    "detach",
    "registers",
    "plain",
    "msix-deliver",
    "msix-mask",
    "msix-retarget",
    "doorbell-absent",
    "late",
    "intx-deliver",
    "intx-mask",
    "intx-status",
    "intx-coalesce",
    "intx-shared",
    "memory",
    "memory-ends",
    "puppet",
];

pub fn trials() -> Vec<Need> {
    let mut trials = vec![
        Need::new("kernel::lists_every_scenario", list),
        Need::new("kernel::no_device_is_said_and_fails", |lab| {
            let reason = failed(lab, "run=discover", "pc")?;
            contains(&reason, "no ivshmem device")?;
            let reason = failed(lab, "run=msix-deliver", "q35")?;
            contains(&reason, "no ivshmem device")
        }),
        Need::new("kernel::an_unknown_name_is_said_and_fails", |lab| {
            contains(&failed(lab, "run=nonsense", "pc")?, "discover")?;
            contains(&failed(lab, "mode=nonsense", "pc")?, "lspci")?;
            contains(&failed(lab, "quiet", "pc")?, "nothing to do")
        }),
        Need::new("kernel::a_panic_says_file_line_and_message", |lab| {
            let outcome = run(lab, "mode=selftest what=panic", "pc")?;
            let reason = reason(&outcome)?;
            contains(&reason, ".rs:")?;
            contains(&reason, "panic at ")
        }),
        Need::new("kernel::an_exception_shows_its_frame", |lab| {
            for what in ["exception", "stack-overflow", "unexpected-interrupt"] {
                let outcome = run(lab, &format!("mode=selftest what={what}"), "q35")?;
                reason(&outcome)?;
                let log = outcome.lines.join("\n");
                for register in ["rip", "rsp", "rflags", "cr2", "error"] {
                    contains(&log, register)?;
                }
            }
            Ok(())
        }),
        Need::new("kernel::memory_time_and_interrupts_of_its_own", |lab| {
            for what in ["memory", "time"] {
                for machine in ["pc", "q35"] {
                    let words = format!("mode=selftest what={what}");
                    lab.guest(&words)
                        .machine(machine)
                        .spawn()?
                        .finish(PATIENCE)?;
                }
            }
            Ok(())
        }),
        Need::new("kernel::hears_what_the_host_says", |lab| {
            let vm = lab.guest("mode=selftest what=echo").spawn()?;
            hear(&vm, "ready")?;
            // Longer than the 16 bytes that the UART holds.
            let text = "a line that does not fit the receiver's FIFO";
            vm.send_line(text)?;
            vm.wait_line(|line| line.contains(text), PATIENCE)?;
            vm.finish(PATIENCE)?;
            Ok(())
        }),
        Need::new("kernel::with_memory_above_4_gib", |lab| {
            let guest = lab.guest("mode=selftest what=memory").memory_mib(6144);
            guest.machine("q35").spawn()?.finish(PATIENCE)?;
            Ok(())
        }),
        Need::new("kernel::firmware_that_assigns_no_bars_is_said", |lab| {
            let guest = lab.guest("run=discover").args(["-bios", "qboot.rom"]);
            let vm = plain(guest, Place::Pc, "1M").spawn()?;
            contains(
                &reason(&vm.wait_exit(PATIENCE)?)?,
                "bar 0 of 0x100 bytes has no address",
            )
        }),
        Need::where_possible("kernel::x2apic_takes_interrupts", |lab| {
            with_kvm(|| x2apic(lab))
        }),
        Need::new("kernel::debug_build_takes_interrupts", |lab| {
            let server = TestServer::start(1 << 20, 3)?;
            let guest = lab.debug_guest("run=msix-deliver")?;
            let vm = server.doorbell(guest, Place::Q35).spawn()?;
            vm.finish(PATIENCE)?;
            Ok(())
        }),
    ];
    for place in Place::ALL {
        let name = format!("kernel::takes_interrupt_lines_on_{}", place.name());
        trials.push(Need::new(name, move |lab| {
            let vm = place.put(lab.guest("mode=edu"), "edu").spawn()?;
            vm.finish(PATIENCE)?;
            Ok(())
        }));
    }
    trials
}

/// TCG has no x2APIC (QEMU 7.2); any KVM has, also one made of software.
fn x2apic(lab: &Lab) -> Result<(), Failed> {
    let guest = lab
        .guest("mode=selftest what=interrupts")
        .accelerator(AcceleratorKind::Kvm)
        // SeaBIOS would take seconds on a KVM made of software; without PCI there is nothing to miss.
        .args(["-cpu", "qemu64,+x2apic", "-bios", "qboot.rom"]);
    let outcome = guest.spawn()?.finish(PATIENCE)?;
    contains(&outcome.lines.join("\n"), "x2APIC mode")
}

fn list(lab: &Lab) -> Result<(), Failed> {
    let outcome = lab.guest("list").spawn()?.finish(PATIENCE)?;
    let listed = outcome
        .lines
        .iter()
        .filter(|line| line.starts_with("@ scenario "))
        .map(|line| field(line, "name"))
        .collect::<Result<Vec<_>, _>>()?;
    same("scenarios", listed, SCENARIOS.to_vec())
}

/// Runs the kernel without any device of interest, to its end.
fn run(lab: &Lab, append: &str, machine: &str) -> Result<Outcome, Failed> {
    let vm = lab.guest(append).machine(machine).spawn()?;
    Ok(vm.wait_exit(PATIENCE)?)
}

/// Returns the reason of a run that must fail.
fn failed(lab: &Lab, append: &str, machine: &str) -> Result<String, Failed> {
    reason(&run(lab, append, machine)?)
}

/// Returns the reason that a failed run ended with, in marker and exit code alike.
fn reason(outcome: &Outcome) -> Result<String, Failed> {
    same("exit code", outcome.status, Some(35))?;
    match &outcome.marker {
        Some(Marker::Fail(reason)) => Ok(reason.clone()),
        other => Err(format!("marker {other:?} instead of == FAIL").into()),
    }
}

fn contains(text: &str, part: &str) -> Result<(), Failed> {
    if text.contains(part) {
        return Ok(());
    }
    Err(format!("`{part}` is not in: {text}").into())
}
