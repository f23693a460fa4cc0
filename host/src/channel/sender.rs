// SPDX-License-Identifier: MIT OR Apache-2.0
//! The half of a connection that sends: [`Sender`].

use std::os::fd::{AsFd, BorrowedFd};
use std::task::Poll;
use std::time::Duration;

use ivshmem::channel::{self, Progress, Wait};

use super::connection::Fate;
use super::error::SendError;
use super::ground::Bell;
use super::waiting::{Awaited, Look, Waiter};

/// The sending half of a [`Connection`](super::Connection).
#[derive(Debug)]
pub struct Sender {
    outbound: Outbound,
    waiter: Waiter,
}

impl Sender {
    pub(super) fn new(outbound: Outbound, mut waiter: Waiter) -> Self {
        waiter.set_rung(outbound.is_rung());
        Self { outbound, waiter }
    }

    /// Sends a message of any length, waiting for room for at most `limit`.
    ///
    /// That it is sent means that it is in the memory, not that the peer has seen it. One who has gone or died is noticed
    /// when there is no room any more, by receiving, and in the events.
    ///
    /// # Errors
    ///
    /// - [`SendError::TimedOut`]: there was not room enough. The peer drops what it has of the message.
    /// - [`SendError::PeerDied`]: there is no room, and the peer shows no signs of life.
    /// - [`SendError::Broken`]: the connection has come to its end.
    pub fn send(&mut self, message: &[u8], limit: Duration) -> Result<(), SendError> {
        let mut outgoing = self.outbound.begin(message);
        let sent = self.waiter.wait(&mut outgoing, limit)?;
        sent.ok_or(SendError::TimedOut)
    }

    /// Asks to be rung when there is room for `message`, or for more of it, for an event loop: when
    /// [`try_send`](channel::Sender::try_send) or [`poll_send`](channel::Sender::poll_send) of the
    /// [inner](Sender::inner) half has found none, arm, and then poll the descriptor ([`AsFd`]) for reading until it is ready, or
    /// as told, but for a heartbeat's time at most.
    ///
    /// # Errors
    ///
    /// - [`SendError::PeerDied`]: there is no room, and the peer shows no signs of life.
    /// - [`SendError::Broken`]: the connection has come to its end.
    pub fn arm(&mut self, message: &[u8]) -> Result<Wait, SendError> {
        self.waiter.arm(&mut self.outbound.begin(message))
    }

    /// Sets for how long this half looks for room before it sleeps, instead of [`Options::spin`](super::Options::spin).
    pub const fn set_spin(&mut self, spin: Duration) {
        self.waiter.set_spin(spin);
    }

    /// Returns the guest crate's half, for the rest of what it can: sending without waiting, in parts, or in place.
    pub fn inner(&mut self) -> &mut channel::Sender<'static, Bell> {
        self.outbound.inner()
    }
}

impl AsFd for Sender {
    /// Returns a descriptor that is readable once the peer has rung, until the next wait or [`Sender::arm`].
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.waiter.as_fd()
    }
}

/// The messages to a peer.
#[derive(Debug)]
pub(super) struct Outbound {
    inner: channel::Sender<'static, Bell>,
    fate: Fate,
}

impl Outbound {
    pub(super) const fn new(inner: channel::Sender<'static, Bell>, fate: Fate) -> Self {
        Self { inner, fate }
    }

    pub(super) const fn is_rung(&self) -> bool {
        self.inner.is_rung()
    }

    pub(super) fn inner(&mut self) -> &mut channel::Sender<'static, Bell> {
        &mut self.inner
    }

    /// Begins a message.
    pub(super) fn begin<'s>(&'s mut self, message: &'s [u8]) -> Outgoing<'s> {
        Outgoing {
            outbound: self,
            message,
            progress: Progress::default(),
        }
    }
}

/// A message on its way.
pub(super) struct Outgoing<'s> {
    outbound: &'s mut Outbound,
    message: &'s [u8],
    progress: Progress,
}

impl Awaited for Outgoing<'_> {
    type Found = ();
    type Error = SendError;

    #[inline]
    fn look(&mut self) -> Result<Look<()>, SendError> {
        let before = self.progress;
        let sender = &mut self.outbound.inner;
        match sender.poll_send(self.message, &mut self.progress) {
            Poll::Ready(Ok(())) => Ok(Look::Found(())),
            Poll::Ready(Err(channel::SendError::Broken(broken))) => Err(broken.into()),
            Poll::Pending if self.progress != before => Ok(Look::Part),
            // No other error comes from `poll_send`.
            Poll::Ready(Err(_)) | Poll::Pending => Ok(Look::Nothing),
        }
    }

    fn arm(&mut self) -> Result<Wait, SendError> {
        Ok(self.outbound.inner.arm(self.message.len())?)
    }

    fn check(&self) -> Result<(), SendError> {
        if self.outbound.fate.is_dead() {
            return Err(SendError::PeerDied);
        }
        Ok(())
    }
}
