// SPDX-License-Identifier: MIT OR Apache-2.0
//! Stream sockets with descriptors beside the bytes, read without waiting.

use std::fmt;
use std::io::IoSliceMut;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::{recvmsg, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags};
use rustix::process::{getrlimit, Resource};

/// How many descriptors one read has room for. A message of a server has one, one of QEMU's proxy up to 8; a few more show
/// what is wrong.
const ROOM: usize = 16;
/// How many descriptors of the process no server gets, or a quarter of a small limit: for the guests of other devices, whose
/// QEMUs send some with each change of a memory map.
const RESERVE: u64 = 64;

/// What has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Incoming {
    /// Nothing for now.
    Nothing,
    /// Bytes, and perhaps descriptors.
    Bytes {
        /// How many, at least 1.
        len: usize,
        /// Whether descriptors that came along got lost.
        is_lossy: bool,
    },
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
    Ok(match received.bytes {
        0 => Incoming::End,
        len => Incoming::Bytes {
            len,
            is_lossy: received.flags.contains(ReturnFlags::CTRUNC),
        },
    })
}

/// Checks that `files`, which a server has sent, leave the process its reserve.
///
/// # Errors
///
/// - [`ReceiveError::NoRoom`]: they do not.
pub(super) fn check_room(files: &[OwnedFd]) -> Result<(), ReceiveError> {
    let Some(limit) = getrlimit(Resource::Nofile).current else {
        return Ok(());
    };
    // Numbers are given in ascending order, so a high one tells of many.
    let end = limit - RESERVE.min(limit / 4);
    let is_within = |file: &OwnedFd| u64::try_from(file.as_raw_fd()).is_ok_and(|at| at < end);
    if files.iter().all(is_within) {
        Ok(())
    } else {
        Err(ReceiveError::NoRoom { limit })
    }
}

/// A socket that cannot be read any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ReceiveError {
    /// The system reports an error.
    System(Errno),
    /// Descriptors got lost: this process has as many as it may have, or too many came at once.
    DescriptorsLost,
    /// The last descriptors of the process are not for servers.
    NoRoom {
        /// How many it may have (`RLIMIT_NOFILE`).
        limit: u64,
    },
}

impl fmt::Display for ReceiveError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::System(error) => write!(f, "{error}"),
            Self::DescriptorsLost => write!(
                f,
                "descriptors got lost; too many came at once, or the process has too many open (raise the limit: ulimit -n)"
            ),
            Self::NoRoom { limit } => write!(
                f,
                "this process has nearly all of the {limit} descriptors open that it may have; raise the limit (ulimit -n)"
            ),
        }
    }
}

impl core::error::Error for ReceiveError {}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn a_peer_that_goes_without_reading_is_an_end() {
        let (mut ours, theirs) = UnixStream::pair().unwrap();
        ours.write_all(b"never read").unwrap();
        drop(theirs);
        let incoming = receive(&ours, &mut [0; 8], &mut Vec::new());
        assert_eq!(incoming, Ok(Incoming::End));
    }
}
