// SPDX-License-Identifier: MIT OR Apache-2.0
//! A disk image from which UEFI firmware boots the test kernel.
//!
//! The kernel is its own UEFI application. A UEFI application is a PE file, and PE like ELF says
//! which bytes of the file go to which addresses; so `pe` writes the segments of the ELF file
//! once more, unchanged, behind PE headers whose entry point is the kernel's `efi_entry`. There
//! is one build, for one target, and what UEFI boots is byte for byte what PVH boots. What was
//! refused:
//!
//! - building the kernel, or a loader, for `x86_64-unknown-uefi`: a second target to install, a
//!   linker for COFF that many machines lack, and a kernel that is not the one under test;
//! - a boot loader (GRUB, Limine): a foreign binary in every image.
//!
//! The price is that the kernel lies where it was linked, at 1 MiB, and has no relocations: a
//! firmware that uses these addresses itself does not load it (OVMF 2022.11: `failed to load
//! Boot0001 ...: Not Found`). OVMF keeps the memory from 1 to 8 MiB free.
//!
//! `disk` makes a GPT disk whose one partition, the EFI system partition, holds the application
//! as `\EFI\BOOT\BOOTX64.EFI`, which firmware starts by itself, and beside it the kernel command
//! line as a text file, `cmdline.txt`.

mod disk;
mod pe;

use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Why there is no image.
#[derive(Debug)]
pub enum ImageError {
    /// A file cannot be read or written.
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The kernel's ELF file is not one that can be a UEFI application.
    Kernel {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// The file system or the partition table cannot be made.
    Disk(io::Error),
}

impl fmt::Display for ImageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { path, source } => write!(f, "{}: {source}", path.display()),
            Self::Kernel { path, problem } => write!(
                f,
                "{} cannot be a UEFI application: {problem}",
                path.display()
            ),
            Self::Disk(source) => write!(f, "cannot make the disk image: {source}"),
        }
    }
}

impl std::error::Error for ImageError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::File { source, .. } | Self::Disk(source) => Some(source),
            Self::Kernel { .. } => None,
        }
    }
}

/// Writes the disk image `output` for the kernel whose ELF file is `kernel`, to be run with the
/// kernel command line `append`. Replaces what is there.
///
/// # Errors
///
/// - The kernel cannot be read, or the image cannot be written.
/// - The kernel is not laid out as a UEFI application must be.
/// - The kernel does not fit the disk.
pub fn write(kernel: &Path, append: &str, output: &Path) -> Result<(), ImageError> {
    let file = |path: &Path| {
        let path = path.to_owned();
        |source| ImageError::File { path, source }
    };
    let elf = fs::read(kernel).map_err(file(kernel))?;
    let application = pe::application(&elf).map_err(|problem| ImageError::Kernel {
        path: kernel.to_owned(),
        problem,
    })?;
    let disk = disk::image(&application, append).map_err(ImageError::Disk)?;
    fs::write(output, disk).map_err(file(output))
}
