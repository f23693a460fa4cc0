// SPDX-License-Identifier: MIT OR Apache-2.0
//! Trials of `mode=doctor`: what it says of healthy devices, and of each fault that QEMU can be brought to.

use libtest_mimic::Failed;
use xtask::accelerator::AcceleratorKind;
use xtask::qemu::{option_value, Guest, Marker, Outcome};

use crate::guests::{plain, Place, TestServer};
use crate::lab::{field, same, with_kvm, Lab, Need, PATIENCE};

const SIZE: u64 = 1 << 20;

/// Without KVM nothing else is unmasked than what is harmless there, so trials of vectors ask for TCG.
const TCG: AcceleratorKind = AcceleratorKind::Tcg;

pub fn trials() -> Vec<Need> {
    vec![
        Need::new("doctor::healthy_doorbell", |lab| {
            let server = TestServer::start(SIZE, 3)?;
            let outcome = run(server.doorbell(doctor(lab).accelerator(TCG), Place::RootPort))?;
            passed(&outcome)?;
            let about = about(&outcome, "flavour")?;
            same("flavour", field(about, "flavour")?, "Doorbell")?;
            same("bars", field(about, "bars")?, "assigned")?;
            vectors(&outcome, ["3", "3", "0,1,2", "none"])
        }),
        Need::new("doctor::healthy_plain", |lab| {
            let outcome = run(plain(doctor(lab), Place::Q35, "1M"))?;
            passed(&outcome)?;
            let about = about(&outcome, "flavour")?;
            same("flavour", field(about, "flavour")?, "Plain")?;
            vectors(&outcome, ["0", "0", "none", "none"])
        }),
        Need::new("doctor::vectors_beyond_the_servers_are_dead", |lab| {
            let server = TestServer::start(SIZE, 1)?;
            let guest = doorbell(&server, doctor(lab).accelerator(TCG), 4);
            let outcome = run(guest)?;
            vectors(&outcome, ["4", "4", "0", "1,2,3"])?;
            let fault = only_fault(&outcome)?;
            contains(fault, "vectors 1,2,3 never arrive, the server serves 1")?;
            contains(fault, "--vectors 4")
        }),
        Need::new("doctor::vectors_are_unmasked_as_asked_for", |lab| {
            let server = TestServer::start(SIZE, 1)?;
            let guest = doctor(lab).append("vectors=1").accelerator(TCG);
            let outcome = run(doorbell(&server, guest, 4))?;
            passed(&outcome)?;
            vectors(&outcome, ["4", "1", "0", "none"])?;
            contains(&outcome.lines.join("\n"), "vectors 1 to 3 were not tried")
        }),
        Need::new("doctor::unassigned_bars", |lab| {
            let server = TestServer::start(SIZE, 1)?;
            let guest = doctor(lab).args(["-bios", "qboot.rom"]);
            let outcome = run(server.doorbell(guest, Place::Pc))?;
            let about = about(&outcome, "flavour")?;
            same("flavour", field(about, "flavour")?, "Doorbell")?;
            same("bars", field(about, "bars")?, "unassigned")?;
            same("memory decode", field(about, "decode")?, "off")?;
            let fault = only_fault(&outcome)?;
            contains(fault, "3 BARs have no address")?;
            contains(fault, "SeaBIOS")
        }),
        Need::new("doctor::no_device", |lab| {
            let outcome = run(doctor(lab))?;
            contains(only_fault(&outcome)?, "-device ivshmem-plain")
        }),
        Need::new("doctor::two_devices", |lab| {
            let server = TestServer::start(SIZE, 2)?;
            let guest = plain(doctor(lab).accelerator(TCG), Place::Q35, "1M");
            let path = option_value(server.server.socket());
            let guest = guest.chardev(&format!("socket,id=server,path={path}"));
            let outcome = run(guest.device("ivshmem-doorbell,chardev=server,vectors=2"))?;
            passed(&outcome)?;
            let lines = outcome.lines.iter();
            let devices = lines.filter(|line| line.contains(" flavour="));
            let mut flavours = devices
                .map(|line| field(line, "flavour"))
                .collect::<Result<Vec<_>, _>>()?;
            flavours.sort_unstable();
            same("flavours", flavours, vec!["Doorbell", "Plain"])?;
            let end = about(&outcome, "devices")?;
            same("devices", field(end, "devices")?, "2")?;
            contains(&outcome.lines.join("\n"), "vectors=2 tried=2 arrived=0,1 ")
        }),
        Need::where_possible("doctor::kvm_is_not_made_to_abort", |lab| {
            with_kvm(|| kvm(lab))
        }),
    ]
}

/// A vector that the server does not serve would end QEMU 7.2 when it is unmasked.
fn kvm(lab: &Lab) -> Result<(), Failed> {
    let server = TestServer::start(SIZE, 1)?;
    let guest = doctor(lab)
        .accelerator(AcceleratorKind::Kvm)
        // SeaBIOS would take seconds on a KVM made of software.
        .append("assign")
        .args(["-bios", "qboot.rom"]);
    let outcome = run(doorbell(&server, guest, 4))?;
    passed(&outcome)?;
    vectors(&outcome, ["4", "1", "0", "none"])?;
    let caching = field(about(&outcome, "caching")?, "caching")?;
    same("caching", caching, "cached")
}

fn doctor(lab: &Lab) -> Guest {
    lab.guest("mode=doctor")
}

/// Adds a device with a number of vectors that is not the server's.
fn doorbell(server: &TestServer, guest: Guest, vectors: u16) -> Guest {
    let path = option_value(server.server.socket());
    let guest = guest.chardev(&format!("socket,id=server,path={path}"));
    guest.device(&format!(
        "ivshmem-doorbell,chardev=server,vectors={vectors}"
    ))
}

fn run(guest: Guest) -> Result<Outcome, Failed> {
    Ok(guest.spawn()?.wait_exit(PATIENCE)?)
}

fn passed(outcome: &Outcome) -> Result<(), Failed> {
    if outcome.passed() {
        return Ok(());
    }
    Err(outcome.lines.join("\n").into())
}

/// Returns the first line `@ doctor ...` that says something about `key`.
fn about<'o>(outcome: &'o Outcome, key: &str) -> Result<&'o str, Failed> {
    let wanted = |line: &&String| line.starts_with("@ doctor ") && field(line, key).is_ok();
    let line = outcome.lines.iter().find(wanted);
    line.map(String::as_str)
        .ok_or_else(|| format!("no {key}= in:\n{}", outcome.lines.join("\n")).into())
}

/// Compares the numbers of vectors that there are and were tried, those that arrived, and the dead ones.
fn vectors(outcome: &Outcome, expected: [&str; 4]) -> Result<(), Failed> {
    let line = about(outcome, "tried")?;
    let keys = ["vectors", "tried", "arrived", "dead"];
    for (key, expected) in keys.into_iter().zip(expected) {
        same(key, field(line, key)?, expected)?;
    }
    Ok(())
}

/// Returns the fault of a run that must have failed with that one alone.
fn only_fault(outcome: &Outcome) -> Result<&str, Failed> {
    same("exit code", outcome.status, Some(35))?;
    let marker = Marker::Fail("1 fault".into());
    same("marker", outcome.marker.as_ref(), Some(&marker))?;
    let faults: Vec<_> = outcome
        .lines
        .iter()
        .filter_map(|line| line.strip_prefix("fault: "))
        .collect();
    same("faults", faults.len(), 1)?;
    contains(faults[0], "; do: ")?;
    Ok(faults[0])
}

fn contains(text: &str, part: &str) -> Result<(), Failed> {
    if text.contains(part) {
        return Ok(());
    }
    Err(format!("`{part}` is not in: {text}").into())
}
