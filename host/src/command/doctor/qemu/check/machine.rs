// SPDX-License-Identifier: MIT OR Apache-2.0
//! Checks of what the rest of a command line means for ivshmem.

use std::collections::BTreeSet;

use crate::command::doctor::finding::{Code, Finding};
use crate::command::doctor::qemu::line::Line;
use crate::command::doctor::qemu::options::{size_bytes, Options, Switch};

/// From here on a 64-bit BAR finds no place below 4 GiB on every machine.
const LARGE_BAR_BYTES: u64 = 1 << 30;

pub(super) fn check(line: &Line) -> Vec<Finding> {
    [
        devices(line),
        duplicates(line),
        bus(line),
        migration(line),
        large_bars(line),
        other_options(line),
    ]
    .concat()
}

fn devices(line: &Line) -> Vec<Finding> {
    // A device of the configuration file is not seen.
    if line.ivshmem_devices().next().is_some() || line.has("readconfig") {
        return Vec::new();
    }
    vec![Finding::new(
        Code::NoDevice,
        line.program.display(),
        "the command line has no ivshmem device",
        "add -device ivshmem-doorbell,chardev=ID or -device ivshmem-plain,memdev=ID; ivshmem run --print shows whole lines",
    )]
}

fn duplicates(line: &Line) -> Vec<Finding> {
    let lists = [&line.objects, &line.chardevs, &line.devices];
    lists
        .into_iter()
        .flat_map(|list| {
            let mut seen = BTreeSet::new();
            list.iter()
                .filter(move |options| options.id().is_some_and(|id| !seen.insert(id)))
        })
        .map(|options| {
            Finding::new(
                Code::DuplicateId,
                options,
                "its id= stands twice: QEMU will not start",
                "give each an ID of its own",
            )
        })
        .collect()
}

fn bus(line: &Line) -> Vec<Finding> {
    let pcie = line
        .machine
        .as_ref()
        .and_then(|machine| machine.switch("pcie"));
    if line.machine_type() != "microvm" || pcie == Some(Switch::On) {
        return Vec::new();
    }
    line.ivshmem_devices()
        .next()
        .map(|device| {
            Finding::new(
                Code::NoPciBus,
                device,
                "a microvm has no PCI bus unless it is asked for: QEMU will not start",
                "write -machine microvm,pcie=on",
            )
        })
        .into_iter()
        .collect()
}

fn migration(line: &Line) -> Vec<Finding> {
    if !line.has("incoming") && !line.has("only-migratable") {
        return Vec::new();
    }
    line.ivshmem_devices()
        .filter(|device| !matches!(device.get("master"), Some("on" | "auto")))
        .map(|device| {
            Finding::new(
                Code::NotMigratable,
                device,
                "a machine with this device cannot be migrated, unless it is the master of the memory",
                "write master=on on both sides (ivshmem-doorbell: as the first client of each server), or unplug the device for the migration",
            )
        })
        .collect()
}

fn large_bars(line: &Line) -> Vec<Finding> {
    line.ivshmem_devices()
        .filter_map(|device| line.object(device.get("memdev")?))
        .filter(|object| large(object))
        .map(|object| {
            Finding::new(
                Code::LargeBar,
                object,
                "a BAR of 1 GiB or more often lies above 4 GiB, and takes the other 64-bit BARs along",
                "the guest needs 64-bit BARs; ivshmem-doorbell's memory is no different",
            )
        })
        .collect()
}

fn large(object: &Options) -> bool {
    object
        .get("size")
        .and_then(size_bytes)
        .is_some_and(|bytes| bytes >= LARGE_BAR_BYTES)
}

fn other_options(line: &Line) -> Vec<Finding> {
    let hints = [
        (
            "readconfig",
            Code::ConfigNotRead,
            "what is in this file has not been looked at",
            "write its devices as options to have them checked",
        ),
        (
            "runas",
            Code::RunAs,
            "QEMU gives up its rights after it has opened file and socket: a device plugged in later needs those of the new user",
            "check these with: ivshmem doctor --user NAME",
        ),
        (
            "S",
            Code::Frozen,
            "the machine stands still until it is told to go on",
            "type cont in QEMU's monitor, or remove -S",
        ),
    ];
    hints
        .into_iter()
        .filter_map(|(name, code, what, cure)| {
            let value = line.values(name).next()?;
            let place = format!("-{name} {value}");
            Some(Finding::new(code, place.trim_end(), what, cure))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::tests::{codes, doorbell};
    use super::*;

    #[test]
    fn what_stands_around_the_device_is_checked() {
        let with = |more: &str| doorbell("qemu", &format!("qemu {more}"));
        for (text, expected) in [
            ("qemu -device e1000".to_owned(), &[Code::NoDevice][..]),
            ("qemu -readconfig f".to_owned(), &[Code::ConfigNotRead]),
            (with("-machine microvm"), &[Code::NoPciBus]),
            (with("-M microvm,pcie=off"), &[Code::NoPciBus]),
            (with("-machine microvm,pcie=on"), &[Code::LineFine]),
            (with("-machine q35"), &[Code::LineFine]),
            (with("-incoming tcp:0:1"), &[Code::NotMigratable]),
            (with("-only-migratable"), &[Code::NotMigratable]),
            (
                doorbell("vectors=2", "vectors=2,master=auto -incoming defer"),
                &[Code::LineFine],
            ),
            (with("-S"), &[Code::Frozen]),
            (with("-s"), &[Code::LineFine]),
            (with("-runas nobody"), &[Code::RunAs]),
            (
                with("-chardev null,id=c"),
                &[Code::ChardevKind, Code::DuplicateId],
            ),
            (
                with("-device e1000,id=a -device e1000,id=a"),
                &[Code::DuplicateId],
            ),
            (
                with("-device e1000,id=a -object rng-random,id=a"),
                &[Code::LineFine],
            ),
        ] {
            assert_eq!(codes(&text), expected, "{text}");
        }
    }

    #[test]
    fn a_bar_that_may_lie_high_is_mentioned() {
        for (size, expected) in [
            ("512M", &[Code::BackendPrivate][..]),
            ("1G", &[Code::BackendPrivate, Code::LargeBar]),
        ] {
            let text = format!(
                "qemu -object memory-backend-ram,id=m,size={size} -device ivshmem-plain,memdev=m"
            );
            assert_eq!(codes(&text), expected, "{size}");
        }
    }
}
