// SPDX-License-Identifier: MIT OR Apache-2.0
//! The half of a connection that receives: [`Receiver`].

use std::os::fd::{AsFd, BorrowedFd};
use std::task::Poll;
use std::time::Duration;

use ivshmem::channel::{self, Broken, Progress, Wait};

use super::connection::Fate;
use super::error::RecvError;
use super::ground::Bell;
use super::waiting::{Awaited, Look, Waiter};

/// The receiving half of a [`Connection`](super::Connection).
#[derive(Debug)]
pub struct Receiver {
    incoming: Incoming,
    waiter: Waiter,
}

impl Receiver {
    pub(super) fn new(incoming: Incoming, mut waiter: Waiter) -> Self {
        waiter.set_rung(incoming.is_rung());
        Self { incoming, waiter }
    }

    /// Receives the next message, of whatever length, waiting for it for at most `limit`. Returns nothing if it did not
    /// come; what has come of it is kept for the next call.
    ///
    /// # Errors
    ///
    /// - [`RecvError::TooLong`]: it is longer than [accepted](super::Options::longest).
    /// - [`RecvError::PeerDied`]: there is nothing, and the peer shows no signs of life.
    /// - [`RecvError::Broken`]: the connection has come to its end. What was sent before the peer left is received first.
    pub fn recv(&mut self, limit: Duration) -> Result<Option<&[u8]>, RecvError> {
        let len = self.waiter.wait(&mut self.incoming, limit)?;
        Ok(len.map(|len| self.incoming.message(len)))
    }

    /// Receives the next message if it is there, without waiting.
    ///
    /// # Errors
    ///
    /// As [`Receiver::recv`], but that nobody is found to be dead.
    pub fn try_recv(&mut self) -> Result<Option<&[u8]>, RecvError> {
        self.incoming.try_recv()
    }

    /// Asks to be rung for the next message, for an event loop: when [`Receiver::try_recv`] has found nothing, arm, and then
    /// poll the descriptor ([`AsFd`]) for reading until it is ready, or as told.
    ///
    /// Poll for a heartbeat's time at most, then look again, and arm again: who has died or gone does not ring.
    ///
    /// # Errors
    ///
    /// - [`RecvError::PeerDied`]: there is nothing, and the peer shows no signs of life.
    /// - [`RecvError::Broken`]: the connection has come to its end.
    pub fn arm(&mut self) -> Result<Wait, RecvError> {
        self.waiter.arm(&mut self.incoming)
    }

    /// Sets for how long this half looks for messages before it sleeps, instead of [`Options::spin`](super::Options::spin).
    pub const fn set_spin(&mut self, spin: Duration) {
        self.waiter.set_spin(spin);
    }

    /// Returns the guest crate's half, for the rest of what it can: reading in place, or into a buffer of one's own.
    pub fn inner(&mut self) -> &mut channel::Receiver<'static, Bell> {
        self.incoming.inner()
    }
}

impl AsFd for Receiver {
    /// Returns a descriptor that is readable once the peer has rung, until the next wait or [`Receiver::arm`].
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.waiter.as_fd()
    }
}

/// The messages of a peer, one after the other.
#[derive(Debug)]
pub(super) struct Incoming {
    inner: channel::Receiver<'static, Bell>,
    fate: Fate,
    /// What is received of a message, and room for more.
    buffer: Vec<u8>,
    progress: Progress,
    longest: usize,
}

impl Incoming {
    /// Those of one who sends at most `longest` bytes at once.
    pub(super) fn new(inner: channel::Receiver<'static, Bell>, fate: Fate, longest: usize) -> Self {
        Self {
            inner,
            fate,
            buffer: Vec::new(),
            progress: Progress::default(),
            longest,
        }
    }

    pub(super) const fn is_rung(&self) -> bool {
        self.inner.is_rung()
    }

    pub(super) fn inner(&mut self) -> &mut channel::Receiver<'static, Bell> {
        &mut self.inner
    }

    /// Receives the next message if it is there.
    pub(super) fn try_recv(&mut self) -> Result<Option<&[u8]>, RecvError> {
        Ok(match self.look()? {
            Look::Found(len) => Some(self.message(len)),
            Look::Part | Look::Nothing => None,
        })
    }

    /// Returns the message that was received last.
    pub(super) fn message(&self, len: usize) -> &[u8] {
        self.buffer.get(..len).unwrap_or(&self.buffer)
    }

    /// Makes room for `len` bytes and more, if a message may be so long.
    fn grow(&mut self, len: usize) -> bool {
        if len > self.longest {
            return false;
        }
        let len = len.max(2 * self.buffer.len()).min(self.longest);
        self.buffer.resize(len, 0);
        true
    }

    /// Drops the message that is about to be received.
    fn drop_message(&mut self) -> Result<(), Broken> {
        self.progress = Progress::default();
        // The rest of one in fragments is dropped with the start of the next.
        self.inner.peek()?.map_or(Ok(()), channel::Frame::release)
    }
}

impl Awaited for Incoming {
    type Found = usize;
    type Error = RecvError;

    #[inline]
    fn look(&mut self) -> Result<Look<usize>, RecvError> {
        loop {
            let before = self.progress;
            return match self.inner.poll_recv(&mut self.buffer, &mut self.progress) {
                Poll::Ready(Ok(len)) => Ok(Look::Found(len)),
                Poll::Ready(Err(channel::RecvError::TooLong { len, .. })) => {
                    if self.grow(len) {
                        continue;
                    }
                    self.drop_message()?;
                    Err(RecvError::TooLong {
                        longest: self.longest,
                    })
                }
                Poll::Ready(Err(channel::RecvError::Broken(broken))) => Err(broken.into()),
                // Not even `Fragmented` comes from `poll_recv`.
                Poll::Ready(Err(_)) => Ok(Look::Nothing),
                Poll::Pending if self.progress != before => Ok(Look::Part),
                Poll::Pending => Ok(Look::Nothing),
            };
        }
    }

    fn arm(&mut self) -> Result<Wait, RecvError> {
        Ok(self.inner.arm()?)
    }

    fn check(&self) -> Result<(), RecvError> {
        if self.fate.is_dead() {
            return Err(RecvError::PeerDied);
        }
        Ok(())
    }
}
