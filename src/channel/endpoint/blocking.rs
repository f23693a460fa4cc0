// SPDX-License-Identifier: MIT OR Apache-2.0
//! The forms for callers without an executor, who say how to wait by an [`Idle`].

use super::error::{Broken, RecvError, SendError};
use super::idle::Idle;
use super::message::Progress;
use super::operation::{finish_with, Peeking, Receiving, Reserving, Sending};
use super::receiver::Receiver;
use super::sender::Sender;
use crate::channel::doorbell::Doorbell;

impl<D: Doorbell> Sender<'_, D> {
    /// Sends a message of any length, and waits for the room it takes as `idle` says.
    ///
    /// # Errors
    ///
    /// - [`SendError::Full`]: `idle` has given up. The message was not sent: of a part of it that was, the receiver drops
    ///   what it has.
    /// - [`SendError::Broken`]: the connection has come to its end.
    pub fn send_with(&mut self, message: &[u8], mut idle: impl Idle) -> Result<(), SendError> {
        let sending = Sending {
            sender: self,
            message,
            progress: &mut Progress::default(),
        };
        finish_with(sending, &mut idle)?.ok_or(SendError::Full)
    }

    /// Waits, as `idle` says, until a message of `len` bytes can be sent at once. As any that sends, it gives up a message
    /// that was begun and not sent to its end.
    ///
    /// # Errors
    ///
    /// - [`SendError::Full`]: `idle` has given up.
    /// - [`SendError::TooLong`]: it is longer than [`Sender::longest`].
    /// - [`SendError::Broken`]: the connection has come to its end.
    pub fn ready_with(&mut self, len: usize, mut idle: impl Idle) -> Result<(), SendError> {
        let granted = finish_with(Reserving { sender: self, len }, &mut idle)?;
        granted.map(drop).ok_or(SendError::Full)
    }
}

impl<D: Doorbell> Receiver<'_, D> {
    /// Waits for a message of any length as `idle` says, receives it into the start of `target`, and returns its length;
    /// nothing if `idle` has given up. If it does so in the middle of a message, that is dropped.
    ///
    /// ```
    /// use core::ops::ControlFlow;
    /// use ivshmem::channel::{Doorbell, Receiver, RecvError, Wait};
    ///
    /// # fn halt() {}
    /// fn receive<D: Doorbell>(receiver: &mut Receiver<'_, D>) -> Result<Option<usize>, RecvError> {
    ///     let mut buffer = [0; 2048];
    ///     receiver.recv_with(&mut buffer, |wait: Wait| {
    ///         if wait != Wait::Ready {
    ///             halt(); // until any interrupt: the timer's comes, too
    ///         }
    ///         ControlFlow::Continue(())
    ///     })
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// As [`Receiver::recv`].
    pub fn recv_with(
        &mut self,
        target: &mut [u8],
        mut idle: impl Idle,
    ) -> Result<Option<usize>, RecvError> {
        let receiving = Receiving {
            receiver: self,
            target,
            progress: &mut Progress::default(),
        };
        finish_with(receiving, &mut idle)
    }

    /// Waits, as `idle` says, until there is a frame; returns whether there is, or `idle` has given up.
    ///
    /// # Errors
    ///
    /// - [`Broken`]: the connection has come to its end. What was sent before the peer left is received first.
    pub fn ready_with(&mut self, mut idle: impl Idle) -> Result<bool, Broken> {
        let peeked = finish_with(Peeking { receiver: self }, &mut idle)?;
        Ok(peeked.is_some())
    }
}
