// SPDX-License-Identifier: MIT OR Apache-2.0
//! The half of a connection that sends: [`Sender`].

use super::error::{Broken, SendError};
use super::grant::Grant;
use super::link::Link;
use super::{Wait, PATIENCE};
use crate::channel::doorbell::Doorbell;
use crate::channel::notify::Sleep;
use crate::channel::ring::{Granted, Producer};
use crate::channel::words::Words;
use crate::SharedMemory;

/// The sending half of an [`Endpoint`](super::Endpoint).
#[derive(Debug)]
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

    /// Returns how many bytes of the ring are free. A message takes 8 more than its length rounded up to 8; one that does
    /// not fit between the last and the end of the ring also takes what is there.
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

    /// Sends a message.
    ///
    /// # Errors
    ///
    /// - [`SendError::Full`]: there is no room now.
    /// - [`SendError::TooLong`]: it is longer than [`Sender::longest`]; see [`Sender::poll_send`].
    /// - [`SendError::Broken`]: the connection has come to its end.
    #[inline]
    pub fn try_send(&mut self, message: &[u8]) -> Result<(), SendError> {
        let granted = self.begin(message.len())?;
        self.fill(granted.payload, message);
        self.announce(granted, message.len(), false);
        Ok(())
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
        let mut offset = granted.payload;
        for part in parts {
            self.fill(offset, part);
            offset += part.len();
        }
        self.announce(granted, len, false);
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
    #[inline]
    pub(super) fn begin(&mut self, len: usize) -> Result<Granted, SendError> {
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
        self.announce(granted, 0, false);
        Ok(())
    }

    /// Finds room for a frame.
    #[inline]
    pub(super) fn grant(&mut self, len: usize) -> Result<Granted, SendError> {
        self.check()?;
        let longest = self.longest();
        if len > longest {
            return Err(SendError::TooLong { len, longest });
        }
        match self.producer.grant(len) {
            Ok(Some(granted)) => {
                if self.patience > 0 {
                    self.patience -= 1;
                    if self.patience == 0 {
                        self.producer.poll();
                    }
                }
                Ok(granted)
            }
            Ok(None) => {
                self.link.check_peer()?;
                Err(SendError::Full)
            }
            Err(error) => Err(self.link.fail(error).into()),
        }
    }

    #[inline]
    pub(super) fn fill(&self, offset: usize, bytes: &[u8]) {
        Words::write(self.producer.words(), offset, bytes);
    }

    /// Makes a frame known, and rings if the receiver waits for it.
    #[inline]
    pub(super) fn announce(&mut self, granted: Granted, len: usize, more: bool) {
        self.is_inside = more;
        let asked = self.producer.commit(granted, len, more);
        self.link.ring_if(asked);
    }

    #[inline]
    pub(super) fn check(&mut self) -> Result<(), Broken> {
        self.link.check(self.producer.is_current())
    }

    /// Returns the payload of a grant.
    pub(super) fn payload(&mut self, granted: &Granted) -> Result<SharedMemory<'m>, Broken> {
        let payload = self.producer.words().region(granted.payload, granted.len);
        payload.map_err(|_| self.link.give_up())
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
