// SPDX-License-Identifier: MIT OR Apache-2.0
//! Checks of an ivshmem device's own properties.

use super::Servers;
use crate::command::doctor::finding::{Code, Finding};
use crate::command::doctor::qemu::line::{socket_of, Line};
use crate::command::doctor::qemu::options::{Options, Switch};
use crate::command::doctor::server::ServerView;

/// The most vectors that the device takes: a whole MSI-X table.
const MAX_VECTORS: u32 = 2048;

/// Properties of every PCI device; those that begin with `x-` are not reckoned with.
const OF_PCI: [&str; 14] = [
    "acpi-index",
    "addr",
    "bootindex",
    "bus",
    "driver",
    "failover_pair_id",
    "help",
    "id",
    "multifunction",
    "romfile",
    "rombar",
    "romsize",
    "sriov-pf",
    "master",
];

pub(super) fn check(device: &Options, line: &Line, servers: &Servers<'_>) -> Vec<Finding> {
    let server = || {
        let chardev = line.chardev(device.get("chardev")?)?;
        servers(socket_of(chardev)?)
    };
    match device.kind() {
        "ivshmem" => vec![old(device)],
        "ivshmem-plain" => [
            properties(device, &["memdev"]),
            switches(device, &["master"]),
            master_of_plain(device),
        ]
        .concat(),
        "ivshmem-doorbell" => {
            let server = server();
            [
                properties(device, &["chardev", "ioeventfd", "vectors"]),
                switches(device, &["ioeventfd", "master"]),
                vectors(device, line, server.as_ref()),
                ioeventfd(device, line),
                master_of_doorbell(device, server.as_ref()),
            ]
            .concat()
        }
        // Made by boards; no PCI device.
        "ivshmem-flat" => Vec::new(),
        name => vec![Finding::new(
            Code::UnknownDevice,
            device,
            format!("QEMU has no device '{name}'"),
            "use ivshmem-plain (memory only) or ivshmem-doorbell (memory and interrupts, with a server)",
        )],
    }
}

/// The device that QEMU had until 3.1, with what to write instead.
fn old(device: &Options) -> Finding {
    // The old size was in MiB if nothing was said.
    let size = match device.get("size") {
        Some(number) if number.bytes().all(|byte| byte.is_ascii_digit()) => format!("{number}M"),
        Some(size) => size.to_owned(),
        None => "4M".to_owned(),
    };
    let instead = if let Some(chardev) = device.get("chardev") {
        let vectors = device.get("vectors").unwrap_or("1");
        format!(
            "write -device ivshmem-doorbell,chardev={chardev},vectors={vectors}; the size is now the server's: \
             ivshmem server --size {size} --vectors {vectors}"
        )
    } else {
        let name = device
            .get("shm")
            .unwrap_or("ivshmem")
            .trim_start_matches('/');
        format!(
            "write -object memory-backend-file,id=shm0,share=on,size={size},mem-path=/dev/shm/{name} \
             -device ivshmem-plain,memdev=shm0"
        )
    };
    Finding::new(
        Code::OldDevice,
        device,
        "the device 'ivshmem' went with QEMU 4.0: it is two devices now",
        instead,
    )
}

/// Checks that what is on or off is one of the two.
pub(super) fn switches(options: &Options, keys: &[&str]) -> Vec<Finding> {
    keys.iter()
        .filter_map(|&key| Some((key, options.get(key)?)))
        .filter(|&(key, value)| {
            let third = key == "master" && value == "auto";
            Switch::of(value).is_none() && !third
        })
        .map(|(key, value)| {
            Finding::new(
                Code::PropertyValue,
                options,
                format!("{key}={value} is neither on nor off: QEMU will not start"),
                format!("write {key}=on or {key}=off"),
            )
        })
        .collect()
}

fn properties(device: &Options, own: &[&str]) -> Vec<Finding> {
    device
        .pairs()
        .map(|(key, _)| key)
        .filter(|key| !OF_PCI.contains(key) && !own.contains(key) && !key.starts_with("x-"))
        .map(|key| {
            let plain = device.kind() == "ivshmem-plain";
            let cure = match key {
                "role" => "write master=on for role=master, and nothing for role=peer",
                "use64" => "remove it: the memory's BAR is always 64 bits wide",
                "msi" => "remove it: ivshmem-doorbell always has MSI-X, ivshmem-plain no interrupts",
                "size" => "remove it: the size is that of the memory backend, or of the server",
                "shm" if plain => "use memdev= and -object memory-backend-file,share=on,size=SIZE,mem-path=/dev/shm/NAME",
                "chardev" | "vectors" | "ioeventfd" => {
                    "use ivshmem-doorbell with a server for interrupts; ivshmem-plain has none"
                }
                "memdev" | "shm" => "remove it: the memory of ivshmem-doorbell comes from the server",
                _ => "see qemu-system-x86_64 -device ivshmem-plain,help or ivshmem-doorbell,help",
            };
            Finding::new(
                Code::UnknownProperty,
                device,
                format!("{} has no property '{key}': QEMU will not start", device.kind()),
                cure,
            )
        })
        .collect()
}

fn vectors(device: &Options, line: &Line, server: Option<&ServerView>) -> Vec<Finding> {
    let text = device.get("vectors").unwrap_or("1");
    let number = text
        .parse::<u32>()
        .ok()
        .filter(|number| (1..=MAX_VECTORS).contains(number));
    let Some(wanted) = number else {
        return vec![Finding::new(
            Code::VectorsRange,
            device,
            format!("vectors={text} is not within 1 to {MAX_VECTORS}: QEMU will not start"),
            "give as many as the server has, such as vectors=2",
        )];
    };
    let Some(served) = server.and_then(|server| server.vectors).map(u32::from) else {
        return Vec::new();
    };
    let advice = format!("write vectors={served}, or start the server with --vectors {wanted}");
    let (code, what) = match (wanted > served, line.wants_kvm()) {
        (true, true) => (
            Code::VectorsTooManyKvm,
            format!("{wanted} vectors, but the server has {served}: with KVM, QEMU aborts when the guest unmasks one too many"),
        ),
        (true, false) => (
            Code::VectorsTooMany,
            format!("{wanted} vectors, but the server has {served}: the others never interrupt, and with KVM, QEMU aborts when the guest unmasks one"),
        ),
        _ if wanted < served => (
            Code::VectorsTooFew,
            format!("{wanted} vectors, but the server has {served}: QEMU complains once for each peer and drops the others"),
        ),
        _ => return Vec::new(),
    };
    vec![Finding::new(code, device, what, advice)]
}

fn ioeventfd(device: &Options, line: &Line) -> Vec<Finding> {
    // Both ways to set it, the own property last.
    let global = line
        .values("global")
        .any(|value| value == "ivshmem-doorbell.ioeventfd=off");
    let own = device.switch("ioeventfd");
    if own == Some(Switch::Off) || (own.is_none() && global) {
        return vec![Finding::new(
            Code::IoeventfdOff,
            device,
            "ioeventfd=off: each doorbell goes through QEMU's main loop, and only vectors 0 to 255 can be rung",
            "remove it",
        )];
    }
    Vec::new()
}

fn master_of_plain(device: &Options) -> Vec<Finding> {
    if device.switch("master") != Some(Switch::On) {
        return Vec::new();
    }
    vec![Finding::new(
        Code::OneMaster,
        device,
        "master=on: this machine takes the memory along when it migrates, and overwrites it where it arrives",
        "let at most one machine of those that share the memory be master",
    )]
}

fn master_of_doorbell(device: &Options, server: Option<&ServerView>) -> Vec<Finding> {
    if device.switch("master") != Some(Switch::On) {
        return Vec::new();
    }
    let cure = "start this machine first after the server, or write master=auto";
    match server.and_then(|server| server.next_id) {
        Some(0) => Vec::new(),
        Some(next) => vec![Finding::new(
            Code::MasterNotFirst,
            device,
            format!("master=on needs the ID 0, but the server's next is {next}: QEMU will not start"),
            cure,
        )],
        None => vec![Finding::new(
            Code::MasterMustBeFirst,
            device,
            "master=on needs the ID 0, which a server gives to its first client: else QEMU will not start",
            cure,
        )],
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{codes, codes_with, doorbell};
    use super::*;
    use crate::command::doctor::qemu::check::check as check_line;
    use crate::command::doctor::qemu::line::tests::line;

    fn codes_at(text: &str, vectors: u16, next_id: u32) -> Vec<Code> {
        let view = ServerView {
            vectors: Some(vectors),
            next_id: Some(next_id),
            ..ServerView::default()
        };
        codes_with(text, &|_| Some(view.clone()))
    }

    #[test]
    fn properties_that_are_none_are_found_with_their_cure() {
        for (property, cure) in [
            ("role=peer", "master=on"),
            ("use64=1", "remove it"),
            ("msi=off", "remove it"),
            ("size=4M", "the server"),
            ("memdev=m", "the server"),
            ("vector=2", "ivshmem-doorbell,help"),
        ] {
            let text = doorbell("vectors=2", &format!("vectors=2,{property}"));
            let findings = check_line(&line(&text), &|_| None);
            assert_eq!(findings.len(), 1, "{property}");
            assert_eq!(findings[0].code, Code::UnknownProperty, "{property}");
            assert!(findings[0].cure.contains(cure), "{property}");
        }
        let good = "vectors=2,addr=5,bus=pci.0,ioeventfd=on,x-new=1,id=i";
        assert_eq!(codes(&doorbell("vectors=2", good)), [Code::LineFine]);
    }

    #[test]
    fn what_is_neither_on_nor_off_is_found() {
        let plain = "qemu -object memory-backend-ram,id=m,size=1M -device ivshmem-plain,memdev=m";
        let private = Code::BackendPrivate;
        for (text, expected) in [
            (
                doorbell("vectors=2", "vectors=2,ioeventfd=1"),
                &[Code::PropertyValue][..],
            ),
            (
                doorbell("vectors=2", "vectors=2,master=peer"),
                &[Code::PropertyValue],
            ),
            (
                doorbell("vectors=2", "vectors=2,master=off,ioeventfd=yes"),
                &[Code::LineFine],
            ),
            (format!("{plain},master=auto"), &[private]),
            (format!("{plain},master=2"), &[Code::PropertyValue, private]),
            (
                plain.replace("size", "share=maybe,size"),
                &[private, Code::PropertyValue],
            ),
        ] {
            assert_eq!(codes(&text), expected, "{text}");
        }
    }

    #[test]
    fn the_old_device_is_translated() {
        for (old, new) in [
            ("ivshmem,shm=x,size=8", "-object memory-backend-file,id=shm0,share=on,size=8M,mem-path=/dev/shm/x -device ivshmem-plain,memdev=shm0"),
            ("ivshmem,chardev=c,size=1G,vectors=3", "-device ivshmem-doorbell,chardev=c,vectors=3; the size is now the server's: ivshmem server --size 1G --vectors 3"),
            ("ivshmem", "size=4M,mem-path=/dev/shm/ivshmem"),
        ] {
            let findings = check_line(&line(&format!("qemu -device {old}")), &|_| None);
            assert_eq!(findings.len(), 1, "{old}");
            assert_eq!(findings[0].code, Code::OldDevice, "{old}");
            assert!(findings[0].cure.contains(new), "{}", findings[0].cure);
        }
        assert_eq!(codes("qemu -device ivshmem-dorbell"), [Code::UnknownDevice]);
    }

    #[test]
    fn vectors_are_compared_with_the_servers() {
        let kvm = doorbell("qemu", "qemu -accel kvm");
        for (text, served, code) in [
            (doorbell("", ""), 2, Code::LineFine),
            (doorbell("", ""), 1, Code::VectorsTooMany),
            (kvm.clone(), 1, Code::VectorsTooManyKvm),
            (kvm, 2, Code::LineFine),
            (doorbell("", ""), 3, Code::VectorsTooFew),
            (doorbell(",vectors=2", ""), 1, Code::LineFine),
            (doorbell("vectors=2", "vectors=0"), 2, Code::VectorsRange),
            (doorbell("vectors=2", "vectors=2049"), 2, Code::VectorsRange),
            (doorbell("vectors=2", "vectors=two"), 2, Code::VectorsRange),
        ] {
            assert_eq!(codes_at(&text, served, 0), [code], "{text}, {served}");
        }
    }

    #[test]
    fn ioeventfd_off_is_slow_by_either_way() {
        for (to, code) in [
            ("vectors=2,ioeventfd=off", Code::IoeventfdOff),
            ("vectors=2,noioeventfd", Code::IoeventfdOff),
            (
                "vectors=2 -global ivshmem-doorbell.ioeventfd=off",
                Code::IoeventfdOff,
            ),
            (
                "vectors=2,ioeventfd=on -global ivshmem-doorbell.ioeventfd=off",
                Code::LineFine,
            ),
        ] {
            assert_eq!(codes(&doorbell("vectors=2", to)), [code], "{to}");
        }
    }

    #[test]
    fn a_master_must_be_the_first() {
        let master = doorbell("vectors=2", "vectors=2,master=on");
        assert_eq!(codes(&master), [Code::MasterMustBeFirst]);
        assert_eq!(codes_at(&master, 2, 0), [Code::LineFine]);
        assert_eq!(codes_at(&master, 2, 1), [Code::MasterNotFirst]);
        assert_eq!(
            codes_at(&doorbell("vectors=2", "vectors=2,master=auto"), 2, 1),
            [Code::LineFine]
        );
    }
}
