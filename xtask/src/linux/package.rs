// SPDX-License-Identifier: MIT OR Apache-2.0
//! Debian's kernel, from its package: fetched by apt, unpacked under `target/`, installed nowhere.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use super::{stem, VFIO_MODULES};
use crate::paths;
use crate::probe::Probe;
use crate::setup::apt::Apt;
use crate::setup::installer::{InstallFailure, Installer};

/// The package that names the newest kernel for virtual machines: no more drivers than those need.
const NEWEST: &str = "linux-image-cloud-amd64";
/// How the name of a package of a kernel begins.
const IMAGE: &str = "linux-image-";

/// Fetches the package `$2` and unpacks it to the folder `root` in `$1`, which has it whole or not at all.
const SCRIPT: &str = "\
    set -e
    mkdir -p \"$1\"
    cd \"$1\"
    rm -rf packages new root
    mkdir packages
    (cd packages && apt-get download \"$2\")
    dpkg-deb -x packages/*.deb new
    rm -rf packages
    mv new root";

/// A kernel and the modules for VFIO.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinuxKernel {
    /// The bootable image.
    pub image: PathBuf,
    /// In the order in which they can be loaded.
    pub modules: Vec<PathBuf>,
}

/// Why there is no kernel.
#[derive(Debug)]
pub enum FetchError {
    /// This machine has no apt, or not the programs that go with it.
    NoApt(String),
    /// The package cannot be fetched.
    Failed(InstallFailure),
    /// The package is there, and something is missing in it.
    Incomplete(PathBuf),
}

impl fmt::Display for FetchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unpacked = folder().join("root");
        match self {
            Self::NoApt(why) => write!(
                f,
                "no kernel for Linux guests: {why}. Unpack what Debian's {NEWEST} depends on to {}",
                unpacked.display()
            ),
            Self::Failed(failure) => write!(f, "no kernel for Linux guests: {failure}"),
            Self::Incomplete(folder) => write!(
                f,
                "no kernel for Linux guests: {} lacks vmlinuz or modules of vfio; remove it and try again",
                folder.display()
            ),
        }
    }
}

impl std::error::Error for FetchError {}

/// Returns where everything for Linux guests is.
pub(super) fn folder() -> PathBuf {
    paths::root().join("target/linux-guest")
}

impl LinuxKernel {
    /// Finds the kernel that was fetched before.
    #[must_use]
    pub fn find() -> Option<Self> {
        Self::find_in(&folder().join("root"))
    }

    fn find_in(unpacked: &Path) -> Option<Self> {
        let boot = fs::read_dir(unpacked.join("boot")).ok()?;
        let image = boot.flatten().map(|file| file.path()).find(|path| {
            let name = path
                .file_name()
                .map(|name| name.to_string_lossy().into_owned());
            name.is_some_and(|name| name.starts_with("vmlinuz-"))
        })?;
        let mut files = Vec::new();
        collect(&unpacked.join("lib/modules"), &mut files);
        let module = |name: &&str| files.iter().find(|path| stem(path) == Some(name)).cloned();
        let modules: Option<Vec<_>> = VFIO_MODULES.iter().map(module).collect();
        Some(Self {
            image,
            modules: modules?,
        })
    }
}

/// Collects all files below `folder`.
fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => collect(&entry.path(), files),
            Ok(kind) if kind.is_file() => files.push(entry.path()),
            _ => {}
        }
    }
}

/// Finds the kernel, and fetches it if it was not before. It takes no rights, but lists of packages that are not too old.
///
/// # Errors
///
/// - There is no apt, it does not get the package, or the package is not as it was.
pub(crate) fn fetch(
    machine: &impl Probe,
    installer: &mut impl Installer,
) -> Result<LinuxKernel, FetchError> {
    if let Some(kernel) = LinuxKernel::find() {
        return Ok(kernel);
    }
    let tool = |name: &str| {
        let missing = || FetchError::NoApt(format!("{name} is not on the PATH"));
        machine.program(name).ok_or_else(missing)
    };
    let cache = tool("apt-cache")?;
    tool("apt-get")?;
    tool("dpkg-deb")?;
    let ask = || dependency(&machine.output(&cache, &["depends", NEWEST]).ok()?);
    let package = ask().or_else(|| {
        // A machine that is new has no lists yet.
        Apt::usable(machine).ok()?.refresh(installer);
        ask()
    });
    let package = package.ok_or_else(|| {
        FetchError::NoApt(format!("apt knows no package {NEWEST}; try apt-get update"))
    })?;
    let folder = folder();
    let unpacked = folder.join("root");
    let line = [
        "sh",
        "-c",
        SCRIPT,
        "fetch",
        &folder.to_string_lossy(),
        &package,
    ];
    let what = format!("fetching the kernel {package} for Linux guests");
    installer
        .run(&what, &line, None)
        .map_err(FetchError::Failed)?;
    LinuxKernel::find_in(&unpacked).ok_or(FetchError::Incomplete(unpacked))
}

/// Returns the package of a kernel that `apt-cache depends` names.
fn dependency(depends: &str) -> Option<String> {
    let names = depends
        .lines()
        .filter_map(|line| line.trim().strip_prefix("Depends: "));
    names
        .map(str::trim)
        .find(|name| name.starts_with(IMAGE))
        .map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_kernel_is_what_the_package_depends_on() {
        let depends = "linux-image-cloud-amd64\n  Depends: linux-image-6.1.0-56-cloud-amd64\n";
        let package = dependency(depends);
        assert_eq!(package.as_deref(), Some("linux-image-6.1.0-56-cloud-amd64"));
        assert_eq!(dependency("N: Unable to locate package\n"), None);
        assert_eq!(
            dependency("linux-image-cloud-amd64\n  Depends: <none>\n"),
            None
        );
    }

    #[test]
    fn a_package_has_the_kernel_and_all_modules_or_is_none() {
        let unpacked = tempfile::tempdir().unwrap();
        let put = |name: &str| {
            let path = unpacked.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, "").unwrap();
            path
        };
        put("boot/config-6.1");
        let modules: Vec<_> = VFIO_MODULES
            .iter()
            .map(|name| put(&format!("lib/modules/6.1/kernel/{}/{name}.ko", name.len())))
            .collect();
        assert_eq!(LinuxKernel::find_in(unpacked.path()), None);
        let image = put("boot/vmlinuz-6.1");
        let found = LinuxKernel::find_in(unpacked.path());
        let modules_found = modules.clone();
        let expected = LinuxKernel {
            image,
            modules: modules_found,
        };
        assert_eq!(found, Some(expected));
        fs::remove_file(&modules[2]).unwrap();
        assert_eq!(LinuxKernel::find_in(unpacked.path()), None);
    }
}
