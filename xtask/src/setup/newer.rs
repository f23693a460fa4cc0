// SPDX-License-Identifier: MIT OR Apache-2.0
//! Packages of QEMU's own that are too new for the QEMU of the package lists: [`Newer`].
//!
//! Someone may have installed, say, a `qemu-utils` from backports on a machine whose lists have only its release's
//! QEMU. The two exclude each other, so apt would remove the one for the other. Putting the newer package back to the
//! lists' version solves that without removing anything, but is the user's decision.

use crate::probe::Probe;
use std::fmt;
use std::path::Path;

/// The variable that allows to put packages back to an older version.
pub const VARIABLE: &str = "IVSHMEM_ALLOW_DOWNGRADES";

/// Debian's name for what all packages of QEMU are built from.
const SOURCE: &str = "qemu";

/// Installed packages that keep the lists' QEMU out only by being newer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Newer {
    /// Each package with its version, as `name version`.
    installed: Vec<String>,
    /// The lists' version, which QEMU and these packages would have.
    version: String,
    /// The same packages as apt-get takes them, `name=version`.
    pub put_back: Vec<String>,
}

impl Newer {
    /// Looks whether apt could install `packages`, of which the first is QEMU, if others of QEMU were put back, and not
    /// otherwise.
    pub fn find(machine: &impl Probe, packages: &[&str]) -> Option<Self> {
        if would_install(machine, packages) {
            return None;
        }
        let version = listed_version(machine, packages.first()?)?;
        let found: Vec<(String, String)> = packages_of_qemu(machine)
            .into_iter()
            .filter(|(_, installed)| is_newer(machine, installed, &version))
            .collect();
        let put_back: Vec<String> = found
            .iter()
            .map(|(name, _)| format!("{name}={version}"))
            .collect();
        let with_others: Vec<&str> = packages
            .iter()
            .copied()
            .chain(put_back.iter().map(String::as_str))
            .collect();
        // Also fails if the lists do not have these in this version, or if something else is wrong too.
        if put_back.is_empty() || !would_install(machine, &with_others) {
            return None;
        }
        let installed = found
            .iter()
            .map(|(name, installed)| format!("{name} {installed}"))
            .collect();
        Some(Self {
            installed,
            version,
            put_back,
        })
    }

    /// Returns whether the user allows to put them back.
    pub fn may_be_put_back(machine: &impl Probe) -> bool {
        machine.variable(VARIABLE).is_some_and(|value| value == "1")
    }
}

impl fmt::Display for Newer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} excludes the QEMU {} of the package lists",
            self.installed.join(", "),
            self.version
        )
    }
}

/// Asks apt whether it could install the packages without removing any. Needs no rights, and no language: only how it
/// ends counts.
fn would_install(machine: &impl Probe, packages: &[&str]) -> bool {
    let mut arguments = vec!["--simulate", "install", "--no-install-recommends"];
    arguments.extend(["--no-remove", "--allow-downgrades"]);
    arguments.extend(packages);
    machine.output(Path::new("apt-get"), &arguments).is_ok()
}

/// Returns the version of a package that apt would install.
fn listed_version(machine: &impl Probe, package: &str) -> Option<String> {
    let arguments = ["show", "--no-all-versions", package];
    let record = machine.output(Path::new("apt-cache"), &arguments).ok()?;
    let version = record
        .lines()
        .find_map(|line| line.strip_prefix("Version: "))?;
    Some(version.trim().to_owned())
}

/// Returns the installed packages of QEMU's with their versions.
fn packages_of_qemu(machine: &impl Probe) -> Vec<(String, String)> {
    let format = "-f=${source:Package} ${db:Status-Status} ${binary:Package} ${Version}\\n";
    let listed = machine.output(Path::new("dpkg-query"), &["-W", format]);
    listed
        .unwrap_or_default()
        .lines()
        .filter_map(|line| {
            let mut words = line.split(' ');
            let is_qemu = words.next() == Some(SOURCE) && words.next() == Some("installed");
            let package = (words.next()?.to_owned(), words.next()?.to_owned());
            is_qemu.then_some(package)
        })
        .collect()
}

/// Compares as Debian does.
fn is_newer(machine: &impl Probe, version: &str, than: &str) -> bool {
    let arguments = ["--compare-versions", version, "gt", than];
    machine.output(Path::new("dpkg"), &arguments).is_ok()
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::probe::fake::FakeMachine;

    pub const OLD: &str = "1:7.2+dfsg-7+deb12u18";
    pub const NEW: &str = "1:10.0.2+ds-2~bpo12+1";
    const PACKAGES: [&str; 2] = ["qemu-system-x86", "ovmf"];
    const SIMULATE: &str =
        "apt-get --simulate install --no-install-recommends --no-remove --allow-downgrades";

    /// Puts a newer qemu-utils on a machine, which excludes `packages`.
    pub fn with_newer_utils(machine: FakeMachine, packages: &str) -> FakeMachine {
        let query = "dpkg-query -W -f=${source:Package} ${db:Status-Status} ${binary:Package} ${Version}\\n";
        machine
            .prints(&format!("{SIMULATE} {packages} qemu-utils={OLD}"), "")
            .prints(
                "apt-cache show --no-all-versions qemu-system-x86",
                &format!("Package: qemu-system-x86\nSource: qemu\nVersion: {OLD}\n"),
            )
            .prints(
                query,
                &format!(
                    "glibc installed libc6:amd64 2.36\n\
                     qemu config-files qemu-guest-agent {NEW}\n\
                     qemu installed qemu-block-extra {OLD}\n\
                     qemu installed qemu-utils {NEW}\n"
                ),
            )
            .prints(&format!("dpkg --compare-versions {NEW} gt {OLD}"), "")
    }

    fn machine() -> FakeMachine {
        with_newer_utils(FakeMachine::default(), "qemu-system-x86 ovmf")
    }

    #[test]
    fn a_newer_package_of_qemu_is_found_with_the_version_of_the_lists() {
        let newer = Newer::find(&machine(), &PACKAGES).unwrap();
        assert_eq!(newer.put_back, [format!("qemu-utils={OLD}")]);
        assert_eq!(
            newer.to_string(),
            format!("qemu-utils {NEW} excludes the QEMU {OLD} of the package lists")
        );
    }

    #[test]
    fn where_apt_can_install_nothing_is_put_back() {
        let free = machine().prints(&format!("{SIMULATE} qemu-system-x86 ovmf"), "");
        assert_eq!(Newer::find(&free, &PACKAGES), None);
    }

    #[test]
    fn where_something_else_is_wrong_too_nothing_is_put_back() {
        // The same lists and packages, but apt does not install seabios either way.
        let packages = ["qemu-system-x86", "seabios"];
        assert_eq!(Newer::find(&machine(), &packages), None);
        assert_eq!(Newer::find(&FakeMachine::default(), &PACKAGES), None);
    }

    #[test]
    fn only_1_allows_it() {
        let set = |value| FakeMachine::default().with_variable(VARIABLE, value);
        assert!(Newer::may_be_put_back(&set("1")));
        assert!(!Newer::may_be_put_back(&set("0")));
        assert!(!Newer::may_be_put_back(&FakeMachine::default()));
    }
}
