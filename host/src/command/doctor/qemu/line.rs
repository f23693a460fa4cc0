// SPDX-License-Identifier: MIT OR Apache-2.0
//! A command line of QEMU, taken apart as far as ivshmem is concerned.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use super::options::{size_bytes, Options, Switch};
use crate::command::doctor::finding::{Code, Finding};

/// A command line of QEMU.
#[derive(Clone, Debug)]
pub(in crate::command) struct Line {
    /// The program, as it was written.
    pub(super) program: PathBuf,
    /// All `-machine` and `-M` in one, as QEMU takes them; `None` if there is none.
    pub(super) machine: Option<Options>,
    pub(super) objects: Vec<Options>,
    pub(super) chardevs: Vec<Options>,
    pub(super) devices: Vec<Options>,
    /// Every other option, in order.
    pub(super) others: Vec<Other>,
    /// What could not be read.
    pub(super) faults: Vec<Finding>,
}

/// An option that is not one of the lists of [`Line`].
#[derive(Clone, Debug)]
pub(super) struct Other {
    /// Its name, without the hyphens.
    pub(super) name: String,
    /// Its value; `None` if it takes none.
    pub(super) value: Option<String>,
}

/// The options that take no value, of QEMU 2.6 to today; every other takes one.
const WITHOUT_VALUE: [&str; 52] = [
    "S",
    "alt-grab",
    "audio-help",
    "ctrl-grab",
    "curses",
    "daemonize",
    "enable-fips",
    "enable-kvm",
    "enable-sync-profile",
    "full-screen",
    "h",
    "help",
    "jitdump",
    "mem-prealloc",
    "no-acpi",
    "no-fd-bootchk",
    "no-frame",
    "no-hpet",
    "no-kvm",
    "no-kvm-irqchip",
    "no-kvm-pit",
    "no-kvm-pit-reinjection",
    "no-quit",
    "no-reboot",
    "no-shutdown",
    "no-user-config",
    "nodefaults",
    "nodefconfig",
    "nographic",
    "nouserconfig",
    "old-param",
    "one-insn-per-tb",
    "only-migratable",
    "perfmap",
    "portrait",
    "preconfig",
    "rtc-td-hack",
    "s",
    "sdl",
    "semihosting",
    "show-cursor",
    "singlestep",
    "snapshot",
    "tdf",
    "usb",
    "version",
    "win2k-hack",
    "xen-attach",
    "xen-domid-restrict",
    "no-bootp",
    "no-legacy",
    "no-user",
];

impl Line {
    /// Takes a command line apart: the program, then its arguments. `None` if there is not even a program.
    pub(in crate::command) fn parse(words: &[OsString]) -> Option<Self> {
        // Something may stand before it, such as sudo or taskset.
        let start = words.iter().position(is_qemu).unwrap_or(0);
        let (program, arguments) = words.get(start..)?.split_first()?;
        let mut line = Self {
            program: program.into(),
            machine: None,
            objects: Vec::new(),
            chardevs: Vec::new(),
            devices: Vec::new(),
            others: Vec::new(),
            faults: Vec::new(),
        };
        let mut arguments = arguments.iter().map(|word| word.to_string_lossy());
        while let Some(word) = arguments.next() {
            // Anything else is a disk image.
            let Some(name) = word.strip_prefix('-') else {
                continue;
            };
            let name = name.strip_prefix('-').unwrap_or(name);
            if WITHOUT_VALUE.contains(&name) {
                line.take(name, None);
                continue;
            }
            match arguments.next() {
                Some(value) => line.take(name, Some(&value)),
                None => line.faults.push(Finding::new(
                    Code::LineSyntax,
                    format!("-{name}"),
                    "the last option has no value",
                    "give it one, or remove it",
                )),
            }
        }
        Some(line)
    }

    fn take(&mut self, name: &str, value: Option<&str>) {
        let implied = match name {
            "machine" | "M" => "type",
            "object" => "qom-type",
            "chardev" => "backend",
            "device" => "driver",
            _ => {
                self.others.push(Other {
                    name: name.to_owned(),
                    value: value.map(str::to_owned),
                });
                return;
            }
        };
        let value = value.unwrap_or_default();
        match Options::parse(name, implied, value) {
            Err(error) => self.faults.push(Finding::new(
                Code::LineSyntax,
                format!("-{name} {value}"),
                format!("QEMU cannot read this: {error}"),
                "write kind,key=value,key=value; a comma in a value is doubled",
            )),
            Ok(options) => match (implied, &mut self.machine) {
                ("type", Some(machine)) => machine.merge(options),
                ("type", machine) => *machine = Some(options),
                ("qom-type", _) => self.objects.push(options),
                ("backend", _) => self.chardevs.push(options),
                _ => self.devices.push(options),
            },
        }
    }

    /// Returns the program, as it was written.
    pub(in crate::command) fn program(&self) -> &Path {
        &self.program
    }

    /// Returns the machine type, or `""` if it is the program's default.
    pub(super) fn machine_type(&self) -> &str {
        self.machine.as_ref().map_or("", Options::kind)
    }

    /// Returns the devices that are ivshmem's: today's two and the old one.
    pub(super) fn ivshmem_devices(&self) -> impl Iterator<Item = &Options> {
        self.devices
            .iter()
            .filter(|device| device.kind().starts_with("ivshmem"))
    }

    /// Returns the object with this ID.
    pub(super) fn object(&self, id: &str) -> Option<&Options> {
        self.objects.iter().find(|object| object.id() == Some(id))
    }

    /// Returns the chardev with this ID.
    pub(super) fn chardev(&self, id: &str) -> Option<&Options> {
        self.chardevs
            .iter()
            .find(|chardev| chardev.id() == Some(id))
    }

    /// Returns the values of the options of this name.
    pub(super) fn values<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.others
            .iter()
            .filter(move |other| other.name == name)
            .map(|other| other.value.as_deref().unwrap_or_default())
    }

    /// Returns whether an option without a value is there.
    pub(super) fn has(&self, name: &str) -> bool {
        self.values(name).next().is_some()
    }

    /// Returns whether the machine is to run by KVM, at least if it can.
    pub(super) fn wants_kvm(&self) -> bool {
        let by_machine = self
            .machine
            .as_ref()
            .and_then(|machine| machine.get("accel"));
        self.has("enable-kvm")
            || by_machine.is_some_and(|list| list.split(':').any(|name| name == "kvm"))
            || self.values("accel").any(|value| {
                let name = value.split(',').next().unwrap_or_default();
                name.strip_prefix("accel=").unwrap_or(name) == "kvm"
            })
    }

    /// Returns the files that hold the memory of its ivshmem devices, with the size in bytes that it gives them.
    pub(in crate::command) fn files(&self) -> Vec<(&Path, Option<u64>)> {
        let mut files: Vec<_> = self
            .ivshmem_devices()
            .filter_map(|device| self.object(device.get("memdev")?))
            .filter(|object| object.kind() == "memory-backend-file")
            .filter_map(|object| {
                let bytes = object.get("size").and_then(size_bytes);
                Some((Path::new(object.get("mem-path")?), bytes))
            })
            .collect();
        files.sort_unstable();
        files.dedup();
        files
    }

    /// Returns the sockets that its ivshmem devices connect to.
    pub(in crate::command) fn sockets(&self) -> Vec<&Path> {
        let mut sockets: Vec<_> = self
            .ivshmem_devices()
            .filter_map(|device| self.chardev(device.get("chardev")?))
            .filter_map(socket_of)
            .collect();
        sockets.sort_unstable();
        sockets.dedup();
        sockets
    }
}

fn is_qemu(word: &OsString) -> bool {
    let name = Path::new(word).file_name().unwrap_or_default();
    name.to_string_lossy().starts_with("qemu-")
}

/// Returns the path that a chardev connects to, if it is one in the file system.
pub(super) fn socket_of(chardev: &Options) -> Option<&Path> {
    let named = chardev.switch("abstract") != Some(Switch::On);
    let client = chardev.switch("server") != Some(Switch::On);
    chardev
        .get("path")
        .filter(|_| chardev.kind() == "socket" && named && client)
        .map(Path::new)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// Takes apart a command line whose words hold no spaces.
    pub(in super::super) fn line(text: &str) -> Line {
        let words: Vec<OsString> = text.split_whitespace().map(OsString::from).collect();
        Line::parse(&words).unwrap()
    }

    #[test]
    fn options_find_their_lists_whatever_stands_between() {
        let line = line(
            "qemu -M pc -S --nodefaults -append -device -object memory-backend-ram,id=m,size=1M \
             --device ivshmem-plain,memdev=m disk.img -chardev socket,id=c,path=/s -machine q35,accel=kvm",
        );
        assert_eq!(line.machine_type(), "q35");
        assert_eq!(line.devices.len(), 1);
        assert_eq!(
            line.object("m").map(Options::kind),
            Some("memory-backend-ram")
        );
        assert_eq!(line.chardev("c").map(Options::kind), Some("socket"));
        assert_eq!(line.values("append").collect::<Vec<_>>(), ["-device"]);
        assert!(line.has("S"));
        assert!(line.wants_kvm());
        assert!(line.faults.is_empty());
    }

    #[test]
    fn what_cannot_be_read_is_a_finding_and_no_program_is_nothing() {
        for text in ["qemu -device", "qemu -device x,=1", "qemu -object {"] {
            let line = line(text);
            assert_eq!(line.faults[0].code, Code::LineSyntax, "{text}");
            assert!(line.devices.is_empty());
        }
        assert!(Line::parse(&[]).is_none());
    }

    #[test]
    fn what_stands_before_the_program_is_passed_over() {
        for (text, program) in [
            (
                "sudo -E /usr/bin/qemu-system-x86_64 -S",
                "/usr/bin/qemu-system-x86_64",
            ),
            ("./my-vmm -S", "./my-vmm"),
        ] {
            let line = line(text);
            assert_eq!(line.program(), Path::new(program));
            assert!(line.has("S"));
        }
    }

    #[test]
    fn kvm_is_asked_for_in_four_ways() {
        for (text, wanted) in [
            ("q -enable-kvm", true),
            ("q -accel kvm,kernel-irqchip=split", true),
            ("q -accel accel=kvm", true),
            ("q -machine pc,accel=kvm:tcg", true),
            ("q -accel tcg", false),
            ("q", false),
        ] {
            assert_eq!(line(text).wants_kvm(), wanted, "{text}");
        }
    }

    #[test]
    fn files_and_sockets_are_those_of_ivshmem_devices() {
        let line = line(
            "q -object memory-backend-file,id=a,size=4K,mem-path=/a -object memory-backend-file,id=b,mem-path=/b \
             -chardev socket,id=s,path=/s,,t -chardev socket,id=l,path=/l,server=on \
             -device ivshmem-plain,memdev=a -device ivshmem-doorbell,chardev=s \
             -device ivshmem-doorbell,chardev=l -device ivshmem-doorbell,chardev=absent",
        );
        assert_eq!(line.files(), [(Path::new("/a"), Some(4096))]);
        assert_eq!(line.sockets(), [Path::new("/s,t")]);
    }
}
