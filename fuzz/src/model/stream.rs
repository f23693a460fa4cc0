// SPDX-License-Identifier: MIT OR Apache-2.0
//! The server's end of a connection: which message a byte and a descriptor belong to.

use std::collections::BTreeMap;

use super::host::{Descriptors, FuzzDescriptor};
use super::steps::Carried;
use super::Header;
use ivshmem_device::{Properties, Role};

/// Bytes of a message. (A C `long` has as many where fuzzing is done.)
const MESSAGE: usize = size_of::<i64>();

/// What has been sent.
#[derive(Debug, Default)]
pub struct Stream {
    pub descriptors: Descriptors,
    /// The message that is not complete yet.
    begun: Vec<u8>,
    /// The serials of descriptors that came with it.
    with_begun: Vec<u64>,
    /// The number of the message with which each descriptor came.
    numbers: BTreeMap<u64, i64>,
    /// Messages that are complete.
    pub messages: usize,
}

impl Stream {
    /// Opens what is to be sent.
    pub fn open(&mut self, carried: &[Carried]) -> Vec<FuzzDescriptor> {
        let open = |one: &Carried| self.descriptors.open(one.len_bytes, one.number);
        let opened: Vec<_> = carried.iter().map(open).collect();
        let serials = opened.iter().map(|descriptor| descriptor.serial);
        self.with_begun.extend(serials);
        opened
    }

    /// Notes bytes that are being sent after what [`Stream::open`] opened.
    pub fn note(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.begun.push(*byte);
            if let Ok(number) = self.begun.as_slice().try_into() {
                let number = i64::from_le_bytes(number);
                let with = self.with_begun.drain(..);
                self.numbers.extend(with.map(|serial| (serial, number)));
                self.begun.clear();
                self.messages += 1;
            }
        }
    }

    /// Returns how many bytes the device has to want: those missing to the end of the message.
    pub fn missing(&self) -> usize {
        MESSAGE - self.begun.len()
    }

    /// Returns the number of the message with which a descriptor came, once it was complete.
    pub fn number(&self, serial: u64) -> Option<i64> {
        self.numbers.get(&serial).copied()
    }
}

/// Returns the messages, each with its descriptors, of a server that keeps to the rules: the device's own ID, 0 for a
/// master, with `own` vectors, and peer 5.
pub fn handshake(properties: &Properties, own: usize, header: Header) -> Vec<(i64, Vec<Carried>)> {
    let event = || {
        vec![Carried {
            len_bytes: None,
            number: 7,
        }]
    };
    let memory = Carried {
        len_bytes: Some(header.len_bytes),
        number: 6,
    };
    let id = match properties.role {
        Role::Peer => 3,
        _ => 0,
    };
    let mut messages = vec![(id, vec![]), (-1, vec![memory])];
    if !properties.generation.is_historic() {
        messages.insert(0, (0, vec![]));
    }
    messages.extend((0..own).map(|_| (id, event())));
    messages.extend((0..header.peer_vectors).map(|_| (5, event())));
    messages
}
