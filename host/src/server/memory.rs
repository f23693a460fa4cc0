// SPDX-License-Identifier: MIT OR Apache-2.0
//! The object that holds the shared memory.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{
    fcntl_add_seals, fstat, ftruncate, memfd_create, open, unlink, FileType, MemfdFlags, Mode,
    OFlags, SealFlags,
};
use rustix::io::Errno;

use super::access::Grant;
use super::config::{Backing, Config};
use super::error::BindError;

/// The shared memory of a server that is starting.
///
/// Until [`NewMemory::keep`], dropping it removes the file that it has created.
#[derive(Debug)]
pub(super) struct NewMemory {
    created: CreatedFile,
    fd: OwnedFd,
}

impl NewMemory {
    /// Creates or opens the memory that `config` asks for.
    pub(super) fn create(config: &Config, grant: &Grant) -> Result<Self, BindError> {
        match &config.backing {
            Backing::Memfd => Ok(Self {
                created: CreatedFile(None),
                fd: sealed_memfd(config.size_bytes)?,
            }),
            Backing::File(path) => Self::file(path, config, grant),
        }
    }

    /// Returns the descriptor.
    pub(super) fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// Returns the memory, to stay.
    pub(super) fn keep(mut self) -> OwnedFd {
        self.created.0 = None;
        self.fd
    }

    fn file(path: &Path, config: &Config, grant: &Grant) -> Result<Self, BindError> {
        let failed = |step| {
            move |error| BindError::Path {
                step,
                path: path.to_owned(),
                error,
            }
        };
        // Readable by nobody else until mode and group are right.
        let new = OFlags::RDWR | OFlags::CLOEXEC | OFlags::CREATE | OFlags::EXCL;
        let fd = match open(path, new, Mode::RUSR | Mode::WUSR) {
            Ok(fd) => fd,
            Err(Errno::EXIST) => return Self::existing(path, config.size_bytes),
            Err(error) => return Err(failed("create the shared memory file")(error)),
        };
        let created = CreatedFile(Some(path.to_owned()));
        grant.apply_to(&fd, path)?;
        ftruncate(&fd, config.size_bytes).map_err(failed("set the size of"))?;
        Ok(Self { created, fd })
    }

    fn existing(path: &Path, wanted: u64) -> Result<Self, BindError> {
        let failed = |error| BindError::Path {
            step: "open the shared memory file",
            path: path.to_owned(),
            error,
        };
        // Non-blocking, so that a FIFO is refused below instead of waited for.
        let flags = OFlags::RDWR | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let fd = match open(path, flags, Mode::empty()) {
            Ok(fd) => fd,
            // What a directory or a socket gives.
            Err(Errno::ISDIR | Errno::NXIO) => {
                return Err(BindError::NotAFile { path: path.into() })
            }
            Err(error) => return Err(failed(error)),
        };
        let stat = fstat(&fd).map_err(failed)?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Err(BindError::NotAFile { path: path.into() });
        }
        let found = u64::try_from(stat.st_size).unwrap_or(0);
        if found != wanted {
            return Err(BindError::FileSize {
                path: path.into(),
                found,
                wanted,
            });
        }
        Ok(Self {
            created: CreatedFile(None),
            fd,
        })
    }
}

/// Creates an anonymous file of `size_bytes` whose size nobody can change.
///
/// A client that cut the memory short would kill the others with `SIGBUS`.
fn sealed_memfd(size_bytes: u64) -> Result<OwnedFd, BindError> {
    let failed = |error| BindError::System {
        step: "create the shared memory",
        error,
    };
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let fd = memfd_create("ivshmem", flags).map_err(failed)?;
    ftruncate(&fd, size_bytes).map_err(failed)?;
    let seals = SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL;
    fcntl_add_seals(&fd, seals).map_err(failed)?;
    Ok(fd)
}

/// A file that is removed on drop.
#[derive(Debug)]
struct CreatedFile(Option<PathBuf>);

impl Drop for CreatedFile {
    fn drop(&mut self) {
        if let Some(path) = &self.0 {
            // The start has failed and its error is reported; this one would only hide it.
            let _ = unlink(path);
        }
    }
}
