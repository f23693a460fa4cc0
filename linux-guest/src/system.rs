// SPDX-License-Identifier: MIT OR Apache-2.0
//! What an init does for the rest of its machine: mounts, modules, and the end.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::Path;

use rustix::mount::{mount, MountFlags};
use rustix::system::{finit_module, reboot, RebootCommand};

use crate::Failure;

/// Where the modules are that the machine was given.
const MODULES: &str = "/modules";

/// Mounts what programs look for.
pub fn mount_all() -> Result<(), Failure> {
    for (kind, at) in [
        ("proc", "/proc"),
        ("sysfs", "/sys"),
        ("devtmpfs", "/dev"),
        ("debugfs", "/sys/kernel/debug"),
    ] {
        // Some are there already.
        let _ = fs::create_dir(at);
        mount(kind, at, kind, MountFlags::empty(), None)
            .map_err(|error| format!("cannot mount {at}: {error}"))?;
    }
    Ok(())
}

/// Loads all modules that the machine was given, in the order of their names.
pub fn load_modules() -> Result<(), Failure> {
    let mut files: Vec<_> = fs::read_dir(MODULES)?
        .flatten()
        .map(|file| file.path())
        .collect();
    files.sort_unstable();
    for path in files {
        let loaded = finit_module(&File::open(&path)?, c"", 0);
        loaded.map_err(|error| format!("cannot load {}: {error}", path.display()))?;
    }
    Ok(())
}

/// Returns the value of `KEY=VALUE` on the kernel's command line.
pub fn word(key: &str) -> Result<String, Failure> {
    let line = fs::read_to_string("/proc/cmdline")?;
    let mut pairs = line
        .split_whitespace()
        .filter_map(|word| word.split_once('='));
    let found = pairs.find(|(name, _)| *name == key);
    let (_, value) = found.ok_or_else(|| format!("the command line has no {key}="))?;
    Ok(value.to_owned())
}

/// Writes a text to a file of the kernel's.
pub fn tell(path: impl AsRef<Path>, text: &str) -> Result<(), Failure> {
    let path = path.as_ref();
    fs::write(path, text)
        .map_err(|error| format!("cannot write {text} to {}: {error}", path.display()).into())
}

/// Returns the Command register of the function in a folder of sysfs.
pub fn command(folder: &Path) -> Result<u16, Failure> {
    let mut bytes = [0; 2];
    File::open(folder.join("config"))?.read_exact_at(&mut bytes, 4)?;
    Ok(u16::from_le_bytes(bytes))
}

/// Writes it.
pub fn set_command(folder: &Path, command: u16) -> Result<(), Failure> {
    let config = OpenOptions::new().write(true).open(folder.join("config"))?;
    config.write_all_at(&command.to_le_bytes(), 4)?;
    Ok(())
}

/// Ends the machine. QEMU's status then says nothing; the last line does.
pub fn end() {
    let error = reboot(RebootCommand::PowerOff);
    println!("the machine did not end: {error:?}");
}
