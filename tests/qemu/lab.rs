// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the trials share: the tools, the kernel, and how a trial is described.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Duration;

use libtest_mimic::{Completion, Failed};
use xtask::kernel::{self, Profile};
use xtask::qemu::{Guest, Vm};
use xtask::suite::REQUIRE_KVM;
use xtask::tools::Tools;

pub use xtask::trials::same;

/// How long anything that a guest is asked for may take. Ample: two machines share two cores with the build.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// A trial of this binary.
pub type Need = xtask::trials::Need<Lab>;

/// QEMU and a built kernel.
pub struct Lab {
    pub tools: Tools,
    release: PathBuf,
}

impl Lab {
    /// Finds the tools and builds the kernel, or says what is missing. Installs nothing.
    pub fn open() -> Result<Self, String> {
        let tools = Tools::find().map_err(|missing| missing.to_string())?;
        let release = match kernel::build(&tools, Profile::Release) {
            Ok(elf) => elf,
            // The source is at hand and the tools are there, so this is a failure and no lack.
            Err(error) => {
                eprintln!("{error}");
                std::process::exit(1);
            }
        };
        Ok(Self { tools, release })
    }

    /// The release kernel.
    pub fn kernel(&self) -> &Path {
        &self.release
    }

    /// A machine with the release kernel that will be told `append`.
    pub fn guest(&self, append: &str) -> Guest {
        Guest::new(&self.tools, &self.release)
            .append(append)
            .lifetime(Duration::from_secs(120))
    }

    /// A machine with the debug kernel.
    pub fn debug_guest(&self, append: &str) -> Result<Guest, Failed> {
        let elf = kernel::build(&self.tools, Profile::Debug)?;
        Ok(Guest::new(&self.tools, elf).append(append))
    }
}

/// Runs a trial that wants KVM, of any kind: also one made of software will do, with a firmware as small as qboot.
/// Without one the trial is ignored, or fails with `IVSHMEM_REQUIRE_KVM`.
pub fn with_kvm(run: impl FnOnce() -> Result<(), Failed>) -> Result<Completion, Failed> {
    let device = Path::new("/dev/kvm");
    match File::options().read(true).write(true).open(device) {
        Ok(_) => run().map(|()| Completion::Completed),
        Err(error) if std::env::var_os(REQUIRE_KVM).is_some() => {
            Err(format!("/dev/kvm: {error}, and {REQUIRE_KVM} is set").into())
        }
        Err(error) => Ok(Completion::ignored_with(format!("/dev/kvm: {error}"))),
    }
}

/// Waits for the line `@ WORD ...` and returns it.
pub fn hear(vm: &Vm, word: &str) -> Result<String, Failed> {
    hear_within(vm, word, PATIENCE)
}

/// Waits for the line `@ WORD ...` for as long as `limit`, and returns it.
pub fn hear_within(vm: &Vm, word: &str, limit: Duration) -> Result<String, Failed> {
    let start = format!("@ {word}");
    let wanted = |line: &str| {
        line.strip_prefix(start.as_str())
            .is_some_and(|rest| rest.is_empty() || rest.starts_with(' '))
    };
    Ok(vm.wait_line(wanted, limit)?)
}

/// Returns the value of `key=value` in a line.
pub fn field<'a>(line: &'a str, key: &str) -> Result<&'a str, Failed> {
    xtask::qemu::field(line, key).ok_or_else(|| format!("no {key}= in `{line}`").into())
}

/// Returns a number in decimal or, with 0x, hexadecimal.
pub fn number(text: &str) -> Result<u64, Failed> {
    let parsed = match text.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16),
        None => text.parse(),
    };
    parsed.map_err(|error| format!("`{text}`: {error}").into())
}
