// SPDX-License-Identifier: MIT OR Apache-2.0
//! Files that go with the server that made them.

use std::path::{Path, PathBuf};

use rustix::fs::{lstat, unlink, Stat};
use serde::{Deserialize, Serialize};

/// A file, removed on drop unless another has taken its place.
///
/// Who has one keeps the file open, or the socket that is bound to it: else the system may give its number to another.
#[derive(Debug)]
pub(super) struct NamedFile {
    /// `None` if it stays.
    path: Option<PathBuf>,
    identity: (u64, u64),
}

impl NamedFile {
    /// Takes charge of the file at `path`.
    pub(super) fn at(path: &Path) -> rustix::io::Result<Self> {
        Ok(Self::new(path, &lstat(path)?))
    }

    /// Takes charge of the file at `path`, which `stat` is about.
    pub(super) fn new(path: &Path, stat: &Stat) -> Self {
        Self {
            path: Some(absolute(path)),
            identity: identity(stat),
        }
    }

    /// Leaves the file alone.
    pub(super) fn leave(mut self) {
        self.path = None;
    }

    /// Takes charge of the file that another process had.
    pub(super) fn restore(name: FileName) -> Self {
        Self {
            path: Some(name.path),
            identity: name.identity,
        }
    }

    /// Describes it; nothing if it stays anyway.
    pub(super) fn save(&self) -> Option<FileName> {
        Some(FileName {
            path: self.path.clone()?,
            identity: self.identity,
        })
    }
}

/// A [`NamedFile`] on its way from one process to another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct FileName {
    path: PathBuf,
    identity: (u64, u64),
}

impl Drop for NamedFile {
    fn drop(&mut self) {
        let Some(path) = &self.path else { return };
        if lstat(path).is_ok_and(|stat| identity(&stat) == self.identity) {
            // Nothing can be done about a failure; the next server finds a stale socket, or uses the file.
            let _ = unlink(path);
        }
    }
}

/// Returns the path as it is for a process in another folder too.
pub(super) fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

/// Returns what tells two files apart: device and inode.
pub(super) fn identity(stat: &Stat) -> (u64, u64) {
    (stat.st_dev, stat.st_ino)
}
