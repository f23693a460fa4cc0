// SPDX-License-Identifier: MIT OR Apache-2.0
//! Shared memory in a file.

use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{fstat, fstatfs, ftruncate, open, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;
use rustix::process::geteuid;

use super::{huge, BLOCK_BYTES};
use crate::server::access::Grant;
use crate::server::error::BindError;
use crate::server::named_file::NamedFile;

fn failed<'a>(step: &'static str, path: &'a Path) -> impl FnOnce(Errno) -> BindError + 'a {
    move |error| BindError::Path {
        step,
        path: path.to_owned(),
        error,
    }
}

/// Opens the file at `path`, or creates it and returns it as a file to be removed should the start fail.
pub(super) fn open_or_create(
    path: &Path,
    size_bytes: u64,
    grant: &Grant,
) -> Result<(OwnedFd, Option<NamedFile>), BindError> {
    // Open to nobody else until owner, group and mode are right.
    let flags = OFlags::RDWR | OFlags::CLOEXEC | OFlags::CREATE | OFlags::EXCL;
    let fd = match open(path, flags, Mode::RUSR | Mode::WUSR) {
        Ok(fd) => fd,
        Err(Errno::EXIST) => return Ok((existing(path, size_bytes, grant)?, None)),
        Err(error) => return Err(failed("create the shared memory file", path)(error)),
    };
    let stat = fstat(&fd).map_err(failed("look at", path))?;
    let created = NamedFile::new(path, &stat);
    prepare(&fd, path, size_bytes, grant)?;
    Ok((fd, Some(created)))
}

/// Creates a file in `folder` that has no name and never can have one.
pub(super) fn unlinked(
    folder: &Path,
    size_bytes: u64,
    grant: &Grant,
) -> Result<OwnedFd, BindError> {
    // With EXCL nobody can give it a name later.
    let flags = OFlags::RDWR | OFlags::CLOEXEC | OFlags::TMPFILE | OFlags::EXCL;
    let fd = open(folder, flags, Mode::RUSR | Mode::WUSR)
        .map_err(failed("create an unnamed file in", folder))?;
    prepare(&fd, folder, size_bytes, grant)?;
    Ok(fd)
}

/// Gives a new file its access and its size.
fn prepare(fd: &OwnedFd, path: &Path, size_bytes: u64, grant: &Grant) -> Result<(), BindError> {
    let page_bytes = huge::page_bytes(fd).map_err(failed("look at", path))?;
    if let Some(page_bytes) = page_bytes {
        huge::check_size(Some(path), size_bytes, page_bytes)?;
    }
    grant.apply_to(fd, path)?;
    ftruncate(fd, size_bytes).map_err(failed("set the size of", path))?;
    secure_room(fd, path, size_bytes)
}

/// Opens a file that exists, and checks that it can be the memory.
fn existing(path: &Path, wanted: u64, grant: &Grant) -> Result<OwnedFd, BindError> {
    // Non-blocking, so that a FIFO is refused below instead of waited for. No link is followed: in a folder that
    // others can write to, such as /dev/shm, it could lead to any file of the server's user.
    let flags = OFlags::RDWR | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOFOLLOW;
    let fd = match open(path, flags, Mode::empty()) {
        Ok(fd) => fd,
        // What a directory or a socket gives.
        Err(Errno::ISDIR | Errno::NXIO) => return Err(BindError::NotAFile { path: path.into() }),
        Err(Errno::LOOP) => return Err(BindError::SymbolicLink { path: path.into() }),
        Err(error) => return Err(failed("open the shared memory file", path)(error)),
    };
    let stat = fstat(&fd).map_err(failed("look at", path))?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Err(BindError::NotAFile { path: path.into() });
    }
    check_owner(&stat, path, grant)?;
    let found = u64::try_from(stat.st_size).unwrap_or(0);
    if found != wanted {
        return Err(BindError::FileSize {
            path: path.into(),
            found,
            wanted,
        });
    }
    secure_room(&fd, path, wanted)?;
    Ok(fd)
}

/// Refuses a file of a user that was not named: it may have been put there to be shared by mistake, and its owner
/// could read the memory, or cut it short, which kills the virtual machines.
fn check_owner(stat: &Stat, path: &Path, grant: &Grant) -> Result<(), BindError> {
    let owner = stat.st_uid;
    let expected = [
        Some(0),
        Some(geteuid().as_raw()),
        grant.owner().map(|uid| uid.as_raw()),
    ];
    if expected.contains(&Some(owner)) {
        return Ok(());
    }
    Err(BindError::FileOwner {
        path: path.into(),
        owner,
    })
}

/// Makes sure, as far as the file system allows, that there is room for all of the memory: what is not there when
/// a page is first touched kills whoever touches it, by `SIGBUS`.
fn secure_room(fd: &OwnedFd, path: &Path, size_bytes: u64) -> Result<(), BindError> {
    let look = "look at the file system of";
    if let Some(page_bytes) = huge::page_bytes(fd).map_err(failed(look, path))? {
        return huge::take(fd, size_bytes, page_bytes);
    }
    let system = fstatfs(fd).map_err(failed(look, path))?;
    // A file system without a limit, such as a tmpfs with size=0, says that it has no blocks at all.
    if system.f_blocks == 0 {
        return Ok(());
    }
    let stat = fstat(fd).map_err(failed(look, path))?;
    let has = u64::try_from(stat.st_blocks)
        .unwrap_or(0)
        .saturating_mul(BLOCK_BYTES);
    let needed = size_bytes.saturating_sub(has);
    // Of different types in different architectures.
    #[allow(clippy::unnecessary_cast)]
    let free = (system.f_bavail as u64).saturating_mul(system.f_bsize as u64);
    if free < needed {
        return Err(BindError::NoRoom {
            path: path.into(),
            needed,
            free,
        });
    }
    Ok(())
}
