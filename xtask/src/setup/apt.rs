// SPDX-License-Identifier: MIT OR Apache-2.0
//! Packages of Debian and its relatives.

use super::installer::{InstallFailure, Installer};
use super::newer::Newer;
use crate::probe::Probe;
use crate::progress::note;
use std::path::Path;

/// QEMU, its firmware for PVH guests, and that for UEFI guests.
const QEMU_PACKAGES: &[&str] = &["qemu-system-x86", "seabios", "ovmf"];
/// A compiler with the sources of its core.
pub const TOOLCHAIN_PACKAGES: &[&str] = &["rustc-web", "cargo-web", "rust-web-src"];
/// The counter of instructions.
pub const VALGRIND_PACKAGES: &[&str] = &["valgrind"];

/// An apt that we may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Apt {
    rights: Rights,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rights {
    Root,
    Sudo,
}

/// Why QEMU was not installed.
#[derive(Debug)]
pub enum QemuFailure {
    /// These are in the way, and may not be put back.
    Newer(Newer),
    /// apt-get failed.
    Installer(InstallFailure),
}

impl Apt {
    /// Returns the apt of this machine, or in words why it is not ours to use.
    pub fn usable(machine: &impl Probe) -> Result<Self, String> {
        let release = machine.text(Path::new("/etc/os-release"));
        if !is_debian(&release.unwrap_or_default()) {
            return Err("this is not Debian or a relative, so nothing is installed".into());
        }
        if machine.program("apt-get").is_none() {
            return Err("apt-get is not on the PATH, so nothing is installed".into());
        }
        let user = machine.output(Path::new("id"), &["-u"]);
        if user.is_ok_and(|id| id.trim() == "0") {
            let rights = Rights::Root;
            return Ok(Self { rights });
        }
        let sudo = machine.program("sudo");
        if sudo.is_some_and(|sudo| machine.output(&sudo, &["-n", "true"]).is_ok()) {
            let rights = Rights::Sudo;
            return Ok(Self { rights });
        }
        Err("neither root nor a sudo without password, so nothing is installed".into())
    }

    /// Says which packages it installs, then does.
    pub fn install(
        self,
        packages: &[&str],
        installer: &mut impl Installer,
    ) -> Result<(), InstallFailure> {
        self.announce(packages, installer);
        self.install_with(&[], packages, installer)
    }

    /// As [`install`](Self::install), for QEMU: puts packages back that are too new for it, if the user allows that.
    pub fn install_qemu(
        self,
        machine: &impl Probe,
        installer: &mut impl Installer,
    ) -> Result<(), QemuFailure> {
        self.announce(QEMU_PACKAGES, installer);
        let Some(newer) = Newer::find(machine, QEMU_PACKAGES) else {
            let done = self.install_with(&[], QEMU_PACKAGES, installer);
            return done.map_err(QemuFailure::Installer);
        };
        if !Newer::may_be_put_back(machine) {
            return Err(QemuFailure::Newer(newer));
        }
        note(&format!("{newer}, so this puts it back"));
        let mut packages = QEMU_PACKAGES.to_vec();
        packages.extend(newer.put_back.iter().map(String::as_str));
        self.install_with(&["--allow-downgrades"], &packages, installer)
            .map_err(QemuFailure::Installer)
    }

    /// Says which packages are to be installed, and reads the package lists.
    fn announce(self, packages: &[&str], installer: &mut impl Installer) {
        note(&format!("this installs by apt-get: {}", packages.join(" ")));
        self.refresh(installer);
    }

    /// Reads the package lists.
    pub fn refresh(self, installer: &mut impl Installer) {
        // Old lists may do, so whether this fails is decided by the installation. It is told
        // all the same, because it explains a package that cannot be found.
        if let Err(failure) =
            installer.run("reading the package lists", &self.line(&["update"]), None)
        {
            note(&format!("apt-get update failed: {}", failure.summary()));
        }
    }

    fn install_with(
        self,
        options: &[&str],
        packages: &[&str],
        installer: &mut impl Installer,
    ) -> Result<(), InstallFailure> {
        let mut arguments = vec!["install", "-y"];
        arguments.push("--no-install-recommends");
        // A conflict (rustc-web with Debian's own rustc or rustup) shall never cost the user a
        // package.
        arguments.push("--no-remove");
        arguments.extend(options);
        arguments.extend(packages);
        installer.run("installing the packages", &self.line(&arguments), None)
    }

    fn line<'a>(self, arguments: &[&'a str]) -> Vec<&'a str> {
        let sudo: &[&str] = match self.rights {
            Rights::Root => &[],
            Rights::Sudo => &["sudo", "-n"],
        };
        let apt = [
            // Through env, because sudo drops variables.
            "env",
            "DEBIAN_FRONTEND=noninteractive",
            "apt-get",
            // Another apt at work, such as the nightly updates, is waited for.
            "-o",
            "DPkg::Lock::Timeout=300",
        ];
        [sudo, &apt, arguments].concat()
    }
}

/// Reads os-release(5).
fn is_debian(release: &str) -> bool {
    release
        .lines()
        .filter_map(|line| line.split_once('='))
        .filter(|(name, _)| matches!(*name, "ID" | "ID_LIKE"))
        .flat_map(|(_, value)| value.trim_matches(['"', '\'']).split_ascii_whitespace())
        .any(|id| id == "debian" || id == "ubuntu")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::fake::FakeMachine;

    fn debian() -> FakeMachine {
        FakeMachine::default()
            .with_file("/etc/os-release", "NAME=\"Debian\"\nID=debian\n")
            .with_program("/usr/bin/apt-get")
    }

    #[test]
    fn relatives_of_debian_are_recognized() {
        assert!(is_debian("ID=debian\n"));
        assert!(is_debian("ID=linuxmint\nID_LIKE=\"ubuntu debian\"\n"));
        assert!(!is_debian("ID=fedora\nVARIANT_ID=debian\n"));
        assert!(!is_debian("ID=\"arch\"\n"));
    }

    #[test]
    fn rights_are_root_or_a_sudo_that_asks_nothing() {
        let root = debian().prints("id -u", "0\n");
        assert_eq!(Apt::usable(&root).unwrap().rights, Rights::Root);
        let user = debian().prints("id -u", "1000\n");
        assert!(Apt::usable(&user).unwrap_err().contains("neither root"));
        let asks = user.with_program("/usr/bin/sudo");
        assert!(Apt::usable(&asks).is_err());
        let free = asks.prints("/usr/bin/sudo -n true", "");
        assert_eq!(Apt::usable(&free).unwrap().rights, Rights::Sudo);
    }

    #[test]
    fn another_distribution_is_left_alone() {
        let fedora = FakeMachine::default()
            .with_file("/etc/os-release", "ID=fedora\n")
            .prints("id -u", "0\n");
        assert!(Apt::usable(&fedora).unwrap_err().contains("not Debian"));
    }
}
