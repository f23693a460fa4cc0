// SPDX-License-Identifier: MIT OR Apache-2.0
//! Connecting to a socket in the file system, within a time limit.

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
