// SPDX-License-Identifier: MIT OR Apache-2.0
//! The connection between two servers: bytes and descriptors, each within a time.

use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::thread;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags};
use rustix::io::Errno;
use rustix::net::{
    recvmsg, sendmsg, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags,
    SendAncillaryBuffer, SendAncillaryMessage, SendFlags,
};

use crate::deadline::Deadline;

/// The most descriptors that the kernel takes with one message (`SCM_MAX_FD`).
pub(super) const BATCH: usize = 253;

/// How long to wait before trying again what the kernel had no room for; no event tells.
const RETRY_INTERVAL: Duration = Duration::from_millis(2);

/// One end of the connection.
#[derive(Debug)]
pub(super) struct Wire {
    socket: OwnedFd,
    deadline: Deadline,
}

/// Why nothing was sent or received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum WireError {
    /// The other process has closed the connection or died.
    Ended,
    /// The time is over.
    TimedOut,
    /// A descriptor was lost: this process may open no more.
    DescriptorLost,
    /// The connection failed.
    System(Errno),
}

impl Wire {
    /// Everything on it has to happen until `deadline`.
    pub(super) const fn new(socket: OwnedFd, deadline: Deadline) -> Self {
        Self { socket, deadline }
    }

    /// Gives what follows another time.
    pub(super) fn extend(&mut self, deadline: Deadline) {
        self.deadline = deadline;
    }

    /// Sends all of `bytes`, the first of them with `descriptors`, of which there are [`BATCH`] at most.
    pub(super) fn send(
        &self,
        mut bytes: &[u8],
        mut descriptors: &[BorrowedFd<'_>],
    ) -> Result<(), WireError> {
        while !bytes.is_empty() {
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(BATCH))];
            let mut control = SendAncillaryBuffer::new(&mut space);
            if !descriptors.is_empty() {
                control.push(SendAncillaryMessage::ScmRights(descriptors));
            }
            let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
            match sendmsg(&self.socket, &[IoSlice::new(bytes)], &mut control, flags) {
                Ok(sent) => {
                    bytes = bytes.get(sent..).unwrap_or_default();
                    descriptors = &[];
                }
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => self.wait(PollFlags::OUT)?,
                // TOOMANYREFS: more descriptors of this user are in sockets than a process may open.
                Err(Errno::TOOMANYREFS | Errno::NOBUFS | Errno::NOMEM) => self.pause()?,
                Err(Errno::PIPE | Errno::CONNRESET) => return Err(WireError::Ended),
                Err(error) => return Err(WireError::System(error)),
            }
        }
        Ok(())
    }

    /// Receives until `bytes` is full, and returns the descriptors that came along.
    pub(super) fn receive(&self, bytes: &mut [u8]) -> Result<Vec<OwnedFd>, WireError> {
        let mut descriptors = Vec::new();
        let mut filled = 0;
        while let Some(rest) = bytes.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(BATCH))];
            let mut control = RecvAncillaryBuffer::new(&mut space);
            let flags = RecvFlags::CMSG_CLOEXEC | RecvFlags::DONTWAIT;
            match recvmsg(
                &self.socket,
                &mut [IoSliceMut::new(rest)],
                &mut control,
                flags,
            ) {
                Ok(received) if received.flags.contains(ReturnFlags::CTRUNC) => {
                    return Err(WireError::DescriptorLost);
                }
                Ok(received) if received.bytes == 0 => return Err(WireError::Ended),
                Ok(received) => filled += received.bytes,
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => self.wait(PollFlags::IN)?,
                Err(Errno::CONNRESET) => return Err(WireError::Ended),
                Err(error) => return Err(WireError::System(error)),
            }
            for message in control.drain() {
                if let RecvAncillaryMessage::ScmRights(more) = message {
                    descriptors.extend(more);
                }
            }
        }
        Ok(descriptors)
    }

    fn wait(&self, events: PollFlags) -> Result<(), WireError> {
        let mut fds = [PollFd::new(&self.socket, events)];
        match self.deadline.poll(&mut fds) {
            Ok(0) => Err(WireError::TimedOut),
            Ok(_) => Ok(()),
            Err(error) => Err(WireError::System(error)),
        }
    }

    fn pause(&self) -> Result<(), WireError> {
        let left = self.deadline.remaining();
        if left.is_zero() {
            return Err(WireError::TimedOut);
        }
        thread::sleep(left.min(RETRY_INTERVAL));
        Ok(())
    }
}
