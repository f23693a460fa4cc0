// SPDX-License-Identifier: MIT OR Apache-2.0
//! The object that holds the shared memory.

mod file;
mod huge;

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;

use rustix::fs::{fcntl_add_seals, fstat, ftruncate, memfd_create, MemfdFlags, SealFlags};

use super::access::Grant;
use super::backing::{Backing, FileAtEnd};
use super::config::Config;
use super::error::BindError;
use super::named_file::NamedFile;
pub(super) use huge::pool;

/// The folder in which the C library keeps POSIX shared memory objects (glibc and musl alike).
const POSIX_FOLDER: &str = "/dev/shm";

/// Bytes of a unit of `st_blocks`.
const BLOCK_BYTES: u64 = 512;

/// The shared memory of a server that is starting.
///
/// Until [`NewMemory::keep`], dropping it removes the file that it has created.
#[derive(Debug)]
pub(super) struct NewMemory {
    fd: OwnedFd,
    created: Option<NamedFile>,
    /// Where its file is, if it has one.
    path: Option<PathBuf>,
    at_end: FileAtEnd,
}

impl NewMemory {
    /// Creates or opens the memory that `config` asks for.
    pub(super) fn create(config: &Config, grant: &Grant) -> Result<Self, BindError> {
        let bytes = config.size_bytes;
        let (fd, created) = match &config.backing {
            Backing::Memfd => (sealed_memfd(bytes)?, None),
            Backing::HugePages(pages) => (huge::sealed_memfd(*pages, bytes)?, None),
            Backing::Unlinked(folder) => (file::unlinked(folder, bytes, grant)?, None),
            Backing::File(path) => file::open_or_create(path, bytes, grant)?,
            Backing::Posix(name) => file::open_or_create(&posix_path(name), bytes, grant)?,
        };
        Ok(Self {
            fd,
            created,
            path: match &config.backing {
                Backing::File(path) => Some(path.clone()),
                Backing::Posix(name) => Some(posix_path(name)),
                _ => None,
            },
            at_end: config.file_at_end,
        })
    }

    /// Returns the descriptor.
    pub(super) fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// Returns the memory, to stay, and its file if that is to be removed at the end.
    ///
    /// # Errors
    ///
    /// - [`BindError::System`]: the memory cannot be looked at.
    pub(super) fn keep(self) -> Result<(OwnedFd, Option<NamedFile>), BindError> {
        let file = match (self.at_end, &self.path) {
            (FileAtEnd::Remove, Some(path)) => {
                let stat = fstat(&self.fd).map_err(|error| BindError::System {
                    step: "look at the shared memory",
                    error,
                })?;
                Some(NamedFile::new(path, &stat))
            }
            _ => None,
        };
        if let Some(created) = self.created {
            created.leave();
        }
        Ok((self.fd, file))
    }
}

/// Returns where the C library keeps the POSIX object called `name`.
pub(super) fn posix_path(name: &str) -> PathBuf {
    PathBuf::from(POSIX_FOLDER).join(name.trim_start_matches('/'))
}

/// Creates an anonymous file of `size_bytes` whose size nobody can change.
fn sealed_memfd(size_bytes: u64) -> Result<OwnedFd, BindError> {
    let failed = |error| BindError::System {
        step: "create the shared memory",
        error,
    };
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let fd = memfd_create("ivshmem", flags).map_err(failed)?;
    ftruncate(&fd, size_bytes).map_err(failed)?;
    seal(&fd)?;
    Ok(fd)
}

/// Fixes the size of a memfd for ever.
///
/// A client that cut the memory short would kill the others with `SIGBUS`.
fn seal(fd: &OwnedFd) -> Result<(), BindError> {
    let seals = SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL;
    fcntl_add_seals(fd, seals).map_err(|error| BindError::System {
        step: "seal the shared memory",
        error,
    })
}
