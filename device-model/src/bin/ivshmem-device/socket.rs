// SPDX-License-Identifier: MIT OR Apache-2.0
//! Sockets to QEMU: inherited ones, and pairs of new ones.

use std::os::fd::OwnedFd;

use rustix::io::Errno;
use rustix::net::{
    socketpair, sockopt::socket_domain, sockopt::socket_type, AddressFamily, SocketFlags,
    SocketType,
};
use rustix::process::{getpid, pidfd_getfd, pidfd_open, PidfdFlags, PidfdGetfdFlags};

/// Returns a copy of the inherited descriptor `number`, after checking that it is a socket to a QEMU can be.
///
/// A copy, because no code can know that nobody else in this process closes descriptor `number` itself. That one
/// stays open until the process ends.
pub(crate) fn inherited(number: i32) -> Result<OwnedFd, String> {
    let failed = |error: Errno| format!("--fd {number}: cannot take the descriptor: {error}");
    let ourselves = pidfd_open(getpid(), PidfdFlags::empty()).map_err(failed)?;
    let socket = pidfd_getfd(&ourselves, number, PidfdGetfdFlags::empty()).map_err(|error| {
        match error {
            Errno::BADF => format!(
                "--fd {number}: no such descriptor; whoever starts this command has to hand down an open one"
            ),
            error => failed(error),
        }
    })?;
    let is_stream = socket_type(&socket) == Ok(SocketType::STREAM);
    if !is_stream || socket_domain(&socket) != Ok(AddressFamily::UNIX) {
        return Err(format!("--fd {number}: not a unix stream socket"));
    }
    Ok(socket)
}

/// Returns both ends of a new connection.
pub(crate) fn pair() -> Result<(OwnedFd, OwnedFd), String> {
    socketpair(
        AddressFamily::UNIX,
        SocketType::STREAM,
        SocketFlags::CLOEXEC,
        None,
    )
    .map_err(|error| format!("cannot create a socket: {error}"))
}
