// SPDX-License-Identifier: MIT OR Apache-2.0
//! The socket to QEMU: requests in, replies out, nothing waits.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::{send, shutdown, SendFlags, Shutdown};

use super::{LinkError, Parser, Reply, Request, RequestError};
use crate::adapters::{receive, Incoming, ReceiveError};

/// More than any message has.
const BUFFER_LEN: usize = 256;

/// A connection to QEMU.
#[derive(Debug)]
pub(super) struct Link {
    socket: OwnedFd,
    parser: Parser<OwnedFd>,
    /// Whether descriptors of the current request got lost. Of most requests they would be closed anyway, and one guest
    /// shall not pay for the descriptors that the server of another has used up.
    is_lossy: bool,
    /// What is left to send of a reply. QEMU waits for each reply, so there is one at most; until it is gone
    /// nothing is read.
    unsent: Vec<u8>,
}

/// What has come from QEMU.
#[derive(Debug)]
pub(super) enum Received {
    Nothing,
    /// A part of a request.
    Part,
    Request(Request<OwnedFd>),
    End,
}

impl Link {
    pub(super) const fn new(socket: OwnedFd) -> Self {
        Self {
            socket,
            parser: Parser::new(),
            is_lossy: false,
            unsent: Vec::new(),
        }
    }

    /// Receives a request, or a part of one.
    pub(super) fn receive(&mut self) -> Result<Received, LinkError> {
        let mut buffer = [0; BUFFER_LEN];
        let wanted = self.parser.wanted().min(BUFFER_LEN);
        let mut descriptors = Vec::new();
        let len = match receive(&self.socket, &mut buffer[..wanted], &mut descriptors)? {
            Incoming::Nothing => return Ok(Received::Nothing),
            Incoming::End => return Ok(Received::End),
            Incoming::Bytes { len, is_lossy } => {
                self.is_lossy |= is_lossy;
                len
            }
        };
        for descriptor in descriptors {
            self.parser.attach(descriptor)?;
        }
        let request = self.parser.take(&mut &buffer[..len]);
        let request = request.map_err(|error| match error {
            RequestError::Descriptors { .. } if self.is_lossy => {
                LinkError::Receive(ReceiveError::DescriptorsLost)
            }
            error => error.into(),
        })?;
        self.is_lossy &= request.is_none();
        Ok(request.map_or(Received::Part, Received::Request))
    }

    /// Sends a reply, or as much of it as there is room for; see [`Link::flush`].
    pub(super) fn reply(&mut self, reply: Reply) -> Result<(), LinkError> {
        self.unsent.extend(reply.to_bytes());
        self.flush().map(drop)
    }

    /// Sends what is left of a reply, and returns whether nothing is.
    pub(super) fn flush(&mut self) -> Result<bool, LinkError> {
        while !self.unsent.is_empty() {
            let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
            match send(&self.socket, &self.unsent, flags) {
                Ok(sent) => drop(self.unsent.drain(..sent.min(self.unsent.len()))),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return Ok(false),
                // QEMU has gone; reading will say so.
                Err(Errno::PIPE | Errno::CONNRESET) => self.unsent.clear(),
                Err(error) => return Err(LinkError::Send(error)),
            }
        }
        Ok(true)
    }
}

impl Drop for Link {
    /// Ends the connection for everybody who holds the socket, so that QEMU does not wait for replies: a device that was
    /// started with an inherited descriptor is not the only one.
    fn drop(&mut self) {
        let _ = shutdown(&self.socket, Shutdown::Both);
    }
}

impl AsFd for Link {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}
