// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a server says: [`Message`], and a [`Stream`] of them in pieces.

use std::collections::BTreeSet;
use std::fmt;
use std::io;

use crate::files::Files;
use crate::twin::Send;

/// Bytes of a message.
pub const LEN: usize = 8;

/// A number in a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Number {
    /// The device's own ID.
    Own,
    /// The ID of another peer, of [`PEERS`] ones.
    Peer(u8),
    /// Any other.
    Value(i64),
}

/// How many other peers there are in a stream.
pub const PEERS: u8 = 5;

/// Which IDs the peers of a stream have.
#[derive(Clone, Copy, Debug)]
pub struct Ids {
    pub own: u16,
    pub peers: [u16; PEERS as usize],
    /// That of one more, which comes last to see that QEMU has taken in all that came before.
    pub last: u16,
}

impl Ids {
    fn value(&self, number: Number) -> i64 {
        match number {
            Number::Own => self.own.into(),
            Number::Peer(peer) => self.peers[usize::from(peer)].into(),
            Number::Value(value) => value,
        }
    }
}

/// What a descriptor is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Event,
    /// Memory of this many bytes.
    Memory(u64),
}

/// A message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    pub number: Number,
    /// What comes with some of its bytes, 0 to 7 in ascending order.
    pub files: Vec<(usize, Vec<Kind>)>,
}

impl Message {
    pub const fn bare(number: Number) -> Self {
        Self {
            number,
            files: Vec::new(),
        }
    }

    pub fn with(number: Number, kind: Kind) -> Self {
        Self {
            number,
            files: vec![(0, vec![kind])],
        }
    }
}

impl fmt::Display for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.number)?;
        for (byte, kinds) in &self.files {
            write!(f, ", {kinds:?} with byte {byte}")?;
        }
        Ok(())
    }
}

/// Messages, and where their bytes are cut into calls.
#[derive(Clone, Debug)]
pub struct Stream {
    pub messages: Vec<Message>,
    /// Offsets in all bytes, modulo their number.
    pub cuts: Vec<usize>,
}

impl Stream {
    /// Returns the calls, for which files are made.
    ///
    /// Descriptors come with the first byte of a call, so there is also a cut before every byte that has some.
    pub fn sends(&self, ids: &Ids, files: &mut Files) -> io::Result<Vec<Send>> {
        let len = LEN * self.messages.len();
        let numbers = self
            .messages
            .iter()
            .map(|message| ids.value(message.number));
        let bytes: Vec<u8> = numbers.flat_map(i64::to_le_bytes).collect();
        let mut starts: BTreeSet<usize> = self.cuts.iter().map(|cut| cut % len.max(1)).collect();
        starts.insert(0);
        let carriers = (0..).zip(&self.messages).flat_map(|(index, message)| {
            let files = message.files.iter();
            files.map(move |(byte, kinds)| (LEN * index + byte, kinds))
        });
        let carriers: Vec<(usize, &Vec<Kind>)> = carriers.collect();
        starts.extend(carriers.iter().map(|&(at, _)| at));
        let ends = starts.iter().skip(1).copied().chain([len]);
        let pieces = starts.iter().copied().zip(ends);
        let send = |(start, end): (usize, usize)| {
            let kinds = carriers.iter().filter(|&&(at, _)| at == start);
            let made = kinds.flat_map(|(_, kinds)| *kinds).map(|kind| match *kind {
                Kind::Event => files.add_event(),
                Kind::Memory(len) => files.add_memory(len),
            });
            Ok(Send {
                files: made.collect::<io::Result<_>>()?,
                bytes: bytes[start..end].to_vec(),
            })
        };
        pieces.map(send).collect()
    }
}

impl fmt::Display for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, message) in (1..).zip(&self.messages) {
            writeln!(f, "{number:3}. {message}")?;
        }
        write!(f, "cuts: {:?}", self.cuts)
    }
}
