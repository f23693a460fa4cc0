// SPDX-License-Identifier: MIT OR Apache-2.0
//! The bytes of an input, taken from the front; behind the end everything is 0.

use libfuzzer_sys::arbitrary::{Arbitrary, Unstructured};

/// What is left of an input.
pub struct Input<'d>(Unstructured<'d>);

impl<'d> Input<'d> {
    pub fn new(data: &'d [u8]) -> Self {
        Self(Unstructured::new(data))
    }

    /// Takes a number, little-endian.
    pub fn take<T: Arbitrary<'d> + Default>(&mut self) -> T {
        self.0.arbitrary().unwrap_or_default()
    }

    /// Takes a number of which 0 means "none" and the others are one more than they say.
    pub fn option(&mut self) -> Option<u16> {
        self.take::<u16>().checked_sub(1)
    }

    /// Takes `len` bytes, with zeros behind the end.
    pub fn bytes(&mut self, len: usize) -> Vec<u8> {
        let there = len.min(self.0.len());
        let mut bytes = self.0.bytes(there).unwrap_or_default().to_vec();
        bytes.resize(len, 0);
        bytes
    }

    /// Divides what is left: the first `len` bytes, as far as they are there, and the rest.
    pub fn split(mut self, len: usize) -> (Self, Self) {
        let len = len.min(self.0.len());
        let first = self.0.bytes(len).unwrap_or_default();
        (Self::new(first), self)
    }

    /// Returns how many bytes are left.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
