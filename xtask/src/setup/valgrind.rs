// SPDX-License-Identifier: MIT OR Apache-2.0
//! valgrind, which only `cargo xtask instructions` needs.

use super::apt::{self, Apt};
use super::installer::Installer;
use super::{failed, runner, Install, SetupError, AS_ASKED};
use crate::probe::{Probe, ThisMachine};
use crate::tools::{Lack, Missing};
use std::path::PathBuf;

/// Finds valgrind, and installs it if it is missing and that is allowed.
///
/// Says on stderr what it installs before it does.
///
/// # Errors
///
/// - It is missing and cannot, or may not, be installed; the message has the command to type.
pub fn ensure_valgrind(install: Install) -> Result<PathBuf, SetupError> {
    ensure_valgrind_on(&ThisMachine, install, &mut runner())
}

pub(super) fn ensure_valgrind_on(
    machine: &impl Probe,
    install: Install,
    installer: &mut impl Installer,
) -> Result<PathBuf, SetupError> {
    let find = || machine.program("valgrind");
    if let Some(found) = find() {
        return Ok(found);
    }
    let missing = Missing(vec![Lack::Valgrind]);
    let usable = match install {
        Install::Never => Err(AS_ASKED.into()),
        Install::IfMissing => Apt::usable(machine),
    };
    let apt = usable.map_err(|why| SetupError::NotInstalled {
        missing: missing.clone(),
        why,
    })?;
    apt.install(apt::VALGRIND_PACKAGES, installer)
        .map_err(|failure| failed(&missing, failure))?;
    find().ok_or(SetupError::StillMissing(missing))
}
