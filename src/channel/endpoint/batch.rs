// SPDX-License-Identifier: MIT OR Apache-2.0
//! Several messages that are announced together: [`Batch`].

use super::error::{Broken, SendError};
use super::sender::Sender;
use crate::channel::doorbell::Doorbell;

/// Messages that become known to the peer all at once.
///
/// A receiver that polls takes the line of a message away from the sender with each look at it; one that comes for
/// a batch finds everything written. So many small messages pass faster together, at the price that the first of
/// them waits for the last. What is in a batch is announced when the batch is dropped or [sent](Batch::send), and, so
/// that the receiver can make room, when the ring is full. One that is forgotten ([`mem::forget`](core::mem::forget)) is
/// announced with what is sent next.
#[derive(Debug)]
pub struct Batch<'s, 'm, D: Doorbell> {
    sender: &'s mut Sender<'m, D>,
}

impl<'s, 'm, D: Doorbell> Batch<'s, 'm, D> {
    #[inline]
    pub(super) fn new(sender: &'s mut Sender<'m, D>) -> Self {
        Self { sender }
    }

    /// Adds a message.
    ///
    /// # Errors
    ///
    /// - [`SendError::Full`]: there is no room now; what was added before is announced.
    /// - [`SendError::TooLong`]: it is longer than [`Sender::longest`].
    /// - [`SendError::Broken`]: the connection has come to its end.
    #[inline]
    pub fn push(&mut self, message: &[u8]) -> Result<(), SendError> {
        self.sender.push(message)
    }

    /// Sends what was added.
    ///
    /// # Errors
    ///
    /// - [`Broken`]: the connection has come to its end meanwhile; nothing is announced.
    #[inline]
    pub fn send(self) -> Result<(), Broken> {
        self.sender.check()
    }
}

impl<D: Doorbell> Drop for Batch<'_, '_, D> {
    #[inline]
    fn drop(&mut self) {
        // Somebody else's ring by now is not written to.
        if self.sender.check().is_ok() {
            self.sender.announce();
        }
    }
}
