// SPDX-License-Identifier: MIT OR Apache-2.0
//! The command line of QEMU for each guest.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::command::Failure;

/// What is to be run.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) qemu: PathBuf,
    pub(super) guests: u16,
    pub(super) boot: Boot,
    pub(super) sharing: Sharing,
    /// Machine type, with its options.
    pub(super) machine: &'static str,
    /// Memory of each guest, as QEMU has it.
    pub(super) memory: String,
    pub(super) accelerator: &'static str,
    pub(super) extra: Vec<String>,
}

/// What a guest boots.
#[derive(Debug)]
pub(super) enum Boot {
    /// A kernel, with the command lines of the first guests; the last is that of all others.
    Kernel { image: PathBuf, append: Vec<String> },
    /// A disk.
    Disk(PathBuf),
}

/// What the guests share.
#[derive(Debug)]
pub(super) enum Sharing {
    /// The memory and the interrupts of a server.
    Socket {
        path: PathBuf,
        bytes: u64,
        vectors: u16,
    },
    /// The memory of a file.
    File { path: PathBuf, bytes: u64 },
}

impl Plan {
    /// Returns the name of a guest.
    pub(super) fn name(number: u16) -> String {
        format!("guest-{number}")
    }

    /// Returns the command line of a guest, with the program; `number` counts from 1.
    pub(super) fn words(&self, number: u16) -> Vec<OsString> {
        let mut words: Vec<OsString> = vec![self.qemu.clone().into()];
        let mut add = |option: &str, value: String| {
            words.push(option.into());
            words.push(value.into());
        };
        add("-name", Self::name(number));
        add("-machine", self.machine.to_owned());
        add("-accel", self.accelerator.to_owned());
        add("-m", self.memory.clone());
        add("-display", "none".to_owned());
        add("-monitor", "none".to_owned());
        add("-serial", "stdio".to_owned());
        match &self.sharing {
            Sharing::Socket { path, vectors, .. } => {
                add(
                    "-chardev",
                    format!("socket,id=ivshmem,path={}", value(path)),
                );
                add(
                    "-device",
                    format!("ivshmem-doorbell,chardev=ivshmem,vectors={vectors}"),
                );
            }
            Sharing::File { path, bytes } => {
                let path = value(path);
                add(
                    "-object",
                    format!("memory-backend-file,id=ivshmem,share=on,size={bytes},mem-path={path}"),
                );
                add("-device", "ivshmem-plain,memdev=ivshmem".to_owned());
            }
        }
        if let Boot::Disk(image) = &self.boot {
            let format = match image.extension() {
                Some(extension) if extension == "qcow2" => "qcow2",
                _ => "raw",
            };
            // Guests that wrote to the same disk would spoil it for each other.
            add(
                "-drive",
                format!("file={},format={format},snapshot=on", value(image)),
            );
        }
        // Nothing that was not asked for; a triple fault ends the guest instead of starting it again.
        words.extend(["-nodefaults", "-no-user-config", "-no-reboot"].map(OsString::from));
        if let Boot::Kernel { image, append } = &self.boot {
            words.extend([OsString::from("-kernel"), image.into()]);
            let own = append.get(usize::from(number).saturating_sub(1));
            if let Some(append) = own.or(append.last()) {
                words.extend([OsString::from("-append"), numbered(append, number)]);
            }
        }
        words.extend(self.extra.iter().map(|word| numbered(word, number)));
        words
    }

    /// Returns the command line of a guest as a shell takes it.
    pub(super) fn shell_line(&self, number: u16) -> Result<String, Failure> {
        let words: Result<Vec<String>, Failure> =
            self.words(number).iter().map(|word| quoted(word)).collect();
        Ok(words?.join(" "))
    }
}

/// Puts in the number of the guest.
fn numbered(word: &str, number: u16) -> OsString {
    word.replace("{N}", &number.to_string()).into()
}

/// Returns a path as a value of an option: a comma would end it, and is doubled.
fn value(path: &Path) -> String {
    path.to_string_lossy().replace(',', ",,")
}

fn quoted(word: &OsStr) -> Result<String, Failure> {
    shlex::bytes::try_quote(word.as_bytes())
        .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
        .map_err(|error| {
            Failure::new(format!(
                "an argument cannot be written for a shell: {error}"
            ))
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan() -> Plan {
        Plan {
            qemu: "qemu".into(),
            guests: 2,
            boot: Boot::Kernel {
                image: "/k".into(),
                append: vec!["first".into(), "name=g{N}".into()],
            },
            sharing: Sharing::Socket {
                path: "/a,b".into(),
                bytes: 4096,
                vectors: 3,
            },
            machine: "pc",
            memory: "64M".into(),
            accelerator: "tcg",
            extra: vec!["-device".into(), "x,id=x{N}".into()],
        }
    }

    const COMMON: &str = "qemu -name guest-N -machine pc -accel tcg -m 64M -display none -monitor none -serial stdio";
    const BARE: &str = "-nodefaults -no-user-config -no-reboot";

    /// The words of a guest's line, as a shell takes them, with a space between.
    fn read_by_a_shell(plan: &Plan, number: u16) -> String {
        let words = shlex::split(&plan.shell_line(number).unwrap()).unwrap();
        let own: Vec<OsString> = words.iter().map(OsString::from).collect();
        assert_eq!(own, plan.words(number));
        words.join(" ")
    }

    #[test]
    fn each_guest_has_its_line() {
        let sharing = "-chardev socket,id=ivshmem,path=/a,,b -device ivshmem-doorbell,chardev=ivshmem,vectors=3";
        for (number, append) in [("1", "first"), ("2", "name=g2"), ("3", "name=g3")] {
            let common = COMMON.replace('N', number);
            assert_eq!(
                read_by_a_shell(&plan(), number.parse().unwrap()),
                format!(
                    "{common} {sharing} {BARE} -kernel /k -append {append} -device x,id=x{number}"
                )
            );
        }
    }

    #[test]
    fn a_file_and_a_disk_have_theirs() {
        let plan = Plan {
            boot: Boot::Disk("/my disk.qcow2".into()),
            sharing: Sharing::File {
                path: "/dev/shm/m".into(),
                bytes: 4096,
            },
            extra: vec![],
            ..plan()
        };
        let common = COMMON.replace('N', "1");
        let file = "-object memory-backend-file,id=ivshmem,share=on,size=4096,mem-path=/dev/shm/m -device ivshmem-plain,memdev=ivshmem";
        assert_eq!(
            read_by_a_shell(&plan, 1),
            format!("{common} {file} -drive file=/my disk.qcow2,format=qcow2,snapshot=on {BARE}")
        );
    }
}
