// SPDX-License-Identifier: MIT OR Apache-2.0
//! A connection to another member: [`Connection`].

use std::sync::Arc;
use std::time::Duration;

use ivshmem::channel::SlotIndex;

use super::error::{RecvError, SendError};
use super::receiver::Receiver;
use super::roster::Dead;
use super::sender::Sender;

/// A connection to one incarnation of another member.
///
/// It may outlive the [`Channels`](super::Channels) it comes from, and then is [evicted](ivshmem::channel::Broken::Evicted).
#[derive(Debug)]
pub struct Connection {
    pub(super) sender: Sender,
    pub(super) receiver: Receiver,
}

impl Connection {
    /// Sends a message; see [`Sender::send`].
    ///
    /// # Errors
    ///
    /// Those of [`Sender::send`].
    pub fn send(&mut self, message: &[u8], limit: Duration) -> Result<(), SendError> {
        self.sender.send(message, limit)
    }

    /// Receives the next message; see [`Receiver::recv`].
    ///
    /// # Errors
    ///
    /// Those of [`Receiver::recv`].
    pub fn recv(&mut self, limit: Duration) -> Result<Option<&[u8]>, RecvError> {
        self.receiver.recv(limit)
    }

    /// Sets for how long both halves look before they sleep, instead of [`Options::spin`](super::Options::spin): from one
    /// message to the next, a program may know how soon an answer will come.
    pub const fn set_spin(&mut self, spin: Duration) {
        self.sender.set_spin(spin);
        self.receiver.set_spin(spin);
    }

    /// Returns the half that sends.
    pub fn sender(&mut self) -> &mut Sender {
        &mut self.sender
    }

    /// Returns the half that receives.
    pub fn receiver(&mut self) -> &mut Receiver {
        &mut self.receiver
    }

    /// Returns both halves, which may live on two threads.
    #[must_use]
    pub fn split(self) -> (Sender, Receiver) {
        (self.sender, self.receiver)
    }
}

/// Whether the peer of a connection lives.
#[derive(Clone, Debug)]
pub(super) struct Fate {
    dead: Arc<Dead>,
    slot: SlotIndex,
    incarnation: u32,
}

impl Fate {
    pub(super) fn new(dead: &Arc<Dead>, slot: SlotIndex, incarnation: u32) -> Self {
        Self {
            dead: Arc::clone(dead),
            slot,
            incarnation,
        }
    }

    pub(super) fn is_dead(&self) -> bool {
        self.dead.is(self.slot, self.incarnation)
    }
}
