// SPDX-License-Identifier: MIT OR Apache-2.0
//! Requests put together from a stream: [`Parser`].

use super::message::{Header, MAX_DESCRIPTORS, MAX_PAYLOAD_LEN};
use super::{Request, RequestError, HEADER_LEN};

/// A request as far as it has arrived, free of input and output.
///
/// It may come in any pieces, with its descriptors on any of them. Holds one message at most. After an error there is no
/// telling where the next message begins, so the stream has to be given up.
#[derive(Debug)]
pub struct Parser<F> {
    bytes: [u8; HEADER_LEN + MAX_PAYLOAD_LEN],
    filled: usize,
    /// Known when all of it is there.
    header: Option<Header>,
    descriptors: Vec<F>,
}

impl<F> Parser<F> {
    /// Creates a parser at the beginning of a message.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            bytes: [0; HEADER_LEN + MAX_PAYLOAD_LEN],
            filled: 0,
            header: None,
            descriptors: Vec::new(),
        }
    }

    /// Returns how many bytes to read at most, so that no descriptor of another message comes along; 1 or more.
    #[must_use]
    pub fn wanted(&self) -> usize {
        self.end().saturating_sub(self.filled).max(1)
    }

    /// Takes a descriptor that came with the current message.
    ///
    /// # Errors
    ///
    /// - [`RequestError::TooManyDescriptors`]: it is the ninth; it is dropped.
    pub fn attach(&mut self, descriptor: F) -> Result<(), RequestError> {
        if self.descriptors.len() >= MAX_DESCRIPTORS {
            return Err(RequestError::TooManyDescriptors);
        }
        self.descriptors.push(descriptor);
        Ok(())
    }

    /// Takes bytes from the front of `bytes` up to the end of a message, and returns that message, if it is whole.
    ///
    /// # Errors
    ///
    /// - [`RequestError`]: it is none that QEMU sends.
    pub fn take(&mut self, bytes: &mut &[u8]) -> Result<Option<Request<F>>, RequestError> {
        self.fill(bytes);
        if self.header.is_none() {
            let Some(header) = self
                .bytes
                .first_chunk()
                .filter(|_| self.filled == HEADER_LEN)
            else {
                return Ok(None);
            };
            self.header = Some(Header::parse(header)?);
            self.fill(bytes);
        }
        if self.filled < self.end() {
            return Ok(None);
        }
        let Some(header) = self.header.take() else {
            return Ok(None);
        };
        let payload = self.bytes.get(HEADER_LEN..self.filled).unwrap_or_default();
        self.filled = 0;
        header
            .request(payload, std::mem::take(&mut self.descriptors))
            .map(Some)
    }

    /// Returns where the header ends, or the message once that is known.
    fn end(&self) -> usize {
        HEADER_LEN + self.header.map_or(0, |header| header.payload_len())
    }

    /// Moves bytes up to that end.
    fn fill(&mut self, bytes: &mut &[u8]) {
        let end = self.end();
        let space = self.bytes.get_mut(self.filled..end).unwrap_or_default();
        let len = space.len().min(bytes.len());
        let (taken, rest) = bytes.split_at(len);
        for (place, byte) in space.iter_mut().zip(taken) {
            *place = *byte;
        }
        self.filled += len;
        *bytes = rest;
    }
}

impl<F> Default for Parser<F> {
    fn default() -> Self {
        Self::new()
    }
}
