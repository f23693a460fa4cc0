// SPDX-License-Identifier: MIT OR Apache-2.0
//! A ring of bytes from one peer to one other, with frames that announce themselves.
//!
//! The producer writes a frame, then the word in front of it: a consumer that polls looks at that word, at its own
//! position, and finds the message behind it in the same cache line. No shared counter is between them.
//!
//! ```text
//! position ──► [ header ][ payload, padded to 8 ][ 0 ]
//!                                                 ▲ where the next header will be
//! ```
//!
//! The word where the next header will be is zeroed before the header in front of it is written, so what the
//! consumer finds at its position is 0 or a header, never the remains of an earlier round. Several frames are announced at
//! once by writing the header of the first of them last.
//!
//! # Order of accesses
//!
//! | word | written by | stores | loads |
//! | --- | --- | --- | --- |
//! | session | its side | 0 relaxed, then a sequentially consistent fence; the session release | acquire |
//! | header | producer | the first one of what is announced release; all others, and the 0 behind it and on start, relaxed | acquire |
//! | payload | producer | bytes, before the header | bytes, before an acquire fence and a look at the producer's session |
//! | tail | consumer | that of position 0 relaxed, on start; then release | acquire; where it is of another session, before a look at the consumer's |
//! | head | producer | that of position 0 relaxed, on start; then release | acquire, seldom, before another look at the header |
//!
//! For wishes and promises see [`notify`](super::notify).
//!
//! # Sessions
//!
//! Whoever begins a session takes away its side's old one, fences, and only then writes anything else. So a reader that has seen
//! any word or byte of the new session finds, after an acquire, that the old one is gone: it never takes the one for the other. No session comes back, because incarnations count on.
//!
//! The producer may send before the consumer has come: until then it takes the tail for 0. The consumer
//! reads nothing before the producer has begun, because what lies in the ring may be from before.
//!
//! Headers, head and tail carry a [`Key`] of their session besides. Somebody who was stopped before a store, lost its slot
//! meanwhile and then makes that store has written nothing that its successor's peer believes: a producer passes over such a
//! tail, which the consumer puts right; a consumer takes such a header for what it is, the end of the ring's sense, and not
//! for a message. Where such a store has taken a header away, the head tells.

mod consumer;
mod frame;
mod producer;

pub(crate) use consumer::{Consumer, Glance, Peeked};
pub(crate) use frame::{Header, Key, Place, WORD};
pub(crate) use producer::{Granted, Producer};

use core::fmt;
use core::sync::atomic::Ordering;

use super::notify::Places;
use super::words::{Word, Words};

// Offsets in the control block of a ring. Quiet words, which change with sessions and sleeps, are on other lines
// than those that change with each message.

/// Offset of the producer's session.
pub(crate) const PRODUCER_SESSION: usize = 0x00;
/// Offset of the producer's promise to look at the wish for data.
pub(crate) const PRODUCER_PROMISE: usize = 0x08;
/// Offset of the producer's wish for room.
pub(crate) const SPACE_WISH: usize = 0x10;
/// Offset of the consumer's session.
pub(crate) const CONSUMER_SESSION: usize = 0x40;
/// Offset of the consumer's promise to look at the wish for room.
pub(crate) const CONSUMER_PROMISE: usize = 0x48;
/// Offset of the consumer's wish for data.
pub(crate) const DATA_WISH: usize = 0x50;
/// Offset of the producer's position.
pub(crate) const HEAD: usize = 0x80;
/// Offset of the consumer's position.
pub(crate) const TAIL: usize = 0x100;
/// Size of the control block; the data follow it.
pub(crate) const CONTROL_LEN: usize = 0x180;

/// The words by which data are announced and waited for.
const DATA: Places = Places {
    wish: DATA_WISH,
    promise: PRODUCER_PROMISE,
};
/// The words by which room is announced and waited for.
const SPACE: Places = Places {
    wish: SPACE_WISH,
    promise: CONSUMER_PROMISE,
};

/// The memory of one ring.
pub(crate) struct Ring<W: Words> {
    /// The words of the control block.
    words: W,
    /// What the frames are in.
    data: W::Circle,
    place: Place,
}

impl<W: Words> Ring<W> {
    /// Returns the ring whose control block is at the start of `words`; nothing if its data are not all there.
    pub(crate) fn new(words: W, place: Place) -> Option<Self> {
        let data = words.circle(CONTROL_LEN, place.size())?;
        Some(Self { words, data, place })
    }
}

impl<W: Words> fmt::Debug for Ring<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Ring");
        shown.field("place", &self.place).finish_non_exhaustive()
    }
}

/// A connection between one incarnation of a source and one of a destination, in one epoch of the region: the former in the
/// high half, the latter in the low, and the epoch on the 16 highest bits. 0 is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Session(u64);

impl Session {
    pub(crate) const fn new(source: u32, destination: u32) -> Self {
        Self((source as u64) << 32 | destination as u64)
    }

    /// Returns that of an epoch, which no other epoch has: incarnations may begin again where somebody has zeroed the slots.
    pub(crate) const fn of_epoch(self, epoch: u16) -> Self {
        Self(self.0 ^ (epoch as u64) << 48)
    }

    /// Returns the word.
    pub(crate) const fn word(self) -> u64 {
        self.0
    }

    /// Returns what tells its positions from those of others.
    pub(crate) const fn key(self) -> Key {
        Key::new((self.0 >> 32) as u32, self.0 as u32)
    }

    /// Begins the session on one side, whose session word is at `offset`; what else is written of that side's, `rest` writes.
    fn begin<W: Words, T>(self, words: &W, offset: usize, rest: impl FnOnce(&W) -> T) -> T {
        words.store(offset, 0, Ordering::Relaxed);
        words.fence(Ordering::SeqCst);
        let begun = rest(words);
        words.store(offset, self.0, Ordering::Release);
        begun
    }

    /// Returns whether the side whose session word is given is in this session. What it wrote before is seen.
    #[inline]
    fn is_at(self, word: &impl Word) -> bool {
        word.load(Ordering::Acquire) == self.0
    }
}

/// What keeps a ring from going on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RingError {
    /// The other side has begun another session.
    Restarted,
    /// The other side wrote what the protocol does not allow. The ring is given up.
    Corrupt,
}

impl fmt::Display for RingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Restarted => "the peer has restarted",
            Self::Corrupt => "the peer wrote what the protocol does not allow",
        })
    }
}

#[cfg(test)]
mod tests;
