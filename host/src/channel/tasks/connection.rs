// SPDX-License-Identifier: MIT OR Apache-2.0
//! A connection to another member, for tasks: [`Connection`].

use ivshmem::channel::SlotIndex;
use rustix::io::Errno;

use super::waiter::Waiter;
use crate::channel::receiver::Incoming;
use crate::channel::sender::Outbound;
use crate::channel::{self, ConnectError, RecvError, SendError};

/// A connection to one incarnation of another member.
#[derive(Debug)]
pub struct Connection {
    sender: Sender,
    receiver: Receiver,
}

impl Connection {
    pub(super) fn new(channels: &channel::Channels, slot: SlotIndex) -> Result<Self, ConnectError> {
        let waiter = || {
            Waiter::new(channels.waiter(slot)?).map_err(|error| {
                ConnectError::System(Errno::from_io_error(&error).unwrap_or(Errno::IO))
            })
        };
        // First, since there is one connection to each incarnation, and only one try.
        let (mut sending, mut receiving) = (waiter()?, waiter()?);
        let (outbound, incoming) = channels.halves(slot)?;
        sending.set_rung(outbound.is_rung());
        receiving.set_rung(incoming.is_rung());
        Ok(Self {
            sender: Sender {
                outbound,
                waiter: sending,
            },
            receiver: Receiver {
                incoming,
                waiter: receiving,
            },
        })
    }

    /// Sends a message; see [`Sender::send`].
    ///
    /// # Errors
    ///
    /// Those of [`Sender::send`].
    pub async fn send(&mut self, message: &[u8]) -> Result<(), SendError> {
        self.sender.send(message).await
    }

    /// Receives the next message; see [`Receiver::recv`].
    ///
    /// # Errors
    ///
    /// Those of [`Receiver::recv`].
    pub async fn recv(&mut self) -> Result<&[u8], RecvError> {
        self.receiver.recv().await
    }

    /// Returns the half that sends.
    pub fn sender(&mut self) -> &mut Sender {
        &mut self.sender
    }

    /// Returns the half that receives.
    pub fn receiver(&mut self) -> &mut Receiver {
        &mut self.receiver
    }

    /// Returns both halves, which may live in two tasks.
    #[must_use]
    pub fn split(self) -> (Sender, Receiver) {
        (self.sender, self.receiver)
    }
}

/// The sending half of a [`Connection`].
#[derive(Debug)]
pub struct Sender {
    outbound: Outbound,
    waiter: Waiter,
}

impl Sender {
    /// Sends a message of any length, and waits for the room it takes.
    ///
    /// That it is sent means that it is in the memory, not that the peer has seen it.
    ///
    /// # Cancellation
    ///
    /// A future that is dropped before it is done has not sent its message: the peer drops what it has of it, and the
    /// next message is sent from its start.
    ///
    /// # Errors
    ///
    /// - [`SendError::PeerDied`]: there is no room, and the peer shows no signs of life.
    /// - [`SendError::Broken`]: the connection has come to its end.
    pub async fn send(&mut self, message: &[u8]) -> Result<(), SendError> {
        self.waiter.wait(&mut self.outbound.begin(message)).await
    }

    /// Returns the guest crate's half, for what does not wait.
    pub fn inner(&mut self) -> &mut ivshmem::channel::Sender<'static, channel::Bell> {
        self.outbound.inner()
    }
}

/// The receiving half of a [`Connection`].
#[derive(Debug)]
pub struct Receiver {
    incoming: Incoming,
    waiter: Waiter,
}

impl Receiver {
    /// Waits for the next message, of whatever length.
    ///
    /// # Cancellation
    ///
    /// Nothing is lost: what was received of a message is kept for the next call.
    ///
    /// # Errors
    ///
    /// - [`RecvError::TooLong`]: it is longer than [accepted](channel::Options::longest).
    /// - [`RecvError::PeerDied`]: there is nothing, and the peer shows no signs of life.
    /// - [`RecvError::Broken`]: the connection has come to its end. What was sent before the peer left is received first.
    pub async fn recv(&mut self) -> Result<&[u8], RecvError> {
        let len = self.waiter.wait(&mut self.incoming).await?;
        Ok(self.incoming.message(len))
    }

    /// Receives the next message if it is there, without waiting.
    ///
    /// # Errors
    ///
    /// As [`Receiver::recv`], but that nobody is found to be dead.
    pub fn try_recv(&mut self) -> Result<Option<&[u8]>, RecvError> {
        self.incoming.try_recv()
    }

    /// Returns the guest crate's half, for what does not wait.
    pub fn inner(&mut self) -> &mut ivshmem::channel::Receiver<'static, channel::Bell> {
        self.incoming.inner()
    }
}
