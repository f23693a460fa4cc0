// SPDX-License-Identifier: MIT OR Apache-2.0
//! A Linux guest: Debian's kernel, and a program of ours as its only user.
//!
//! The kernel comes from a package that is unpacked under `target/` and not installed by [`ensure_linux`](crate::setup::ensure_linux); the program is the package
//! `linux-guest`, linked statically; both go into an initramfs.

mod initramfs;
mod package;
mod program;

use std::io;
use std::path::{Path, PathBuf};

use crate::accelerator::AcceleratorKind;
use crate::build::BuildError;
use crate::qemu::Guest;
use crate::tools::Tools;

pub(crate) use package::fetch;
pub use package::{FetchError, LinuxKernel};

/// The modules that VFIO is made of, in the order in which they can be loaded.
const VFIO_MODULES: [&str; 6] = [
    "irqbypass",
    "vfio",
    "vfio_virqfd",
    "vfio_iommu_type1",
    "vfio-pci-core",
    "vfio-pci",
];

/// What a Linux guest boots.
#[derive(Debug)]
pub struct Linux {
    kernel: PathBuf,
    initramfs: PathBuf,
}

impl Linux {
    /// Builds the program, and packs it with the modules of `kernel`.
    ///
    /// # Errors
    ///
    /// - The program does not build, or the initramfs cannot be written.
    pub fn prepare(kernel: &LinuxKernel) -> Result<Self, PrepareError> {
        let program = program::build().map_err(PrepareError::Build)?;
        let path = package::folder().join("initramfs.cpio");
        initramfs::write(&path, &program, &kernel.modules).map_err(|error| {
            PrepareError::Write {
                path: path.clone(),
                error,
            }
        })?;
        Ok(Self {
            kernel: kernel.image.clone(),
            initramfs: path,
        })
    }

    /// Describes such a machine of the type `q35`, emulated, with an IOMMU that can remap interrupts. The device comes on top.
    pub fn guest(&self, tools: &Tools) -> Guest {
        Guest::new(tools, &self.kernel)
            .accelerator(AcceleratorKind::Tcg)
            .machine("q35")
            .memory_mib(256)
            .arg("-initrd")
            .arg(&self.initramfs)
            // Before the devices that it is for.
            .device("intel-iommu,intremap=on")
            // A panic ends the machine, and nothing but the program speaks.
            .append("console=ttyS0 quiet panic=-1 intel_iommu=on")
    }
}

/// Why there is nothing to boot.
#[derive(Debug)]
pub enum PrepareError {
    /// The program does not build.
    Build(BuildError),
    /// The initramfs cannot be written.
    Write {
        /// Its path.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
}

impl std::fmt::Display for PrepareError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Build(error) => error.fmt(f),
            Self::Write { path, error } => write!(f, "cannot write {}: {error}", path.display()),
        }
    }
}

impl std::error::Error for PrepareError {}

/// Returns the name of a file without its folders and without `.ko`.
fn stem(path: &Path) -> Option<&str> {
    path.file_name()?.to_str()?.strip_suffix(".ko")
}
