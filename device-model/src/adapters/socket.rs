// SPDX-License-Identifier: MIT OR Apache-2.0
//! Stream sockets with descriptors beside the bytes, read without waiting.

use std::fmt;
use std::io::IoSliceMut;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::{recvmsg, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags};

/// How many descriptors one read has room for. A message of a server has one, one of QEMU's proxy up to 8; a few more show
/// what is wrong.
const ROOM: usize = 16;

/// What has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Incoming {
    /// Nothing for now.
    Nothing,
    /// So many bytes, at least 1.
    Bytes(usize),
    /// Nothing ever again.
    End,
}

/// Reads at most all of `buffer`, which is not empty, and adds the descriptors that come along to `descriptors`.
pub(crate) fn receive(
    socket: impl AsFd,
    buffer: &mut [u8],
    descriptors: &mut Vec<OwnedFd>,
) -> Result<Incoming, ReceiveError> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(ROOM))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let flags = RecvFlags::CMSG_CLOEXEC | RecvFlags::DONTWAIT;
    let received = match recvmsg(socket, &mut [IoSliceMut::new(buffer)], &mut control, flags) {
        Err(Errno::AGAIN | Errno::INTR) => return Ok(Incoming::Nothing),
        Err(Errno::CONNRESET) => return Ok(Incoming::End),
        other => other.map_err(ReceiveError::System)?,
    };
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(files) = message {
            descriptors.extend(files);
        }
    }
    // Without its descriptor a message would have another meaning.
    if received.flags.contains(ReturnFlags::CTRUNC) {
        return Err(ReceiveError::DescriptorsLost);
    }
    Ok(match received.bytes {
        0 => Incoming::End,
        bytes => Incoming::Bytes(bytes),
    })
}

/// A socket that cannot be read any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ReceiveError {
    /// The system reports an error.
    System(Errno),
    /// Descriptors got lost: this process has as many as it may have, or too many came at once.
    DescriptorsLost,
}

impl fmt::Display for ReceiveError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::System(error) => write!(f, "{error}"),
            Self::DescriptorsLost => write!(
                f,
                "descriptors got lost; too many came at once, or the process has too many open (raise the limit: ulimit -n)"
            ),
        }
    }
}

impl core::error::Error for ReceiveError {}
