// SPDX-License-Identifier: MIT OR Apache-2.0
//! The tools that VMs need: found, never installed.

use crate::accelerator::Accelerator;
use crate::probe::{Probe, ThisMachine};
use crate::toolchain::KernelToolchain;
use std::fmt;
use std::path::{Path, PathBuf};

/// The variable that names another QEMU than the `PATH`'s.
pub const QEMU_VARIABLE: &str = "IVSHMEM_QEMU";
const QEMU: &str = "qemu-system-x86_64";

/// A QEMU that runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QemuProgram {
    /// The executable.
    pub path: PathBuf,
    /// Its version, such as `7.2.22`.
    pub version: String,
}

/// UEFI firmware for guests that do not boot by PVH.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UefiFirmware {
    /// The code, mapped read-only.
    pub code: PathBuf,
    /// The variable store, of which each guest needs a copy of its own.
    pub variables: PathBuf,
}

/// Everything that building the kernel and booting VMs needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tools {
    /// QEMU.
    pub qemu: QemuProgram,
    /// How guests are run.
    pub accelerator: Accelerator,
    /// What compiles the kernel.
    pub kernel: KernelToolchain,
    /// OVMF, which only UEFI guests need.
    pub uefi: Option<UefiFirmware>,
}

impl Tools {
    /// Finds the tools of this machine. Installs nothing.
    ///
    /// # Errors
    ///
    /// - Something is missing, or an override (`IVSHMEM_QEMU`, `IVSHMEM_ACCEL`) does not hold:
    ///   everything that is wrong, not only the first.
    pub fn find() -> Result<Self, Missing> {
        Self::find_on(&ThisMachine)
    }

    /// As [`find`](Self::find), on any machine.
    ///
    /// # Errors
    ///
    /// - As [`find`](Self::find).
    pub fn find_on(probe: &impl Probe) -> Result<Self, Missing> {
        let qemu = find_qemu(probe);
        let accelerator = Accelerator::choose(probe).map_err(Lack::Setting);
        let kernel = KernelToolchain::find(probe).map_err(Lack::KernelToolchain);
        match (qemu, accelerator, kernel) {
            (Ok(qemu), Ok(accelerator), Ok(kernel)) => Ok(Self {
                qemu,
                accelerator,
                kernel,
                uefi: find_uefi(probe),
            }),
            (qemu, accelerator, kernel) => {
                let lacks = [qemu.err(), accelerator.err(), kernel.err()];
                Err(Missing(lacks.into_iter().flatten().collect()))
            }
        }
    }
}

/// One line for each tool, saying which was taken.
impl fmt::Display for Tools {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let qemu = &self.qemu;
        writeln!(f, "qemu: {} ({})", qemu.path.display(), qemu.version)?;
        writeln!(f, "accelerator: {}", self.accelerator)?;
        writeln!(f, "kernel: {}", self.kernel)?;
        match &self.uefi {
            Some(uefi) => write!(f, "uefi: {}", uefi.code.display()),
            None => write!(f, "uefi: no OVMF found (only UEFI guests need it)"),
        }
    }
}

/// An environment variable of ours whose value does not hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadSetting {
    /// The variable's name.
    pub variable: &'static str,
    /// Its value.
    pub value: String,
    /// What is wrong with it, and what to do.
    pub problem: String,
}

impl fmt::Display for BadSetting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}: {}", self.variable, self.value, self.problem)
    }
}

/// One tool that is not there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Lack {
    /// No QEMU, for this reason.
    Qemu(String),
    /// No route to the kernel: for each, why it was passed over.
    KernelToolchain(Vec<String>),
    /// No valgrind.
    Valgrind,
    /// An override that does not hold; no installation mends it.
    Setting(BadSetting),
}

impl fmt::Display for Lack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Qemu(reason) => write!(f, "no QEMU: {reason}"),
            Self::KernelToolchain(notes) => {
                write!(f, "no compiler for the kernel: {}", notes.join("; "))
            }
            Self::Valgrind => f.write_str("no valgrind is on the PATH"),
            Self::Setting(setting) => setting.fmt(f),
        }
    }
}

/// All that is missing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Missing(pub Vec<Lack>);

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, lack) in self.0.iter().enumerate() {
            let separator = if index == 0 { "" } else { "\n" };
            write!(f, "{separator}{lack}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Missing {}

fn find_qemu(probe: &impl Probe) -> Result<QemuProgram, Lack> {
    let setting = probe.variable(QEMU_VARIABLE);
    let path = match &setting {
        Some(path) => PathBuf::from(path),
        None => probe
            .program(QEMU)
            .ok_or_else(|| Lack::Qemu(format!("{QEMU} is not on the PATH")))?,
    };
    let answer = probe.output(&path, &["--version"]).and_then(|text| {
        let version = qemu_version(&text).map(str::to_owned);
        version.ok_or_else(|| "its --version names no QEMU".into())
    });
    match (answer, setting) {
        (Ok(version), _) => Ok(QemuProgram { path, version }),
        (Err(error), Some(value)) => Err(Lack::Setting(BadSetting {
            variable: QEMU_VARIABLE,
            value,
            problem: format!("does not run: {error}; name a {QEMU} or unset the variable"),
        })),
        (Err(error), None) => Err(Lack::Qemu(format!(
            "{} does not run: {error}",
            path.display()
        ))),
    }
}

/// Reads the version from `QEMU emulator version 7.2.22 (...)`.
fn qemu_version(text: &str) -> Option<&str> {
    text.strip_prefix("QEMU emulator version ")?
        .split_ascii_whitespace()
        .next()
}

/// Looks where Debian and Ubuntu, Fedora, and Arch put OVMF.
fn find_uefi(probe: &impl Probe) -> Option<UefiFirmware> {
    let places = [
        ("/usr/share/OVMF", "OVMF_CODE_4M.fd", "OVMF_VARS_4M.fd"),
        ("/usr/share/OVMF", "OVMF_CODE.fd", "OVMF_VARS.fd"),
        ("/usr/share/edk2/ovmf", "OVMF_CODE.fd", "OVMF_VARS.fd"),
        ("/usr/share/edk2/x64", "OVMF_CODE.4m.fd", "OVMF_VARS.4m.fd"),
    ];
    places.into_iter().find_map(|(folder, code, variables)| {
        let file = |name| {
            let path = Path::new(folder).join(name);
            probe.resolve(&path).map(|_| path)
        };
        Some(UefiFirmware {
            code: file(code)?,
            variables: file(variables)?,
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::fake::FakeMachine;

    const VERSION: &str = "QEMU emulator version 7.2.22 (Debian 1:7.2)\nCopyright\n";

    #[test]
    fn qemu_comes_from_the_path_with_its_version() {
        let machine = FakeMachine::default()
            .with_program("/usr/bin/qemu-system-x86_64")
            .prints("/usr/bin/qemu-system-x86_64 --version", VERSION);
        let qemu = find_qemu(&machine).unwrap();
        assert_eq!(qemu.path, Path::new("/usr/bin/qemu-system-x86_64"));
        assert_eq!(qemu.version, "7.2.22");
    }

    #[test]
    fn the_variable_wins_and_must_run() {
        let machine = FakeMachine::default()
            .with_program("/usr/bin/qemu-system-x86_64")
            .prints("/usr/bin/qemu-system-x86_64 --version", VERSION)
            .with_variable(QEMU_VARIABLE, "/opt/qemu");
        let error = find_qemu(&machine).unwrap_err();
        assert!(matches!(error, Lack::Setting(_)), "{error}");
        let mended = machine.prints("/opt/qemu --version", VERSION);
        assert_eq!(find_qemu(&mended).unwrap().path, Path::new("/opt/qemu"));
        let other = mended.prints("/opt/qemu --version", "true (GNU coreutils) 9.1\n");
        assert!(find_qemu(&other).is_err());
    }

    #[test]
    fn everything_that_is_missing_is_named() {
        let machine = FakeMachine::default().with_variable("IVSHMEM_ACCEL", "fast");
        let missing = Tools::find_on(&machine).unwrap_err();
        assert_eq!(missing.0.len(), 3, "{missing}");
        let text = missing.to_string();
        assert!(text.contains("qemu-system-x86_64 is not on the PATH"));
        assert!(text.contains("IVSHMEM_ACCEL=fast"));
        assert!(text.contains("no rustc is on the PATH"));
    }

    #[test]
    fn uefi_firmware_is_optional_and_complete() {
        assert_eq!(find_uefi(&FakeMachine::default()), None);
        let half = FakeMachine::default().with_file("/usr/share/OVMF/OVMF_CODE_4M.fd", "");
        assert_eq!(find_uefi(&half), None);
        let whole = half.with_file("/usr/share/OVMF/OVMF_VARS_4M.fd", "");
        assert!(find_uefi(&whole).is_some());
    }
}
