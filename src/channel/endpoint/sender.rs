// SPDX-License-Identifier: MIT OR Apache-2.0
//! The half of a connection that sends: [`Sender`].

use core::sync::atomic::{fence, Ordering};

use super::batch::Batch;
use super::error::{Broken, SendError};
use super::grant::Grant;
use super::link::Link;
use super::{Wait, PATIENCE};
use crate::channel::doorbell::Doorbell;
use crate::channel::notify::Sleep;
use crate::channel::ring::{Granted, Producer};
use crate::channel::words::Circle;
use crate::SharedMemory;

/// The sending half of an [`Endpoint`](super::Endpoint).
///
/// It has lines of the cache for itself: two CPUs that use the halves of one endpoint do not wait for each other.
#[derive(Debug)]
#[repr(align(128))]
pub struct Sender<'m, D> {
    producer: Producer<SharedMemory<'m>>,
    pub(super) link: Link<'m, D>,
    /// How many more messages are sent before the wish to be rung is withdrawn; 0 if it is.
    patience: u32,
    /// How many messages were begun in fragments.
    pub(super) message: u64,
    /// Whether the last of them waits for its end.
    pub(super) is_inside: bool,
}

impl<'m, D: Doorbell> Sender<'m, D> {
    pub(super) const fn new(producer: Producer<SharedMemory<'m>>, link: Link<'m, D>) -> Self {
        Self {
            producer,
            link,
            patience: 0,
            message: 0,
            is_inside: false,
        }
    }

    /// Returns the longest message, in bytes, that goes in one frame.
    #[must_use]
    pub const fn longest(&self) -> usize {
        self.producer.longest()
    }

    /// Returns how many bytes of the ring are free. A message takes 8 more than its length rounded up to 8, one of 512 bytes
    /// or more up to 64 more; one that does not fit between the last and the end of the ring also takes what is there.
    ///
    /// # Errors
    ///
    /// - [`Broken`]: the connection has come to its end.
    pub fn free_bytes(&mut self) -> Result<usize, Broken> {
        self.check()?;
        self.producer
            .refresh()
            .map_err(|error| self.link.fail(error))?;
        Ok(self.producer.free())
    }

    /// Returns how many bytes of the ring hold what the peer has not received yet, as far as it has told: it does when it finds
    /// nothing more, and each time that an eighth of the ring is free again.
    ///
    /// # Errors
    ///
    /// - [`Broken`]: the connection has come to its end, and not all was received, or nobody can tell.
    pub fn unread(&mut self) -> Result<usize, Broken> {
        let is_peer_there = self.link.is_peer_there();
        // What it told before it left is seen behind this.
        fence(Ordering::Acquire);
        let unread = self.producer.size().saturating_sub(self.free_bytes()?);
        if unread > 0 && !is_peer_there {
            return Err(self.link.give_up());
        }
        Ok(unread)
    }

    /// Sends a message.
    ///
    /// # Errors
    ///
    /// - [`SendError::Full`]: there is no room now.
    /// - [`SendError::TooLong`]: it is longer than [`Sender::longest`]; see [`Sender::poll_send`].
    /// - [`SendError::Broken`]: the connection has come to its end.
    #[inline]
    pub fn try_send(&mut self, message: &[u8]) -> Result<(), SendError> {
        if self.is_usual() {
            if let Some(asked) = self.producer.send_short(message) {
                self.link.ring_if(asked);
                return Ok(());
            }
        }
        self.send_any(message)
    }

    /// Sends a message whatever has to be done before.
    // Apart, so that what usually is needs no more registers than it does.
    #[inline(never)]
    fn send_any(&mut self, message: &[u8]) -> Result<(), SendError> {
        self.push(message)?;
        self.announce();
        Ok(())
    }

    /// Returns whether nothing is to be done but to send.
    #[inline(always)]
    fn is_usual(&self) -> bool {
        self.patience == 0 && !self.is_inside && self.link.is_intact(self.producer.is_current())
    }

    /// Writes a message, to be announced.
    #[inline(always)]
    pub(super) fn push(&mut self, message: &[u8]) -> Result<(), SendError> {
        let granted = self.begin(message.len())?;
        self.write(granted, message, false);
        Ok(())
    }

    /// Begins messages that are announced together: the peer learns of all of them at once, and is rung at most once.
    #[inline]
    pub fn batch(&mut self) -> Batch<'_, 'm, D> {
        Batch::new(self)
    }

    /// Sends the parts as one message.
    ///
    /// # Errors
    ///
    /// As [`Sender::try_send`].
    pub fn send_vectored(&mut self, parts: &[&[u8]]) -> Result<(), SendError> {
        let len = parts
            .iter()
            .fold(0_usize, |len, part| len.saturating_add(part.len()));
        let granted = self.begin(len)?;
        let mut position = granted.payload;
        for part in parts {
            Circle::write(self.producer.data(), position, part);
            position += part.len() as u64;
        }
        self.finish(granted, len);
        Ok(())
    }

    /// Returns room for a message of up to `len` bytes, to write in place and then to [commit](Grant::commit). One
    /// that is dropped has sent nothing.
    ///
    /// # Errors
    ///
    /// As [`Sender::try_send`].
    #[inline]
    pub fn reserve(&mut self, len: usize) -> Result<Grant<'_, 'm, D>, SendError> {
        let granted = self.begin(len)?;
        Grant::new(self, granted)
    }

    /// Returns whether the peer can ring this member. If not, [`Wait::Briefly`] is all that [arming](Sender::arm) ever
    /// says.
    #[must_use]
    pub const fn is_rung(&self) -> bool {
        self.link.is_rung()
    }

    /// Asks to be woken when there is room for a message of `len` bytes, or for the next fragment of one that is longer than
    /// [`Sender::longest`]. Says how long to wait before the next try.
    ///
    /// The ring comes when about half of the room is free. A peer that stops receiving before keeps the sender
    /// waiting for longer than it must: try again at each heartbeat, whatever is said.
    ///
    /// # Errors
    ///
    /// - [`Broken`]: the connection has come to its end.
    pub fn arm(&mut self, len: usize) -> Result<Wait, Broken> {
        self.check()?;
        // What a batch that was forgotten has added, as in `full`.
        self.announce();
        let len = if len > self.longest() {
            self.fragment()
        } else {
            len
        };
        if self.has_room(len)? {
            return Ok(Wait::Ready);
        }
        let sleep = if self.link.is_rung() {
            self.patience = PATIENCE;
            // One ring for each frame that is passed would be many, so half of the ring has to be free.
            self.producer.arm(self.longest())
        } else {
            Sleep::Bounded
        };
        if self.has_room(len)? {
            return Ok(Wait::Ready);
        }
        self.link.check_peer()?;
        Ok(sleep.into())
    }

    /// Returns the length of the fragments of long messages: the peer passes one while the next is written.
    pub(super) const fn fragment(&self) -> usize {
        self.longest() / 2
    }

    fn has_room(&mut self, len: usize) -> Result<bool, Broken> {
        let granted = self.producer.grant(len);
        granted
            .map(|granted| granted.is_some())
            .map_err(|error| self.link.fail(error))
    }

    /// Finds room for a message of its own.
    #[inline(always)]
    pub(super) fn begin(&mut self, len: usize) -> Result<Granted, SendError> {
        if self.is_usual() {
            if let Some(granted) = self.producer.glance(len) {
                return Ok(granted);
            }
        }
        self.begin_any(len)
    }

    /// Finds room for a message whatever has to be done before.
    // As `send_any`.
    #[inline(never)]
    fn begin_any(&mut self, len: usize) -> Result<Granted, SendError> {
        if self.is_inside {
            self.end_short()?;
        }
        self.grant(len)
    }

    /// Tells the receiver that the message it has the beginning of was given up: by an empty last fragment, which no message
    /// has.
    #[cold]
    pub(super) fn end_short(&mut self) -> Result<(), SendError> {
        let granted = self.grant(0)?;
        self.finish(granted, 0);
        Ok(())
    }

    /// Finds room for a frame.
    pub(super) fn grant(&mut self, len: usize) -> Result<Granted, SendError> {
        self.check()?;
        if len > self.longest() {
            return Err(self.too_long(len));
        }
        match self.producer.grant(len) {
            Ok(Some(granted)) => {
                if self.patience > 0 {
                    self.lose_patience();
                }
                Ok(granted)
            }
            Ok(None) => Err(self.full()),
            Err(error) => Err(self.link.fail(error).into()),
        }
    }

    /// Counts a message that was sent after arming, and after some says that nobody need ring.
    #[cold]
    fn lose_patience(&mut self) {
        self.patience -= 1;
        if self.patience == 0 {
            self.producer.poll();
        }
    }

    #[cold]
    const fn too_long(&self, len: usize) -> SendError {
        let longest = self.longest();
        SendError::TooLong { len, longest }
    }

    /// There is no room, unless because nobody is there any more.
    #[cold]
    fn full(&mut self) -> SendError {
        // Of what a batch has added the receiver can make no room before it knows of it.
        self.announce();
        self.link
            .check_peer()
            .map_or_else(Into::into, |()| SendError::Full)
    }

    /// Writes a frame, to be announced.
    #[inline(always)]
    pub(super) fn write(&mut self, granted: Granted, payload: &[u8], more: bool) {
        self.is_inside = more;
        self.producer.write(granted, payload, more);
    }

    /// Ends a frame that is a message, or the end of one, whose payload is written, and makes it known.
    #[inline]
    pub(super) fn finish(&mut self, granted: Granted, len: usize) {
        self.is_inside = false;
        self.producer.finish(granted, len, false);
        self.announce();
    }

    /// Makes known what is written, and rings if the receiver waits for it.
    #[inline(always)]
    pub(super) fn announce(&mut self) {
        let asked = self.producer.announce();
        self.link.ring_if(asked);
    }

    #[inline(always)]
    pub(super) fn check(&mut self) -> Result<(), Broken> {
        self.link.check(self.producer.is_current())
    }

    /// Returns the payload of a grant.
    #[inline]
    pub(super) fn payload(&mut self, granted: &Granted) -> Result<SharedMemory<'m>, Broken> {
        let payload = self.producer.data().region(granted.payload, granted.len);
        payload.map_err(|_| self.link.give_up())
    }
}

impl<D> Sender<'_, D> {
    pub(super) const fn incarnation(&self) -> u32 {
        self.link.incarnation()
    }
}

impl From<Sleep> for Wait {
    fn from(sleep: Sleep) -> Self {
        match sleep {
            Sleep::Rung => Self::UntilRung,
            Sleep::Bounded => Self::Briefly,
        }
    }
}
