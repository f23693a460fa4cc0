// SPDX-License-Identifier: MIT OR Apache-2.0
//! The connection to the server: from a path to messages.

use std::io::IoSliceMut;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;

use rustix::event::{PollFd, PollFlags};
use rustix::fs::{fcntl_getfl, fcntl_setfl, OFlags};
use rustix::io::Errno;
use rustix::net::{recvmsg, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags};

use super::error::{ConnectError, ReceiveError, Step};
use crate::deadline::Deadline;
use crate::dial::{dial, DialError};
use crate::protocol::{Assembler, Message};

/// A connected socket, with what has arrived of the next message.
#[derive(Debug)]
pub(super) struct Link {
    socket: OwnedFd,
    assembler: Assembler<Arc<OwnedFd>>,
}

/// What receiving has brought.
#[derive(Debug)]
pub(super) enum Received {
    Message(Message<Arc<OwnedFd>>),
    /// Nothing within the time limit.
    Nothing,
    /// The server has closed the connection.
    End,
}

impl Link {
    /// Connects to the socket at `path`.
    pub(super) fn open(path: &Path, deadline: Deadline) -> Result<Self, ConnectError> {
        let socket = dial(path, deadline).map_err(|error| match error {
            DialError::Timeout => ConnectError::Timeout(Step::Connection),
            DialError::System(error) => ConnectError::Open {
                path: path.to_owned(),
                error,
            },
        })?;
        Ok(Self {
            socket,
            assembler: Assembler::new(),
        })
    }

    /// Receives one message, the one that is there if there is one, waiting until `deadline` if there is none yet.
    pub(super) fn receive(&mut self, deadline: Deadline) -> Result<Received, ReceiveError> {
        loop {
            match self.receive_part() {
                Ok(Some(received)) => return Ok(received),
                Ok(None) => {}
                Err(ReceiveError::System(Errno::AGAIN)) => {
                    let ready = deadline
                        .poll(&mut [PollFd::new(&self.socket, PollFlags::IN)])
                        .map_err(ReceiveError::System)?;
                    if ready == 0 {
                        return Ok(Received::Nothing);
                    }
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Receives what is there of the current message; `None` if that does not complete it.
    fn receive_part(&mut self) -> Result<Option<Received>, ReceiveError> {
        // Room for two, so that a second is seen as the breach it is.
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(2))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let flags = RecvFlags::CMSG_CLOEXEC | RecvFlags::DONTWAIT;
        let result = {
            let mut buffers = [IoSliceMut::new(self.assembler.space())];
            recvmsg(&self.socket, &mut buffers, &mut control, flags)
        };
        let received = match result {
            Err(Errno::INTR) => return Ok(None),
            Err(Errno::CONNRESET) => return Ok(Some(Received::End)),
            other => other.map_err(ReceiveError::System)?,
        };
        if received.bytes == 0 {
            return Ok(Some(Received::End));
        }
        // Without its descriptor the announcement of a vector would read as a departure.
        if received.flags.contains(ReturnFlags::CTRUNC) {
            return Err(ReceiveError::DescriptorLost);
        }
        let descriptors = control.drain().flat_map(|message| match message {
            RecvAncillaryMessage::ScmRights(descriptors) => Some(descriptors),
            _ => None,
        });
        let message = self
            .assembler
            .advance(received.bytes, descriptors.flatten().map(Arc::new))?;
        if let Some(descriptor) = message.as_ref().and_then(|m| m.descriptor.as_ref()) {
            // So that ringing a full counter does not wait, whatever the server has set.
            fcntl_getfl(descriptor)
                .and_then(|flags| fcntl_setfl(descriptor, flags | OFlags::NONBLOCK))
                .map_err(ReceiveError::System)?;
        }
        Ok(message.map(Received::Message))
    }
}

impl AsFd for Link {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}
