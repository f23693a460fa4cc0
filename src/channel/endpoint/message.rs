// SPDX-License-Identifier: MIT OR Apache-2.0
//! Messages that may be longer than the ring, in fragments: [`Progress`].
//!
//! The sender cuts them, and tells the end by the last. One that is given up in the middle, as when a future is dropped, is
//! ended by an empty fragment before the next message is sent, and the receiver drops what it has of it.

use core::task::Poll;

use super::error::{RecvError, SendError};
use super::receiver::{Receiver, FRAMES_PER_CALL};
use super::sender::Sender;
use crate::channel::doorbell::Doorbell;

/// How far one message is. Start with the default, and keep it until the message is done; it is the default then again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// The message's number on its side of the connection.
    message: u64,
    bytes: usize,
}

impl Progress {
    /// Returns how many bytes are done.
    #[must_use]
    pub const fn bytes(&self) -> usize {
        self.bytes
    }
}

impl<D: Doorbell> Sender<'_, D> {
    /// Sends a message of any length, or as much more of it as there is room for.
    ///
    /// While it is pending, [arm](Sender::arm) with the message's length and call again with the same message. One
    /// that is not sent to the end, because another is sent before, is not received at all; with its old progress it is sent
    /// from the start.
    ///
    /// # Errors
    ///
    /// - [`SendError::Broken`]: the connection has come to its end.
    pub fn poll_send(
        &mut self,
        message: &[u8],
        progress: &mut Progress,
    ) -> Poll<Result<(), SendError>> {
        match self.send_more(message, progress) {
            Err(SendError::Full) => Poll::Pending,
            result => {
                *progress = Progress::default();
                Poll::Ready(result)
            }
        }
    }

    /// Sends fragments until the message or the room ends.
    fn send_more(&mut self, message: &[u8], progress: &mut Progress) -> Result<(), SendError> {
        let continues = self.is_inside && progress.message == self.message;
        if !continues {
            *progress = Progress::default();
            if message.len() <= self.longest() {
                return self.try_send(message);
            }
            if self.is_inside {
                self.end_short()?;
            }
        }
        loop {
            // A message that has become shorter ends like one that was given up.
            let rest = message.get(progress.bytes..).unwrap_or_default();
            let part = rest.get(..self.fragment()).unwrap_or(rest);
            let granted = self.grant(part.len())?;
            let more = part.len() < rest.len();
            self.write(granted, part, more);
            self.announce();
            if progress.bytes == 0 {
                self.message += 1;
                progress.message = self.message;
            }
            progress.bytes += part.len();
            if !more {
                return Ok(());
            }
        }
    }
}

impl<D: Doorbell> Receiver<'_, D> {
    /// Receives a message of any length, or as much more of it as is there, into the start of `target`, and returns
    /// its length when it is complete.
    ///
    /// While it is pending, [arm](Receiver::arm) and call again with the same `target`. Without the old progress the rest of a
    /// message is dropped, and the next one is received.
    ///
    /// # Errors
    ///
    /// - [`RecvError::TooLong`]: it is longer than `target`. The rest is still there: go on with a longer one that
    ///   begins with what was received, or start anew to drop it.
    /// - [`RecvError::Broken`]: the connection has come to its end.
    pub fn poll_recv(
        &mut self,
        target: &mut [u8],
        progress: &mut Progress,
    ) -> Poll<Result<usize, RecvError>> {
        let result = self.receive_more(target, progress);
        match result {
            Ok(None) => Poll::Pending,
            Ok(Some(len)) => {
                *progress = Progress::default();
                Poll::Ready(Ok(len))
            }
            Err(error) => Poll::Ready(Err(error)),
        }
    }

    /// Receives fragments until the message ends or none is left.
    fn receive_more(
        &mut self,
        target: &mut [u8],
        progress: &mut Progress,
    ) -> Result<Option<usize>, RecvError> {
        for _ in 0..FRAMES_PER_CALL {
            let at = Progress {
                message: self.message,
                bytes: self.passed,
            };
            let next = if *progress == at && self.is_inside {
                self.next()?
            } else {
                self.next_message()?
            };
            let Some(peeked) = next else {
                return Ok(None);
            };
            // Where the message began anew, so does this.
            *progress = Progress {
                message: self.message,
                bytes: self.passed,
            };
            let available = target.len();
            let rest = target.get_mut(progress.bytes..).unwrap_or_default();
            if peeked.len > rest.len() {
                return Err(RecvError::TooLong {
                    len: progress.bytes.saturating_add(peeked.len),
                    available,
                });
            }
            self.copy_out(&peeked, rest)?;
            self.pass(peeked);
            progress.bytes += peeked.len;
            if !peeked.more {
                return Ok(Some(progress.bytes));
            }
        }
        Ok(None)
    }
}
