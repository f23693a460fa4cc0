// SPDX-License-Identifier: MIT OR Apache-2.0
//! The forms for executors, any of them: futures that wait at a [`Signal`].
//!
//! Nothing here allocates, or needs more of an executor than wakers. Each future does its work when it is polled and holds
//! nothing back, so that dropping one loses no message that was sent or received; what becomes of one that was begun
//! is said at each.

use core::task::{Context, Poll};

use super::error::{Broken, RecvError, SendError};
use super::frame::Frame;
use super::grant::Grant;
use super::message::Progress;
use super::operation::{finish, poll, Peeking, Receiving, Reserving, Sending};
use super::receiver::Receiver;
use super::sender::Sender;
use crate::channel::doorbell::Doorbell;
use crate::channel::signal::Signal;

impl<'m, D: Doorbell> Sender<'m, D> {
    /// Sends a message of any length, and waits for the room it takes.
    ///
    /// # Cancellation
    ///
    /// A future that is dropped before it is done has not sent its message: of one that is longer than [`Sender::longest`]
    /// the receiver drops the part it has. [`Sender::continue_send`] can go on instead.
    ///
    /// # Errors
    ///
    /// - [`SendError::Broken`]: the connection has come to its end.
    pub async fn send(&mut self, signal: &Signal, message: &[u8]) -> Result<(), SendError> {
        let sending = Sending {
            sender: self,
            message,
            progress: &mut Progress::default(),
        };
        finish(sending, signal).await
    }

    /// Sends a message of any length from where `progress` says, and waits for the room it takes.
    ///
    /// # Cancellation
    ///
    /// Nothing is lost: call it again with the same message and progress. If another message is sent before, this one is
    /// sent from its start again.
    ///
    /// # Errors
    ///
    /// As [`Sender::send`].
    pub async fn continue_send(
        &mut self,
        signal: &Signal,
        message: &[u8],
        progress: &mut Progress,
    ) -> Result<(), SendError> {
        let sending = Sending {
            sender: self,
            message,
            progress,
        };
        finish(sending, signal).await
    }

    /// Waits for room for a message of up to `len` bytes, to write in place and then to [commit](Grant::commit).
    ///
    /// # Cancellation
    ///
    /// Nothing was sent.
    ///
    /// # Errors
    ///
    /// - [`SendError::TooLong`]: it is longer than [`Sender::longest`].
    /// - [`SendError::Broken`]: the connection has come to its end.
    pub async fn next_grant(
        &mut self,
        signal: &Signal,
        len: usize,
    ) -> Result<Grant<'_, 'm, D>, SendError> {
        let granted = finish(Reserving { sender: self, len }, signal).await?;
        Grant::new(self, granted)
    }

    /// Returns whether a message of `len` bytes can be sent at once. While it is pending, the task is woken when to ask
    /// again: for tasks that wait for several things themselves. As any that sends, it gives up a message that was
    /// begun and not sent to its end.
    ///
    /// # Errors
    ///
    /// As [`Sender::next_grant`].
    pub fn poll_ready(
        &mut self,
        context: &Context<'_>,
        signal: &Signal,
        len: usize,
    ) -> Poll<Result<(), SendError>> {
        let mut reserving = Reserving { sender: self, len };
        poll(&mut reserving, &mut signal.looks(), signal, context).map_ok(drop)
    }
}

impl<'m, D: Doorbell> Receiver<'m, D> {
    /// Waits for a message of any length, receives it into the start of `target`, and returns its length.
    ///
    /// # Cancellation
    ///
    /// A message of one frame is either received or still there. Of one that is longer than the sender's
    /// [`longest`](Sender::longest) what was received is lost, and the next message is received then;
    /// [`Receiver::continue_recv`] can go on instead.
    ///
    /// # Errors
    ///
    /// - [`RecvError::TooLong`]: it is longer than `target`. A message of one frame is still there; of a longer one what fits
    ///   is lost.
    /// - [`RecvError::Broken`]: the connection has come to its end. What was sent before the peer left is received first.
    pub async fn recv(&mut self, signal: &Signal, target: &mut [u8]) -> Result<usize, RecvError> {
        let receiving = Receiving {
            receiver: self,
            target,
            progress: &mut Progress::default(),
        };
        finish(receiving, signal).await
    }

    /// Receives the rest of a message of which as much as `progress` says is in `target`, or the next one if it is the
    /// default, and returns the length of the whole.
    ///
    /// # Cancellation
    ///
    /// Nothing is lost: call it again with the same target and progress.
    ///
    /// # Errors
    ///
    /// - [`RecvError::TooLong`]: it is longer than `target`. Go on with a longer one that begins with what was received, or
    ///   start anew to drop it.
    /// - [`RecvError::Broken`]: as of [`Receiver::recv`].
    pub async fn continue_recv(
        &mut self,
        signal: &Signal,
        target: &mut [u8],
        progress: &mut Progress,
    ) -> Result<usize, RecvError> {
        let receiving = Receiving {
            receiver: self,
            target,
            progress,
        };
        finish(receiving, signal).await
    }

    /// Waits for the next frame, and returns it in place. It stays until it is [released](Frame::release).
    ///
    /// # Cancellation
    ///
    /// Nothing is lost.
    ///
    /// # Errors
    ///
    /// - [`Broken`]: the connection has come to its end. What was sent before the peer left is received first.
    pub async fn next_frame(&mut self, signal: &Signal) -> Result<Frame<'_, 'm, D>, Broken> {
        let peeked = finish(Peeking { receiver: self }, signal).await?;
        self.frame(peeked)
    }

    /// Returns whether there is a frame. While it is pending, the task is woken when to ask again: for tasks that wait for
    /// several things themselves, such as messages from any of their peers.
    ///
    /// # Errors
    ///
    /// As [`Receiver::next_frame`].
    pub fn poll_ready(
        &mut self,
        context: &Context<'_>,
        signal: &Signal,
    ) -> Poll<Result<(), Broken>> {
        let mut peeking = Peeking { receiver: self };
        poll(&mut peeking, &mut signal.looks(), signal, context).map_ok(drop)
    }
}
