// SPDX-License-Identifier: MIT OR Apache-2.0
//! The messages of a stream that are not data, and what both sides count.

use crc32fast::Hasher;

/// Lengths of messages: of the first, and of all others that are not data.
pub(super) const HELLO_LEN: usize = 24;
pub(super) const SHORT_LEN: usize = 16;

/// What a receiver says. The others tell what has become of its output, of which a guest has none.
pub(super) const ACCEPTED: u32 = 1;
pub(super) const COMPLETE: u32 = 2;
pub(super) const DAMAGED: u32 = 3;
pub(super) const INTERRUPTED: u32 = 6;

/// What a stream of version 1 begins with, up to the number of bytes to come.
const HELLO: [u8; SHORT_LEN] = *b"ivshpipe\x01\0\0\0\0\0\0\0";

/// Returns the first message of a stream of so many bytes.
pub(super) fn hello(bytes: u64) -> [u8; HELLO_LEN] {
    let mut message = [0; HELLO_LEN];
    let (start, end) = message.split_at_mut(SHORT_LEN);
    start.copy_from_slice(&HELLO);
    end.copy_from_slice(&bytes.to_le_bytes());
    message
}

/// Returns whether a message is the first of a stream, however long that is.
pub(super) fn is_hello(message: &[u8; HELLO_LEN]) -> bool {
    message.starts_with(&HELLO)
}

/// Returns what a receiver says of so many bytes.
pub(super) fn verdict(number: u32, bytes: u64) -> [u8; SHORT_LEN] {
    let mut message = [0; SHORT_LEN];
    message[..4].copy_from_slice(&number.to_le_bytes());
    message[8..].copy_from_slice(&bytes.to_le_bytes());
    message
}

/// What is counted of a stream on both sides.
#[derive(Clone, Debug, Default)]
pub(super) struct Seal {
    pub(super) bytes: u64,
    checksum: Hasher,
}

impl Seal {
    pub(super) fn add(&mut self, data: &[u8]) {
        self.bytes += data.len() as u64;
        self.checksum.update(data);
    }

    /// Returns the last message of the sender.
    pub(super) fn message(&self) -> [u8; SHORT_LEN] {
        verdict(self.checksum.clone().finalize(), self.bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_begins_with_eight_letters_and_a_version() {
        let message = hello(0x0102);
        assert_eq!(&message[..8], b"ivshpipe");
        assert_eq!(message[8..18], [1, 0, 0, 0, 0, 0, 0, 0, 2, 1]);
        assert!(is_hello(&message));
        let mut later = message;
        later[8] = 2;
        assert!(!is_hello(&later));
    }

    #[test]
    fn the_seal_is_the_checksum_of_ethernet_and_the_length() {
        let mut seal = Seal::default();
        seal.add(b"1234");
        seal.add(b"56789");
        // The check value that catalogues of CRCs list.
        let mut expected = [0; 16];
        expected[..4].copy_from_slice(&[0x26, 0x39, 0xf4, 0xcb]);
        expected[8] = 9;
        assert_eq!(seal.message(), expected);
    }
}
