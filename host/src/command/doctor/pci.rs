// SPDX-License-Identifier: MIT OR Apache-2.0
//! Inside a Linux guest: the ivshmem devices on its PCI bus, and whether they can be used.

use std::fs;

use super::finding::{Code, Finding};
use super::world::World;

const DEVICES: &str = "/sys/bus/pci/devices";

/// Bits of the command register (PCI 3.0, 6.2.2).
const MEMORY_SPACE: u16 = 1 << 1;
const BUS_MASTER: u16 = 1 << 2;

/// Checks every ivshmem device of this machine.
pub(super) fn check(world: &World) -> Vec<Finding> {
    let findings: Vec<_> = world
        .names(DEVICES)
        .iter()
        .filter(|address| is_ivshmem(world, address))
        .flat_map(|address| check_device(world, address))
        .collect();
    if findings.is_empty() {
        return vec![Finding::fine(
            Code::GuestFine,
            world.at(DEVICES).display(),
            "this machine has no ivshmem device itself: not applicable",
        )];
    }
    findings
}

fn attribute(world: &World, address: &str, name: &str) -> Option<String> {
    world.text(&format!("{DEVICES}/{address}/{name}"))
}

fn is_ivshmem(world: &World, address: &str) -> bool {
    attribute(world, address, "vendor").as_deref() == Some("0x1af4")
        && attribute(world, address, "device").as_deref() == Some("0x1110")
}

fn check_device(world: &World, address: &str) -> Vec<Finding> {
    let place = format!("PCI device {address}");
    let mut findings = Vec::new();
    let mut find = |code, what: &str, cure: String| {
        findings.push(Finding::new(code, &place, what, cure));
    };
    if attribute(world, address, "revision").as_deref() == Some("0x00") {
        find(
            Code::GuestOldDevice,
            "revision 0: the device of QEMU before 2.6, with other interrupts",
            "use ivshmem-plain or ivshmem-doorbell of a QEMU of today".to_owned(),
        );
    }
    if bar2_bytes(world, address).is_none() {
        find(
            Code::GuestBarMissing,
            "the BAR of the shared memory (BAR 2) has no address",
            "boot with pci=realloc, or choose a smaller memory; dmesg says why it found no place"
                .to_owned(),
        );
    }
    match command_register(world, address) {
        Some(command) if command & MEMORY_SPACE == 0 => find(
            Code::GuestDecodeOff,
            "memory decode is off: reads give all ones",
            format!("a driver turns it on; without one: echo 1 > {DEVICES}/{address}/enable"),
        ),
        Some(command) if command & BUS_MASTER == 0 && has_driver(world, address) => find(
            Code::GuestBusMasterOff,
            "bus master is off: under QEMU's emulation (TCG) interrupts are lost",
            format!("the driver has to set it (pci_set_master); by hand: setpci -s {address} COMMAND=6:6"),
        ),
        Some(_) => {}
        None => find(
            Code::GuestIncomplete,
            "its configuration space cannot be read",
            "run this as root, with sysfs mounted".to_owned(),
        ),
    }
    if !has_driver(world, address) {
        find(
            Code::GuestNoDriver,
            "no driver is bound: the memory can be used through sysfs, interrupts cannot",
            format!("for interrupts: driverctl set-override {address} vfio-pci"),
        );
    }
    if findings.is_empty() {
        let bytes = bar2_bytes(world, address).unwrap_or_default();
        let what = format!("it has {bytes} bytes of shared memory, and a driver");
        findings.push(Finding::fine(Code::GuestFine, place, what));
    }
    findings
}

fn has_driver(world: &World, address: &str) -> bool {
    world.at(&format!("{DEVICES}/{address}/driver")).exists()
}

/// Returns the size of BAR 2: the third line of `resource`, first and last address and flags.
fn bar2_bytes(world: &World, address: &str) -> Option<u64> {
    let resource = attribute(world, address, "resource")?;
    let mut numbers = resource
        .lines()
        .nth(2)?
        .split_whitespace()
        .map(|word| u64::from_str_radix(word.trim_start_matches("0x"), 16).ok());
    let (start, end) = (numbers.next()??, numbers.next()??);
    end.checked_sub(start)
        .and_then(|length| length.checked_add(1))
        .filter(|_| start != 0)
}

fn command_register(world: &World, address: &str) -> Option<u16> {
    let config = fs::read(world.at(&format!("{DEVICES}/{address}/config"))).ok()?;
    match config.get(4..6)? {
        &[low, high] => Some(u16::from_le_bytes([low, high])),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::world::plant;
    use super::*;

    const GOOD: [(&str, &str); 6] = [
        ("vendor", "0x1af4\n"),
        ("device", "0x1110\n"),
        ("revision", "0x01\n"),
        (
            "resource",
            "0x00000000febff000 0x00000000febff0ff 0x0000000000040200\n0x0 0x0 0x0\n\
             0x00000000fea00000 0x00000000feafffff 0x000000000014220c\n",
        ),
        ("config", "\u{1}\u{2}\u{3}\u{4}\u{6}\0 rest"),
        ("driver/name", "vfio-pci"),
    ];

    fn codes(change: (&str, Option<&str>)) -> Vec<Code> {
        let place = tempfile::tempdir().unwrap();
        let path = |name| format!("{DEVICES}/0000:00:05.0/{name}");
        for (name, text) in GOOD {
            let text = if name == change.0 {
                change.1
            } else {
                Some(text)
            };
            if let Some(text) = text {
                plant(place.path(), &[(&path(name), text)]);
            }
        }
        let findings = check(&World::planted(place.path()));
        findings.iter().map(|finding| finding.code).collect()
    }

    #[test]
    fn each_lack_of_a_device_is_found() {
        for (change, expected) in [
            (("", None), &[Code::GuestFine][..]),
            // Not one of ours.
            (("device", Some("0x1000")), &[Code::GuestFine]),
            (("revision", Some("0x00")), &[Code::GuestOldDevice]),
            (("resource", None), &[Code::GuestBarMissing]),
            (
                ("resource", Some("0x0 0x0 0x0\n0x0 0x0 0x0\n0x0 0x0 0x0")),
                &[Code::GuestBarMissing],
            ),
            (("resource", Some("1\n2\nx y z")), &[Code::GuestBarMissing]),
            (
                ("config", Some("\u{1}\u{2}\u{3}\u{4}\u{4}\0")),
                &[Code::GuestDecodeOff],
            ),
            (
                ("config", Some("\u{1}\u{2}\u{3}\u{4}\u{2}\0")),
                &[Code::GuestBusMasterOff],
            ),
            (("config", Some("\u{1}\u{2}")), &[Code::GuestIncomplete]),
            (("config", None), &[Code::GuestIncomplete]),
            (("driver/name", None), &[Code::GuestNoDriver]),
        ] {
            assert_eq!(codes(change), expected, "{change:?}");
        }
    }

    #[test]
    fn a_machine_without_one_is_fine() {
        let place = tempfile::tempdir().unwrap();
        let findings = check(&World::planted(place.path()));
        assert_eq!(findings.len(), 1);
        assert!(findings[0].what.contains("not applicable"));
    }
}
