// SPDX-License-Identifier: MIT OR Apache-2.0
//! Connecting to a socket in the file system, within a time limit.

use std::fmt;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::thread;
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::{connect, socket_with, AddressFamily, SocketAddrUnix, SocketFlags, SocketType};

use crate::deadline::Deadline;

/// How long to wait before trying again at a server whose backlog is full; no event tells.
const BACKLOG_INTERVAL: Duration = Duration::from_millis(10);

/// A failed attempt to connect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DialError {
    /// The backlog was full all the time.
    Timeout,
    /// The system refuses.
    System(Errno),
}

/// Why somebody cannot be connected to, and what to do.
#[derive(Debug)]
pub(crate) struct Unreachable<'a> {
    pub(crate) path: &'a Path,
    pub(crate) error: Errno,
}

impl fmt::Display for Unreachable<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path.display();
        match self.error {
            Errno::NOENT | Errno::NOTDIR | Errno::CONNREFUSED => write!(
                f,
                "no server listens at {path}: start one with `ivshmem server`, or name its socket"
            ),
            Errno::ACCESS | Errno::PERM => write!(
                f,
                "may not connect to {path}: be its owner or of its group, or have the server started with another \
                 mode or group"
            ),
            Errno::NAMETOOLONG => write!(
                f,
                "cannot connect to {path}: the path of a socket has at most 107 bytes; use a shorter one"
            ),
            error => write!(f, "cannot connect to {path}: {error}"),
        }
    }
}

/// Connects to the stream socket at `path`; the result does not block.
pub(crate) fn dial(path: &Path, deadline: Deadline) -> Result<OwnedFd, DialError> {
    let address = SocketAddrUnix::new(path).map_err(DialError::System)?;
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)
        .map_err(DialError::System)?;
    loop {
        match connect(&socket, &address) {
            Ok(()) => return Ok(socket),
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => {
                let left = deadline.remaining();
                if left.is_zero() {
                    return Err(DialError::Timeout);
                }
                thread::sleep(left.min(BACKLOG_INTERVAL));
            }
            Err(error) => return Err(DialError::System(error)),
        }
    }
}
