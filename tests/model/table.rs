// SPDX-License-Identifier: MIT OR Apache-2.0
//! The scenario table on every flavour of the model, and under each fault that it must stand.

use ivshmem::pci::probe;
use ivshmem_device::Memory as _;
use ivshmem_scenarios::{device, ensure, ensure_eq, pattern, table, Failure};
use libtest_mimic::{Failed, Trial};
use xtask::trials::same;

use crate::course::Course;
use crate::descriptor::Shared;
use crate::hub::Memory;
use crate::machine::ModelMachine;
use crate::setup::{Flavour, Setup, FIRST, SIZE, VECTORS};

/// Scenarios for a device with memory, whatever else it has.
const ALL: [&str; 4] = ["discover", "registers", "memory", "memory-ends"];
/// Scenarios for a device with MSI-X.
const MSIX: [&str; 6] = [
    "detach",
    "msix-deliver",
    "msix-mask",
    "msix-retarget",
    "doorbell-absent",
    "puppet",
];
/// Scenarios for a device with a line; `intx-status` needs nobody at the other end.
const LINE: [&str; 6] = [
    "intx-deliver",
    "intx-mask",
    "intx-status",
    "intx-coalesce",
    "intx-shared",
    "puppet",
];
/// The patterns that the host and the guest leave in scenario `late`.
const LATE_SEEDS: [u64; 2] = [0x1a7e, 0x1a7f];

/// Scenarios that cannot stand a fault, with the reason. Everything else passes under all of them.
const CANNOT: [(Course, &str, &[&str]); 2] = [
    (
        Course::Repeated,
        "it counts the interrupts of its doorbells, and one comes twice",
        &["msix-deliver", "intx-deliver", "intx-coalesce", "intx-shared"],
    ),
    (
        Course::Lossy,
        "it rings once and waits for the interrupt, as the device has no memory of its own for messages",
        &[
            "detach",
            "msix-deliver",
            "msix-mask",
            "msix-retarget",
            "doorbell-absent",
            "intx-deliver",
            "intx-mask",
            "intx-coalesce",
            "intx-shared",
        ],
    ),
];

impl Flavour {
    fn scenarios(self) -> Vec<&'static str> {
        let own: &[_] = match self {
            Self::LegacyShm(_) => &["intx-status"],
            Self::LegacyLine(_) => &LINE,
            Self::LegacyMsix(_) | Self::Doorbell => &MSIX,
            Self::Plain => &["plain"],
        };
        let late: &[_] = if self.is_late() { &["late"] } else { &[] };
        [&ALL, own, late].concat()
    }
}

pub fn trials() -> Vec<Trial> {
    let mut trials = vec![Trial::test("table::every_scenario_runs", complete)];
    for flavour in Setup::flavours() {
        for scenario in flavour.scenarios() {
            let ids: &[u16] = if flavour.has_server() { &[0, 5] } else { &[0] };
            for &id in ids {
                let name = format!("table::{scenario}_of_{}_as_{id}", flavour.name());
                let setup = Setup {
                    id,
                    ..Setup::new(flavour)
                };
                trials.push(Trial::test(name, move || run(setup, scenario)));
            }
            trials.extend(Course::FAULTS.map(|course| {
                let name = format!("table::{scenario}_of_{}_{}", flavour.name(), course.name());
                let setup = Setup {
                    id: ids[ids.len() - 1],
                    course,
                    ..Setup::new(flavour)
                };
                Trial::test(name, move || under_fault(setup, scenario))
            }));
        }
    }
    trials
}

/// A scenario added to the table is one to decide about here.
fn complete() -> Result<(), Failed> {
    let mut decided: Vec<_> = Setup::flavours().flat_map(Flavour::scenarios).collect();
    let mut listed = table::<ModelMachine>().map(|scenario| scenario.name);
    decided.sort_unstable();
    decided.dedup();
    listed.sort_unstable();
    same("scenarios", decided, listed.to_vec())
}

/// A scenario that is listed as failing must fail, so that the list stays true.
fn under_fault(setup: Setup, scenario: &str) -> Result<(), Failed> {
    let cannot = CANNOT
        .iter()
        .find(|(course, _, names)| *course == setup.course && names.contains(&scenario));
    match (cannot, run(setup, scenario)) {
        (None, result) => result,
        (Some(_), Err(_)) => Ok(()),
        (Some((_, reason, _)), Ok(())) => Err(format!("passes, although {reason}").into()),
    }
}

fn run(setup: Setup, scenario: &str) -> Result<(), Failed> {
    let memory = Shared::new(SIZE)?;
    let setup = Setup {
        devices: if scenario == "intx-shared" { 2 } else { 1 },
        memory: if scenario == "late" {
            Memory::Held
        } else {
            Memory::AtOnce
        },
        ..setup
    };
    let mut machine = setup.boot(memory)?.host(answer);
    // Somebody else is there, too; if all goes well it gets the next ID.
    let peer = machine.hub.peer(VECTORS);
    same("the peer's id", peer, peer_of(setup))?;
    let table = table::<ModelMachine>();
    let found = table.iter().find(|entry| entry.name == scenario);
    let run = found.ok_or("no such scenario")?.run;
    run(&mut machine).map_err(failed)?;
    match scenario {
        "discover" => agree(&machine, setup.flavour),
        "late" => {
            let last = SIZE - pattern::WORD as u64;
            ensure_word(memory, last, LATE_SEEDS[1]).map_err(failed)
        }
        _ => Ok(()),
    }?;
    same("odd things", notices(&machine), String::new())
}

const fn peer_of(setup: Setup) -> u16 {
    if setup.flavour.has_server() {
        setup.id + setup.devices as u16
    } else {
        setup.id
    }
}

pub fn failed(failure: Failure) -> Failed {
    failure.as_str().into()
}

/// Returns what the devices have found odd, of which nothing is the driver's doing.
fn notices(machine: &ModelMachine) -> String {
    let of = |number| {
        machine
            .board
            .with(number, |slot| slot.wires.notices.clone())
    };
    let all = [FIRST, FIRST + 1].into_iter().filter_map(of).flatten();
    all.map(|notice| format!("{notice}; ")).collect()
}

/// Plays the host's part.
fn answer(machine: &ModelMachine, said: &str) -> Result<String, Failure> {
    let words: Vec<_> = said.split_whitespace().collect();
    match words[..] {
        ["@", "early"] => {
            let is_there = machine
                .board
                .with(FIRST, |slot| slot.device.memory().is_some());
            ensure_eq("memory, early", is_there, Some(false))?;
            let word = pattern::word(LATE_SEEDS[0], 0).to_le_bytes();
            machine.memory.write(0, &word);
            machine.hub.release(own(machine)?);
            Ok("sent".into())
        }
        ["@", "ring", device, count] => {
            let number = FIRST + value(device, "device=")? as u8;
            let id = machine.board.with(number, |slot| slot.id()).flatten();
            for _ in 0..value(count, "count=")? {
                machine.hub.ring(id.ok_or("a device without a server")?, 0);
            }
            machine.board.settle();
            Ok("rung".into())
        }
        ["@", "filled", seed, _] => through_the_device(machine, value(seed, "seed=")?),
        ref other => crate::puppet::order(machine, other),
    }
}

pub fn own(machine: &ModelMachine) -> Result<u16, Failure> {
    let id = machine.board.with(FIRST, |slot| slot.id()).flatten();
    id.ok_or_else(|| Failure::from("no id"))
}

pub fn value(word: &str, key: &str) -> Result<u64, Failure> {
    let value = word.strip_prefix(key);
    Ok(value.ok_or("the scenario did not say it")?.parse()?)
}

/// Plays the host's part of `memory` from the far side: through BAR 2, where the device decodes it.
fn through_the_device(machine: &ModelMachine, seed: u64) -> Result<String, Failure> {
    let bar = probe(&device(machine)?)?.shared_memory;
    let mut expected = vec![0; bar.len as usize];
    pattern::fill(seed, 0, &mut expected);
    let mut seen = vec![0; bar.len as usize];
    let read = machine.board.read(bar.start, &mut seen);
    ensure(
        read.is_some() && seen == expected,
        format_args!("bar 2 does not hold what the driver wrote"),
    )?;
    let seed = 0xfeed;
    pattern::fill(seed, 0, &mut expected);
    machine.board.write(bar.start, &expected);
    Ok(format!("check {seed}"))
}

fn ensure_word(memory: &'static Shared, offset: u64, seed: u64) -> Result<(), Failure> {
    let mut word = [0; pattern::WORD];
    memory.read(offset, &mut word);
    let expected = pattern::word(seed, offset).to_le_bytes();
    ensure_eq("a word in the host's memory", word, expected)
}

/// Compares what `probe` finds with what the model was made to be.
fn agree(machine: &ModelMachine, flavour: Flavour) -> Result<(), Failed> {
    let function = device(machine).map_err(failed)?;
    let resources = probe(&function).map_err(|error| error.to_string())?;
    let legacy = !matches!(flavour, Flavour::Plain | Flavour::Doorbell);
    same("revision", resources.revision, u8::from(!legacy))?;
    same("pin", resources.interrupt_pin, u8::from(legacy))?;
    same("memory", resources.shared_memory.len, SIZE)?;
    let registers = resources.registers.map(|bar| bar.len);
    same("registers", registers, Some(256))?;
    let vectors = resources.msix.map(|msix| msix.capability.vectors);
    same("vectors", vectors, flavour.has_msix().then_some(VECTORS))
}
