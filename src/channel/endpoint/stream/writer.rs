// SPDX-License-Identifier: MIT OR Apache-2.0
//! A stream of bytes written as messages: [`ByteWriter`].

use core::task::Poll;

use super::error::StreamError;
use crate::channel::doorbell::Doorbell;
use crate::channel::endpoint::error::{Broken, SendError};
use crate::channel::endpoint::idle::Idle;
use crate::channel::endpoint::operation::{finish, finish_with, Operation};
use crate::channel::endpoint::sender::Sender;
use crate::channel::endpoint::Wait;
use crate::channel::signal::Signal;

/// A stream of bytes as the messages of a [`Sender`].
///
/// What is written is sent at once, in one message of one frame, so that nothing has to be flushed. Small pieces cost
/// 8 bytes each and a look by the receiver: collect them before where that matters.
///
/// It waits as its `W` says: a [`Signal`] for tasks, an [`Idle`] for others. With the features `embedded-io-06` and
/// `embedded-io-07` it is a writer of those libraries and of `embedded-io-async`, with `std` one of `std::io`.
#[derive(Debug)]
pub struct ByteWriter<'m, D, W> {
    sender: Sender<'m, D>,
    waiting: W,
}

impl<'m, D: Doorbell, W> ByteWriter<'m, D, W> {
    /// Writes to a sender, and waits as `waiting` says.
    pub const fn new(sender: Sender<'m, D>, waiting: W) -> Self {
        Self { sender, waiting }
    }

    /// Returns the sender.
    #[must_use]
    pub fn into_sender(self) -> Sender<'m, D> {
        self.sender
    }

    /// Writes as much of the start of `bytes` as there is room for, and returns how many bytes that is; nothing if there is
    /// no room.
    ///
    /// # Errors
    ///
    /// - [`Broken`]: the connection has come to its end.
    pub fn try_write(&mut self, bytes: &[u8]) -> Result<Option<usize>, Broken> {
        self.sender.send_some(bytes)
    }

    /// Returns whether something can be written at once.
    ///
    /// # Errors
    ///
    /// As [`ByteWriter::try_write`].
    pub fn is_ready(&mut self) -> Result<bool, Broken> {
        match self.sender.begin(self.sender.least()) {
            Ok(_) => Ok(true),
            Err(SendError::Broken(broken)) => Err(broken),
            Err(_) => Ok(false),
        }
    }

    /// Finds out whether the connection has come to its end. All that was written is sent already.
    ///
    /// # Errors
    ///
    /// As [`ByteWriter::try_write`].
    pub fn check(&mut self) -> Result<(), Broken> {
        self.sender.check()
    }
}

impl<D: Doorbell, W: Idle> ByteWriter<'_, D, W> {
    /// Waits until there is room, and writes as much of the start of `bytes` as goes. Returns how many bytes that is: 0
    /// only if there are none.
    ///
    /// # Errors
    ///
    /// - [`StreamError::GaveUp`]: the [`Idle`] has given up. Nothing was written.
    /// - [`StreamError::Broken`]: the connection has come to its end.
    pub fn write(&mut self, bytes: &[u8]) -> Result<usize, StreamError> {
        let writing = Writing {
            sender: &mut self.sender,
            bytes,
        };
        finish_with(writing, &mut self.waiting)?.ok_or(StreamError::GaveUp)
    }
}

impl<D: Doorbell> ByteWriter<'_, D, &Signal> {
    /// Waits until there is room, and writes as much of the start of `bytes` as goes. Returns how many bytes that is: 0
    /// only if there are none.
    ///
    /// # Cancellation
    ///
    /// Nothing was written.
    ///
    /// # Errors
    ///
    /// As [`ByteWriter::try_write`].
    pub async fn write(&mut self, bytes: &[u8]) -> Result<usize, Broken> {
        let writing = Writing {
            sender: &mut self.sender,
            bytes,
        };
        finish(writing, self.waiting).await
    }
}

impl<D: Doorbell> Sender<'_, D> {
    /// Returns the shortest piece of a stream that is sent while there is more of it: shorter ones cost more than they
    /// carry.
    const fn least(&self) -> usize {
        self.fragment() / 8
    }

    /// Sends as much of `bytes` as there is room for, as a message of one frame.
    fn send_some(&mut self, bytes: &[u8]) -> Result<Option<usize>, Broken> {
        let most = bytes.len().min(self.fragment());
        let least = bytes.len().min(self.least());
        let mut len = most;
        while len > 0 {
            match self.try_send(bytes.get(..len).unwrap_or(bytes)) {
                Ok(()) => return Ok(Some(len)),
                Err(SendError::Broken(broken)) => return Err(broken),
                Err(_) if len == least => return Ok(None),
                Err(_) => len = least.max(len / 2),
            }
        }
        Ok(Some(0))
    }
}

struct Writing<'a, 'm, D> {
    sender: &'a mut Sender<'m, D>,
    bytes: &'a [u8],
}

impl<D: Doorbell> Operation for Writing<'_, '_, D> {
    type Output = usize;
    type Error = Broken;

    fn advance(&mut self) -> Poll<Result<usize, Broken>> {
        match self.sender.send_some(self.bytes) {
            Ok(Some(len)) => Poll::Ready(Ok(len)),
            Ok(None) => Poll::Pending,
            Err(broken) => Poll::Ready(Err(broken)),
        }
    }

    fn arm(&mut self) -> Result<Wait, Broken> {
        self.sender.arm(self.bytes.len().min(self.sender.least()))
    }
}
