// SPDX-License-Identifier: MIT OR Apache-2.0
//! The scenario table on a frozen machine, and the device's own view of what the scenarios did.

use ivshmem::pci::{probe, Resources};
use ivshmem::PhysRegion;
use ivshmem_scenarios::{device, ensure, pattern, table, Failure};
use libtest_mimic::Failed;
use xtask::guests::{Place, TestServer};
use xtask::qmp::PciDevice;
use xtask::trials::same;

use crate::lab::{on, Lab, Need, SharedFile, PATIENCE, SIZE};
use crate::machine::QtestMachine;

const VECTORS: u16 = 4;
/// The server's first client, which the machine of a trial is.
const ARGUMENTS: &str = "id=0";

/// Scenarios for a device with memory alone.
const PLAIN: [&str; 5] = ["discover", "registers", "plain", "memory", "memory-ends"];
/// Scenarios for a device with doorbell and MSI-X.
const DOORBELL: [&str; 8] = [
    "discover",
    "registers",
    "msix-deliver",
    "msix-mask",
    "msix-retarget",
    "doorbell-absent",
    "memory",
    "memory-ends",
];
/// Scenarios that show whether a device behind bridges, whose windows the driver's `assign` has set, is reached
/// in its BARs and reaches memory.
const BEHIND: [&str; 3] = ["discover", "msix-deliver", "memory"];
/// Scenarios that do not apply:
///
/// - `detach` is about `ivshmem::attach` and its way back, which map memory of their own machine.
/// - `puppet` serves trials of several guests; here the trial itself drives all machines.
/// - The others are about revision 0, which this QEMU does not have.
const ELSEWHERE: [&str; 8] = [
    "detach",
    "puppet",
    "late",
    "intx-deliver",
    "intx-mask",
    "intx-status",
    "intx-coalesce",
    "intx-shared",
];

pub fn trials() -> Vec<Need> {
    let mut trials = vec![Need::new(
        "table::every_scenario_runs_or_does_not_apply",
        |_| complete(),
    )];
    for place in [Place::Pc, Place::Q35] {
        for scenario in PLAIN {
            let name = format!("table::{scenario}_of_plain_on_{}", place.name());
            trials.push(Need::new(name, move |lab| plain(lab, place, scenario)));
        }
        for scenario in DOORBELL {
            let name = format!("table::{scenario}_of_doorbell_on_{}", place.name());
            trials.push(Need::new(name, move |lab| doorbell(lab, place, scenario)));
        }
    }
    for place in [Place::RootPort, Place::Bridge, Place::Nested] {
        for scenario in BEHIND {
            let name = format!("table::{scenario}_of_doorbell_on_{}", place.name());
            trials.push(Need::new(name, move |lab| doorbell(lab, place, scenario)));
        }
    }
    trials.push(Need::new("table::memory-ends_of_64_gib", |lab| {
        let memory = SharedFile::new(64 << 30)?;
        on([memory.plain(lab.guest(), Place::Q35)?], |[board]| {
            run(QtestMachine::new(board, memory.file())?, "memory-ends", 0)
        })
    }));
    trials
}

/// A scenario added to the table is one to decide about here.
fn complete() -> Result<(), Failed> {
    let mut decided = [&PLAIN[..], &DOORBELL[..], &ELSEWHERE[..]].concat();
    let mut listed = table::<QtestMachine>().map(|scenario| scenario.name);
    decided.sort_unstable();
    decided.dedup();
    listed.sort_unstable();
    same("scenarios", decided, listed.to_vec())
}

fn plain(lab: &Lab, place: Place, scenario: &str) -> Result<(), Failed> {
    let memory = SharedFile::new(SIZE)?;
    on([memory.plain(lab.guest(), place)?], |[board]| {
        run(QtestMachine::new(board, memory.file())?, scenario, 0)
    })
}

fn doorbell(lab: &Lab, place: Place, scenario: &str) -> Result<(), Failed> {
    let server = TestServer::start(SIZE, VECTORS)?;
    on([server.doorbell(lab.guest(), place)], |[board]| {
        let machine = QtestMachine::new(board, server.server.memory())?;
        run(machine, scenario, VECTORS)
    })
}

/// Runs a scenario, and compares what the driver makes of the device with QEMU's view.
fn run(machine: QtestMachine, scenario: &str, vectors: u16) -> Result<(), Failed> {
    let mut machine = machine.arguments(ARGUMENTS).host(through_the_device);
    let table = table::<QtestMachine>();
    let found = table.iter().find(|entry| entry.name == scenario);
    let run = found.ok_or("no such scenario")?.run;
    run(&mut machine).map_err(failed)?;
    let resources = resources(&machine).map_err(failed)?;
    match scenario {
        "discover" => agree(&machine, &resources, vectors),
        "memory-ends" => ends_through_the_device(&machine, resources.shared_memory),
        _ => Ok(()),
    }
}

pub fn failed(failure: Failure) -> Failed {
    failure.as_str().into()
}

fn resources(machine: &QtestMachine) -> Result<Resources, Failure> {
    Ok(probe(&device(machine)?)?)
}

/// Plays the host's part of `memory` from the far side: through BAR 2, where the device decodes it.
fn through_the_device(machine: &QtestMachine, said: &[String]) -> Result<String, Failure> {
    let bar = resources(machine)?.shared_memory;
    let seed = said
        .last()
        .and_then(|line| line.strip_prefix("@ filled seed="))
        .and_then(|rest| rest.split(' ').next())
        .ok_or("the scenario did not say `@ filled seed=`")?
        .parse()?;
    let mut expected = vec![0; bar.len as usize];
    pattern::fill(seed, 0, &mut expected);
    ensure(
        machine.board.read(bar) == expected,
        format_args!("bar 2 does not hold what the driver wrote"),
    )?;
    let seed = 0xfeed;
    pattern::fill(seed, 0, &mut expected);
    machine.board.write(bar.start, &expected);
    Ok(format!("check {seed}"))
}

/// Looks for the words that `memory-ends` has left, where the device decodes them.
fn ends_through_the_device(machine: &QtestMachine, bar: PhysRegion) -> Result<(), Failed> {
    let word = pattern::WORD as u64;
    let places = (3..u64::BITS).map(|bit| 1 << bit);
    let places = places.take_while(|&offset| offset < bar.len);
    for offset in places.chain([bar.len - word]) {
        let seen = machine.board.read(PhysRegion {
            start: bar.start + offset,
            len: word,
        });
        let expected = pattern::word(1, offset).to_le_bytes();
        same(&format!("bar 2 at {offset:#x}"), &seen[..], &expected)?;
    }
    Ok(())
}

/// Compares what `probe` has found with QEMU's view of the device.
fn agree(machine: &QtestMachine, resources: &Resources, vectors: u16) -> Result<(), Failed> {
    let devices = machine.board.vm().qmp(PATIENCE)?.query_pci()?;
    let found = devices.into_iter().find(|device| device.id == "ivshmem");
    let qemus = found.ok_or("QEMU does not know the device")?;
    let address = resources.address;
    same(
        "address",
        (address.bus(), address.device(), address.function()),
        (qemus.bus, qemus.slot, qemus.function),
    )?;
    same("revision", resources.revision, 1)?;
    same("registers", resources.registers, bar(&qemus, 0))?;
    let memory = Some(resources.shared_memory);
    same("memory", memory, bar(&qemus, 2))?;
    same("size of the memory", resources.shared_memory.len, SIZE)?;
    let msix = resources.msix.as_ref();
    same(
        "vectors",
        msix.map_or(0, |msix| msix.capability.vectors),
        vectors,
    )?;
    same("msi-x", msix.map(|msix| msix.table_bar), bar(&qemus, 1))?;
    // Where 128 vectors or fewer have their pending bits (QEMU 2.6 and later).
    let pending = msix.map(|msix| (msix.pending_bar, msix.capability.pending.offset));
    same(
        "pending bits",
        pending,
        bar(&qemus, 1).map(|bar| (bar, 0x800)),
    )
}

/// Returns where a BAR decodes and its size.
fn bar(device: &PciDevice, index: u8) -> Option<PhysRegion> {
    let bar = device.bars.iter().find(|bar| bar.bar == index)?;
    Some(PhysRegion {
        start: bar.address?,
        len: bar.size,
    })
}
