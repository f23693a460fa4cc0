// SPDX-License-Identifier: MIT OR Apache-2.0
//! Set-up: finds the tools, and installs what is missing where that is possible.
//!
//! Order: what is there is taken; a missing kernel target comes from rustup, which needs no
//! rights; the rest comes from apt on Debian and its relatives, as root or with a sudo that asks
//! no password. Everywhere else nothing is touched and the user gets the commands to type. No
//! package is ever removed, and one is put back to an older version only if the user allows it.

mod advice;
pub(crate) mod apt;
pub(crate) mod installer;
mod newer;
mod valgrind;

use crate::linux::{self, FetchError, LinuxKernel};
use crate::paths;
use crate::probe::{Probe, ThisMachine};
use crate::progress::note;
use crate::toolchain::TARGET;
use crate::tools::{Lack, Missing, Tools};
use apt::{Apt, QemuFailure};
use installer::{InstallFailure, Installer, Runner};
pub use newer::Newer;
use std::fmt;
use std::time::Duration;
pub use valgrind::ensure_valgrind;

/// How long rustup may try to reach its server.
const RUSTUP_LIMIT: Duration = Duration::from_secs(60);

/// Why nothing is installed where the user does not want it.
const AS_ASKED: &str = "nothing is installed, as asked";

/// Whether anything may be installed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Install {
    /// What is missing is installed if we can.
    IfMissing,
    /// Nothing is ever installed.
    Never,
}

/// Why there are not all tools.
#[derive(Debug)]
#[non_exhaustive]
pub enum SetupError {
    /// An override does not hold.
    BadSetting(Missing),
    /// Something is missing and is not installed, for this reason.
    NotInstalled {
        /// What is missing.
        missing: Missing,
        /// Why it is not installed.
        why: String,
    },
    /// Other packages are in the way, and may not be put back to an older version.
    Newer {
        /// What is missing.
        missing: Missing,
        /// What is in the way.
        newer: Newer,
    },
    /// Installing failed.
    Failed {
        /// What is missing.
        missing: Missing,
        /// What went wrong.
        failure: InstallFailure,
    },
    /// Everything was installed, and still something is missing.
    StillMissing(Missing),
}

impl fmt::Display for SetupError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let missing = match self {
            Self::BadSetting(missing) => return missing.fmt(f),
            Self::NotInstalled { missing, why } => {
                write!(f, "{missing}\n{why}; to install it by hand:\n")?;
                missing
            }
            Self::Newer { missing, newer } => {
                let variable = newer::VARIABLE;
                return write!(
                    f,
                    "{missing}\n{newer}; to put it back: {variable}=1 cargo xtask setup"
                );
            }
            Self::Failed { missing, failure } => {
                write!(f, "{failure}\n{missing}\nto install it by hand:\n")?;
                missing
            }
            Self::StillMissing(missing) => {
                write!(f, "{missing}\neven after installing; by hand:\n")?;
                missing
            }
        };
        f.write_str(&advice::commands(missing))
    }
}

impl std::error::Error for SetupError {}

/// Finds the tools of this machine, and installs what is missing if that is allowed.
///
/// Says on stderr what it installs before it does.
///
/// # Errors
///
/// - Something is missing and cannot, or may not, be installed; the message has the commands to
///   type.
/// - A package has to be put back to an older version, and `IVSHMEM_ALLOW_DOWNGRADES` is not 1.
/// - `IVSHMEM_QEMU` or `IVSHMEM_ACCEL` does not hold.
pub fn ensure(install: Install) -> Result<Tools, SetupError> {
    ensure_on(&ThisMachine, install, &mut runner())
}

/// Finds the kernel for Linux guests, and fetches it if it is missing and that is allowed. Nothing is installed by it.
///
/// # Errors
///
/// - There is none, and it cannot, or may not, be fetched.
pub fn ensure_linux(install: Install) -> Result<LinuxKernel, FetchError> {
    match LinuxKernel::find() {
        Some(kernel) => Ok(kernel),
        None if install == Install::Never => Err(FetchError::NoApt(AS_ASKED.into())),
        None => linux::fetch(&ThisMachine, &mut runner()),
    }
}

/// Returns what runs the installers of this machine.
pub(crate) fn runner() -> Runner {
    let log = paths::root().join("target/setup.log");
    Runner { log }
}

fn ensure_on(
    machine: &impl Probe,
    install: Install,
    installer: &mut impl Installer,
) -> Result<Tools, SetupError> {
    let missing = match Tools::find_on(machine) {
        Ok(tools) => return Ok(tools),
        Err(missing) => missing,
    };
    if missing
        .0
        .iter()
        .any(|lack| matches!(lack, Lack::Setting(_)))
    {
        return Err(SetupError::BadSetting(missing));
    }
    if install == Install::Never {
        let why = AS_ASKED.into();
        return Err(SetupError::NotInstalled { missing, why });
    }
    // Known before anything is touched: half a set-up helps nobody.
    let apt = Apt::usable(machine);
    if lacks_qemu(&missing) {
        let apt = match &apt {
            Ok(apt) => apt,
            Err(why) => {
                let why = why.clone();
                return Err(SetupError::NotInstalled { missing, why });
            }
        };
        let done = apt.install_qemu(machine, installer);
        done.map_err(|failure| match failure {
            QemuFailure::Newer(newer) => SetupError::Newer {
                missing: missing.clone(),
                newer,
            },
            QemuFailure::Installer(failure) => failed(&missing, failure),
        })?;
    }
    if lacks_toolchain(&missing) {
        install_toolchain(machine, apt, &missing, installer)?;
    }
    Tools::find_on(machine).map_err(SetupError::StillMissing)
}

/// Gets a compiler for the kernel: from rustup, or else from apt.
fn install_toolchain(
    machine: &impl Probe,
    apt: Result<Apt, String>,
    missing: &Missing,
    installer: &mut impl Installer,
) -> Result<(), SetupError> {
    if machine.program("rustup").is_some() {
        note(&format!(
            "this adds the target {TARGET} to rustup's active toolchain"
        ));
        let line = ["rustup", "target", "add", TARGET];
        match installer.run("adding the target", &line, Some(RUSTUP_LIMIT)) {
            Ok(()) if !still_lacks_toolchain(machine) => return Ok(()),
            Ok(()) => note("rustup added the target, but its compiler does not do for the kernel"),
            Err(failure) => note(&format!("rustup could not add it: {}", failure.summary())),
        }
    }
    let apt = apt.map_err(|why| SetupError::NotInstalled {
        missing: missing.clone(),
        why,
    })?;
    apt.install(apt::TOOLCHAIN_PACKAGES, installer)
        .map_err(|failure| failed(missing, failure))
}

fn failed(missing: &Missing, failure: InstallFailure) -> SetupError {
    SetupError::Failed {
        missing: missing.clone(),
        failure,
    }
}

fn lacks_qemu(missing: &Missing) -> bool {
    missing.0.iter().any(|lack| matches!(lack, Lack::Qemu(_)))
}

fn lacks_toolchain(missing: &Missing) -> bool {
    let toolchain = |lack: &Lack| matches!(lack, Lack::KernelToolchain(_));
    missing.0.iter().any(toolchain)
}

fn lacks_valgrind(missing: &Missing) -> bool {
    missing.0.contains(&Lack::Valgrind)
}

fn still_lacks_toolchain(machine: &impl Probe) -> bool {
    Tools::find_on(machine).is_err_and(|missing| lacks_toolchain(&missing))
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
