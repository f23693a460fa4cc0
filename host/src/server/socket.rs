// SPDX-License-Identifier: MIT OR Apache-2.0
//! The socket in the file system: taking its path, guarding it, giving it up.
//!
//! A lock file next to the socket makes the check for a stale socket safe: without it two
//! servers that start at once could both find the socket stale, and the slower one would
//! remove the other's. The kernel drops the lock with the process, however that ends.

use std::ffi::OsStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{lstat, unlink, FileType};
use rustix::io::{fcntl_setfd, ioctl_fionbio, Errno, FdFlags};
use rustix::net::{
    accept_with, bind, connect, getsockname, listen, socket_with, sockopt, AddressFamily,
    SocketAddrUnix, SocketFlags, SocketType,
};

use super::access::Grant;
use super::error::BindError;
use super::handover::{SavedListener, SavedLock};
use super::lock::Lock;
use super::named_file::{FileName, NamedFile};

/// Connections that may wait to be accepted; the kernel lowers it to `somaxconn`.
const BACKLOG: i32 = 1024;

/// A listening socket; if it was made here, its file is removed on drop.
#[derive(Debug)]
pub(super) struct Listener {
    socket: OwnedFd,
    // Dropped in this order: the socket's file goes while the lock is held.
    /// `None` for a socket that another made and will remove.
    file: Option<NamedFile>,
    /// `None` if there is no file to lock.
    lock: Option<Lock>,
}

impl Listener {
    /// Listens at `path`, in place of a stale socket if there is one.
    ///
    /// Nobody can connect before owner, group and mode are as asked for.
    pub(super) fn bind(path: &Path, grant: &Grant) -> Result<Self, BindError> {
        let failed = |step| {
            move |error| BindError::Path {
                step,
                path: path.to_owned(),
                error,
            }
        };
        let address = SocketAddrUnix::new(path).map_err(failed("use as a socket path"))?;
        let lock = Lock::take(path)?;
        remove_stale(path, &address)?;
        let socket = stream_socket().map_err(failed("create the socket"))?;
        bind(&socket, &address).map_err(|error| match error {
            Errno::ADDRINUSE => BindError::InUse {
                socket: path.to_owned(),
            },
            error => failed("create the socket")(error),
        })?;
        let file = NamedFile::at(path).map_err(failed("find the new socket"))?;
        // Connecting to a socket that does not listen yet fails, so nobody slips in here.
        grant.apply_at(path)?;
        listen(&socket, BACKLOG).map_err(failed("listen at"))?;
        Ok(Self {
            socket,
            file: Some(file),
            lock: Some(lock),
        })
    }

    /// Takes over a socket that listens already, and returns it with the path it is at.
    ///
    /// Its file stays when the listener goes: it belongs to whoever made it.
    pub(super) fn adopt(socket: OwnedFd) -> Result<(Self, Option<PathBuf>), BindError> {
        let failed = |error| BindError::System {
            step: "take over the listening socket",
            error,
        };
        let domain = sockopt::socket_domain(&socket).map_err(failed)?;
        let kind = sockopt::socket_type(&socket).map_err(failed)?;
        let listens = sockopt::socket_acceptconn(&socket).map_err(failed)?;
        if (domain, kind, listens) != (AddressFamily::UNIX, SocketType::STREAM, true) {
            return Err(BindError::NotAListener);
        }
        ioctl_fionbio(&socket, true).map_err(failed)?;
        fcntl_setfd(&socket, FdFlags::CLOEXEC).map_err(failed)?;
        let address = getsockname(&socket).map_err(failed)?;
        let path = SocketAddrUnix::try_from(address)
            .ok()
            .and_then(|address| Some(PathBuf::from(OsStr::from_bytes(address.path_bytes()?))));
        let lock = match path.as_deref().map(Lock::take).transpose() {
            // The folder is another's, as /run is; only servers that make their sockets need the lock.
            Err(BindError::Path {
                error: Errno::ACCESS | Errno::PERM | Errno::ROFS | Errno::NOENT,
                ..
            }) => None,
            lock => lock?,
        };
        let listener = Self {
            socket,
            file: None,
            lock,
        };
        Ok((listener, path))
    }

    /// Describes it, apart from its descriptors.
    pub(super) fn save(&self) -> SavedListener {
        SavedListener {
            file: self.file.as_ref().and_then(NamedFile::save),
            lock: self.lock.as_ref().and_then(Lock::save),
        }
    }

    /// Returns its descriptors: of the socket, and of the lock if there is one.
    pub(super) fn descriptors(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        std::iter::once(self.as_fd()).chain(self.lock.as_ref().map(AsFd::as_fd))
    }

    /// Leaves the files to another process, which has the descriptors too.
    pub(super) fn disown(mut self) {
        if let Some(file) = self.file.take() {
            file.leave();
        }
        if let Some(lock) = &mut self.lock {
            lock.disown();
        }
    }

    /// Returns the lock, if there is one.
    pub(super) const fn lock(&self) -> Option<&Lock> {
        self.lock.as_ref()
    }

    /// Accepts one waiting connection; `WOULDBLOCK` if there is none.
    pub(super) fn accept(&self) -> rustix::io::Result<OwnedFd> {
        accept_with(&self.socket, SocketFlags::NONBLOCK | SocketFlags::CLOEXEC)
    }

    /// Accepts one of the connections that would be closed with the listener.
    pub(super) fn accept_last(&self) -> Option<OwnedFd> {
        self.file.as_ref()?;
        self.accept().ok()
    }
}

/// What makes a listener that another process had. To drop it leaves the files alone.
#[derive(Debug)]
pub(super) struct ListenerParts {
    socket: OwnedFd,
    file: Option<FileName>,
    lock: Option<(SavedLock, OwnedFd)>,
}

impl ListenerParts {
    /// Puts together what belongs together; nothing if a descriptor is missing.
    pub(super) fn of(
        saved: SavedListener,
        descriptors: &mut impl Iterator<Item = OwnedFd>,
    ) -> Option<Self> {
        Some(Self {
            socket: descriptors.next()?,
            file: saved.file,
            lock: match saved.lock {
                Some(lock) => Some((lock, descriptors.next()?)),
                None => None,
            },
        })
    }

    /// Makes the listener, which has the files.
    pub(super) fn assemble(self) -> Listener {
        Listener {
            socket: self.socket,
            file: self.file.map(NamedFile::restore),
            lock: self.lock.map(|(lock, file)| Lock::restore(lock, file)),
        }
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

fn stream_socket() -> rustix::io::Result<OwnedFd> {
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)
}

/// Removes the socket at `path` if nobody listens there, and nothing else.
fn remove_stale(path: &Path, address: &SocketAddrUnix) -> Result<(), BindError> {
    let failed = |step| {
        move |error| BindError::Path {
            step,
            path: path.to_owned(),
            error,
        }
    };
    match lstat(path) {
        Err(Errno::NOENT) => return Ok(()),
        Err(error) => return Err(failed("look at")(error)),
        Ok(stat) if FileType::from_raw_mode(stat.st_mode) != FileType::Socket => {
            return Err(BindError::NotASocket {
                path: path.to_owned(),
            });
        }
        Ok(_) => {}
    }
    let probe = stream_socket().map_err(failed("probe the socket"))?;
    match connect(&probe, address) {
        Err(Errno::CONNREFUSED) => match unlink(path) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(error) => Err(failed("remove the stale socket")(error)),
        },
        Err(Errno::NOENT) => Ok(()),
        // AGAIN: its backlog is full; PROTOTYPE: somebody's socket of another type.
        Ok(()) | Err(Errno::AGAIN | Errno::PROTOTYPE) => Err(BindError::InUse {
            socket: path.to_owned(),
        }),
        Err(error) => Err(failed("probe the socket")(error)),
    }
}
