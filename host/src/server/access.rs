// SPDX-License-Identifier: MIT OR Apache-2.0
//! Who may open the socket and the memory file.

use std::path::Path;

use serde::{Deserialize, Serialize};

use nix::unistd::{Group, User};
use rustix::fd::AsFd;
use rustix::fs::{chmod, chownat, fchmod, fchown, AtFlags, Gid, Mode, Uid, CWD};
use rustix::io::Errno;

use super::error::BindError;

/// The mode of the socket and of a new memory file unless another is asked for: the owner only.
///
/// Whoever can connect can read and write the shared memory, so opening it to others is a decision.
pub const DEFAULT_MODE: u32 = 0o600;

/// Permission bits, owner and group of a file in the file system.
///
/// Only root gives files to other users; anyone may give them to a group they are in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Access {
    /// Permission bits, at most 0o777, whatever the umask.
    pub mode: u32,
    /// Name or number of the owner; `None` for the process's own user.
    pub owner: Option<String>,
    /// Name or number of the group; `None` for the process's own.
    pub group: Option<String>,
}

impl Default for Access {
    /// The process's own user only.
    fn default() -> Self {
        Self {
            mode: DEFAULT_MODE,
            owner: None,
            group: None,
        }
    }
}

impl Access {
    /// Looks up the names.
    pub(super) fn resolve(&self) -> Result<Grant, BindError> {
        Ok(Grant {
            mode: Mode::from_raw_mode(self.mode),
            owner: self.owner.as_deref().map(find_user).transpose()?,
            group: self.group.as_deref().map(find_group).transpose()?,
        })
    }
}

/// An [`Access`] in the system's numbers.
#[derive(Clone, Copy, Debug)]
pub(super) struct Grant {
    mode: Mode,
    owner: Option<Uid>,
    group: Option<Gid>,
}

impl Grant {
    /// Returns the owner asked for.
    pub(super) const fn owner(&self) -> Option<Uid> {
        self.owner
    }

    /// Gives the file at `path`, not what a link there leads to, its owner, group and mode.
    pub(super) fn apply_at(&self, path: &Path) -> Result<(), BindError> {
        self.apply(
            path,
            || chownat(CWD, path, self.owner, self.group, AtFlags::SYMLINK_NOFOLLOW),
            || chmod(path, self.mode),
        )
    }

    /// Gives the open file `fd`, which is at `path`, its owner, group and mode.
    pub(super) fn apply_to(&self, fd: impl AsFd, path: &Path) -> Result<(), BindError> {
        self.apply(
            path,
            || fchown(&fd, self.owner, self.group),
            || fchmod(&fd, self.mode),
        )
    }

    /// First the owner, then the mode: the other way round the mode would reach the wrong ones for a moment.
    fn apply(
        &self,
        path: &Path,
        give: impl FnOnce() -> rustix::io::Result<()>,
        open: impl FnOnce() -> rustix::io::Result<()>,
    ) -> Result<(), BindError> {
        if self.owner.is_some() || self.group.is_some() {
            give().map_err(|error| BindError::Ownership {
                path: path.to_owned(),
                error,
            })?;
        }
        open().map_err(|error| BindError::Path {
            step: "set the mode of",
            path: path.to_owned(),
            error,
        })
    }
}

/// Finds a user by its name or its number.
fn find_user(name: &str) -> Result<Uid, BindError> {
    let found = User::from_name(name).map_err(failed("look up the user"))?;
    number(found.map(|user| user.uid.as_raw()), name)
        .map(Uid::from_raw)
        .ok_or_else(|| BindError::UnknownUser {
            name: name.to_owned(),
        })
}

/// Finds a group by its name or its number.
fn find_group(name: &str) -> Result<Gid, BindError> {
    let found = Group::from_name(name).map_err(failed("look up the group"))?;
    number(found.map(|group| group.gid.as_raw()), name)
        .map(Gid::from_raw)
        .ok_or_else(|| BindError::UnknownGroup {
            name: name.to_owned(),
        })
}

fn failed(step: &'static str) -> impl FnOnce(nix::errno::Errno) -> BindError {
    move |error| BindError::System {
        step,
        error: Errno::from_raw_os_error(error as i32),
    }
}

/// Returns what the name stands for, or the number that it is.
fn number(found: Option<u32>, name: &str) -> Option<u32> {
    found
        .or_else(|| name.parse().ok())
        // The largest number means "leave as it is" to the system.
        .filter(|&number| number != u32::MAX)
}
