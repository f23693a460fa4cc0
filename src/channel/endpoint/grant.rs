// SPDX-License-Identifier: MIT OR Apache-2.0
//! Room for a message that is written in place: [`Grant`].

use super::error::{Broken, SendError};
use super::sender::Sender;
use crate::channel::doorbell::Doorbell;
use crate::channel::ring::Granted;
use crate::{AccessError, SharedMemory};

/// Room in the ring for one message.
///
/// What is written is in shared memory at once, where the peer may read and change it; only [`Grant::commit`]
/// tells it that there is a message.
#[derive(Debug)]
pub struct Grant<'s, 'm, D> {
    sender: &'s mut Sender<'m, D>,
    granted: Granted,
    memory: SharedMemory<'m>,
}

impl<'s, 'm, D: Doorbell> Grant<'s, 'm, D> {
    #[inline]
    pub(super) fn new(sender: &'s mut Sender<'m, D>, granted: Granted) -> Result<Self, SendError> {
        let memory = sender.payload(&granted)?;
        Ok(Self {
            sender,
            granted,
            memory,
        })
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

    /// Copies `bytes` to `offset`.
    ///
    /// # Errors
    ///
    /// - [`AccessError::OutOfBounds`]: they do not lie inside the room; nothing is written.
    #[inline]
    pub fn write(&self, offset: usize, bytes: &[u8]) -> Result<(), AccessError> {
        self.memory.write(offset, bytes)
    }

    /// Writes a little-endian number to `offset`.
    ///
    /// # Errors
    ///
    /// - [`AccessError::OutOfBounds`]: it does not lie inside the room; nothing is written.
    pub fn write_u64_le(&self, offset: usize, value: u64) -> Result<(), AccessError> {
        self.write(offset, &value.to_le_bytes())
    }

    /// Returns the room as a view, with all its ways to write.
    #[must_use]
    pub const fn memory(&self) -> SharedMemory<'_> {
        self.memory
    }

    /// Returns the address of the first byte, for code that brings its own rules of access. It is a multiple of 8; of 64
    /// if the room is for 512 bytes or more and the region begins at one.
    #[must_use]
    pub const fn as_ptr(&self) -> *mut u8 {
        self.memory.as_ptr()
    }

    /// Sends what is written as a message.
    ///
    /// # Errors
    ///
    /// - [`Broken`]: the connection has come to its end meanwhile.
    #[inline]
    pub fn commit(self) -> Result<(), Broken> {
        let len = self.len();
        self.commit_first(len)
    }

    /// Sends the first `len` bytes of what is written as a message; all of them if there are fewer.
    ///
    /// # Errors
    ///
    /// - [`Broken`]: the connection has come to its end meanwhile.
    #[inline]
    pub fn commit_first(self, len: usize) -> Result<(), Broken> {
        // Writing may have taken any time.
        self.sender.check()?;
        self.sender.finish(self.granted, len);
        Ok(())
    }
}
