// SPDX-License-Identifier: MIT OR Apache-2.0
//! A message, or a part of one, that is read in place: [`Frame`].

use super::error::Broken;
use super::receiver::Receiver;
use crate::channel::doorbell::Doorbell;
use crate::channel::ring::Peeked;
use crate::{AccessError, SharedMemory};

/// A frame in the ring. Most messages are one; longer ones go from a [first](Frame::is_first) to a
/// [last](Frame::is_last).
///
/// It is in shared memory, where the peer may change it between two reads: copy out, then check, then use the copy.
#[derive(Debug)]
pub struct Frame<'r, 'm, D> {
    receiver: &'r mut Receiver<'m, D>,
    peeked: Peeked,
    memory: SharedMemory<'m>,
}

impl<'r, 'm, D: Doorbell> Frame<'r, 'm, D> {
    #[inline]
    pub(super) fn new(
        receiver: &'r mut Receiver<'m, D>,
        peeked: Peeked,
        memory: SharedMemory<'m>,
    ) -> Self {
        Self {
            receiver,
            peeked,
            memory,
        }
    }

    /// Returns the length in bytes.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.memory.len()
    }

    /// Returns whether the length is 0.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.memory.is_empty()
    }

    /// Returns whether a message begins here. One that was begun before and had no last frame was given up.
    #[must_use]
    pub const fn is_first(&self) -> bool {
        !self.receiver.is_inside
    }

    /// Returns whether the message ends here.
    #[must_use]
    pub const fn is_last(&self) -> bool {
        !self.peeked.more
    }

    /// Copies as much as fits to the start of `target`, and returns how many bytes that is.
    #[inline]
    pub fn copy_to(&self, target: &mut [u8]) -> usize {
        let len = target.len().min(self.len());
        let copied = target
            .get_mut(..len)
            .map_or(Ok(()), |target| self.memory.read(0, target));
        copied.map_or(0, |()| len)
    }

    /// Returns the little-endian number at `offset`.
    ///
    /// # Errors
    ///
    /// - [`AccessError::OutOfBounds`]: it does not lie inside the frame.
    pub fn read_u64_le(&self, offset: usize) -> Result<u64, AccessError> {
        self.memory.read_array(offset).map(u64::from_le_bytes)
    }

    /// Returns the frame as a view, with all its ways to read.
    #[must_use]
    pub const fn memory(&self) -> SharedMemory<'_> {
        self.memory
    }

    /// Returns the address of the first byte, for code that brings its own rules of access. It is a multiple of 8; of 64
    /// if the sender had room for 512 bytes or more and the region begins at one.
    #[must_use]
    pub const fn as_ptr(&self) -> *const u8 {
        self.memory.as_ptr()
    }

    /// Gives the room back to the sender, and confirms what was read.
    ///
    /// # Errors
    ///
    /// - [`Broken`]: the connection has come to its end, and what was read may be of a later one.
    #[inline]
    pub fn release(self) -> Result<(), Broken> {
        self.receiver.verify()?;
        // Reading may have taken any time.
        self.receiver.check()?;
        self.receiver.pass(self.peeked);
        Ok(())
    }
}
