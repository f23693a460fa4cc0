// SPDX-License-Identifier: MIT OR Apache-2.0
//! Messages read as a stream of bytes: [`ByteReader`].

use core::task::Poll;

use super::error::StreamError;
use crate::channel::doorbell::Doorbell;
use crate::channel::endpoint::error::Broken;
use crate::channel::endpoint::idle::Idle;
use crate::channel::endpoint::operation::{finish, finish_with, Operation};
use crate::channel::endpoint::receiver::{Receiver, FRAMES_PER_CALL};
use crate::channel::endpoint::Wait;
use crate::channel::ring::Peeked;
use crate::channel::signal::Signal;

/// The messages of a [`Receiver`] as one stream of bytes.
///
/// Where a message ends is not seen, and one without bytes is skipped. The stream ends when the peer has left and all
/// that it sent has been read.
///
/// It waits as its `W` says: a [`Signal`] for tasks, an [`Idle`] for others. With the features `embedded-io-06` and
/// `embedded-io-07` it is a reader of those libraries and of `embedded-io-async`, with `std` one of `std::io`.
#[derive(Debug)]
pub struct ByteReader<'m, D, W> {
    input: Input<'m, D>,
    waiting: W,
}

impl<'m, D: Doorbell, W> ByteReader<'m, D, W> {
    /// Reads from a receiver, and waits as `waiting` says.
    pub const fn new(receiver: Receiver<'m, D>, waiting: W) -> Self {
        let input = Input {
            receiver,
            begun: None,
        };
        Self { input, waiting }
    }

    /// Returns the receiver. The rest of a frame that was read in part is dropped.
    #[must_use]
    pub fn into_receiver(mut self) -> Receiver<'m, D> {
        match self.input.begun {
            // It was looked for, and nothing of it was read: it is still there.
            Some((_, 0)) | None => {}
            // Somebody else's ring by now is not written to.
            Some(_) if self.input.receiver.check().is_err() => {}
            Some((peeked, _)) => self.input.receiver.pass(peeked),
        }
        self.input.receiver
    }

    /// Reads what is there into the start of `target`, and returns how many bytes that is; nothing if nothing is there,
    /// and 0 at the end of the stream.
    ///
    /// # Errors
    ///
    /// - [`Broken`]: the connection has come to its end, other than by [`Broken::PeerGone`].
    pub fn try_read(&mut self, target: &mut [u8]) -> Result<Option<usize>, Broken> {
        self.input.read(target)
    }

    /// Returns whether there is something to read, be it the end of the stream.
    ///
    /// # Errors
    ///
    /// As [`ByteReader::try_read`].
    pub fn is_ready(&mut self) -> Result<bool, Broken> {
        match self.input.next() {
            Err(Broken::PeerGone) => Ok(true),
            result => Ok(result?.is_some()),
        }
    }
}

impl<D: Doorbell, W: Idle> ByteReader<'_, D, W> {
    /// Waits until there is something, and reads it into the start of `target`. Returns how many bytes that is: 0 at the
    /// end of the stream, or if `target` is empty.
    ///
    /// # Errors
    ///
    /// - [`StreamError::GaveUp`]: the [`Idle`] has given up. Nothing is lost.
    /// - [`StreamError::Broken`]: the connection has come to its end, other than by [`Broken::PeerGone`].
    pub fn read(&mut self, target: &mut [u8]) -> Result<usize, StreamError> {
        let reading = Reading {
            input: &mut self.input,
            target,
        };
        finish_with(reading, &mut self.waiting)?.ok_or(StreamError::GaveUp)
    }
}

impl<D: Doorbell> ByteReader<'_, D, &Signal> {
    /// Waits until there is something, and reads it into the start of `target`. Returns how many bytes that is: 0 at the
    /// end of the stream, or if `target` is empty.
    ///
    /// # Cancellation
    ///
    /// Nothing is lost.
    ///
    /// # Errors
    ///
    /// As [`ByteReader::try_read`].
    pub async fn read(&mut self, target: &mut [u8]) -> Result<usize, Broken> {
        let reading = Reading {
            input: &mut self.input,
            target,
        };
        finish(reading, self.waiting).await
    }
}

/// What is read from.
#[derive(Debug)]
struct Input<'m, D> {
    receiver: Receiver<'m, D>,
    /// The frame that was read in part, and how many bytes of it were. Invariant: fewer than it has.
    begun: Option<(Peeked, usize)>,
}

impl<D: Doorbell> Input<'_, D> {
    /// Reads from as many frames as are there.
    fn read(&mut self, target: &mut [u8]) -> Result<Option<usize>, Broken> {
        let mut read = 0;
        while read < target.len() {
            let rest = target.get_mut(read..).unwrap_or_default();
            match self.read_frame(rest) {
                Ok(Some(len)) => read += len,
                // If it is for good, the next call tells.
                _ if read > 0 => break,
                Ok(None) => return Ok(None),
                Err(Broken::PeerGone) => break,
                Err(broken) => return Err(broken),
            }
        }
        Ok(Some(read))
    }

    /// Reads from one frame.
    fn read_frame(&mut self, target: &mut [u8]) -> Result<Option<usize>, Broken> {
        let Some((peeked, from)) = self.next()? else {
            return Ok(None);
        };
        let len = target.len().min(peeked.len - from);
        let target = target.get_mut(..len).unwrap_or_default();
        self.receiver.copy_part(&peeked, from, target)?;
        if from + len < peeked.len {
            self.begun = Some((peeked, from + len));
        } else {
            self.begun = None;
            self.receiver.pass(peeked);
        }
        Ok(Some(len))
    }

    /// Returns the frame that is next to be read from, and where.
    fn next(&mut self) -> Result<Option<(Peeked, usize)>, Broken> {
        if self.begun.is_some() {
            self.receiver.check()?;
            return Ok(self.begun);
        }
        for _ in 0..FRAMES_PER_CALL {
            match self.receiver.next()? {
                Some(empty) if empty.len == 0 => self.receiver.pass(empty),
                next => {
                    self.begun = next.map(|peeked| (peeked, 0));
                    return Ok(self.begun);
                }
            }
        }
        Ok(None)
    }
}

struct Reading<'a, 'm, D> {
    input: &'a mut Input<'m, D>,
    target: &'a mut [u8],
}

impl<D: Doorbell> Operation for Reading<'_, '_, D> {
    type Output = usize;
    type Error = Broken;

    fn advance(&mut self) -> Poll<Result<usize, Broken>> {
        match self.input.read(self.target) {
            Ok(Some(len)) => Poll::Ready(Ok(len)),
            Ok(None) => Poll::Pending,
            Err(broken) => Poll::Ready(Err(broken)),
        }
    }

    fn arm(&mut self) -> Result<Wait, Broken> {
        match self.input.receiver.arm() {
            // The end of the stream is something to read.
            Err(Broken::PeerGone) => Ok(Wait::Ready),
            result => result,
        }
    }
}
