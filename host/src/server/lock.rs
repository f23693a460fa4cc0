// SPDX-License-Identifier: MIT OR Apache-2.0
//! The lock of a socket path: one server at a time, and a word to the next.

use std::ffi::OsString;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{flock, fstat, lstat, open, unlink, FlockOperation, Mode, OFlags};
use rustix::io::Errno;

use super::error::BindError;
use super::handover::SavedLock;
use super::ledger::Record;
use super::named_file::{absolute, identity};

/// The lock of a socket path, held until drop. Then its file is removed; but one with the record of a server that was killed
/// stays, until the machine is started again or somebody removes it, since the clients of that one may live on.
///
/// The kernel keeps it as long as any process has this descriptor, so it is handed over with it.
#[derive(Debug)]
pub(super) struct Lock {
    /// `None` once another process has it.
    path: Option<PathBuf>,
    file: Arc<OwnedFd>,
    /// What a server that was killed has left.
    found: Option<Record>,
}

impl Lock {
    /// Takes the lock of a socket path.
    pub(super) fn take(socket: &Path) -> Result<Self, BindError> {
        let path = lock_path(socket);
        let failed = |error| BindError::Path {
            step: "create the lock file",
            path: path.clone(),
            error,
        };
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        loop {
            let file = open(&path, flags, Mode::RUSR | Mode::WUSR).map_err(failed)?;
            match flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => {}
                Err(Errno::WOULDBLOCK) => {
                    return Err(BindError::InUse {
                        socket: socket.to_owned(),
                    });
                }
                Err(error) => return Err(failed(error)),
            }
            // The holder before us may have removed the file between our open and flock.
            let ours = fstat(&file).map_err(failed)?;
            if lstat(&path).is_ok_and(|there| identity(&there) == identity(&ours)) {
                return Ok(Self {
                    path: Some(path),
                    found: Record::read(&file),
                    file: Arc::new(file),
                });
            }
        }
    }

    /// Makes the lock that another process had.
    pub(super) fn restore(saved: SavedLock, file: OwnedFd) -> Self {
        Self {
            path: Some(saved.path),
            file: Arc::new(file),
            found: saved.found,
        }
    }

    /// Describes it, apart from the descriptor.
    pub(super) fn save(&self) -> Option<SavedLock> {
        Some(SavedLock {
            path: self.path.clone()?,
            found: self.found.clone(),
        })
    }

    /// Leaves the lock and its file to another process.
    pub(super) fn disown(&mut self) {
        self.path = None;
    }

    /// Returns what a server that was killed has left.
    pub(super) const fn found(&self) -> Option<&Record> {
        self.found.as_ref()
    }

    /// Returns the file, to write to.
    pub(super) fn file(&self) -> Arc<OwnedFd> {
        Arc::clone(&self.file)
    }
}

impl AsFd for Lock {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        match (&self.path, &self.found) {
            (Some(_), Some(found)) => found.write(&self.file),
            // Still locked: whoever opened the file already will find that it is no longer there.
            (Some(path), None) => drop(unlink(path)),
            (None, _) => {}
        }
    }
}

fn lock_path(socket: &Path) -> PathBuf {
    let mut path = OsString::from(absolute(socket));
    path.push(".lock");
    PathBuf::from(path)
}
