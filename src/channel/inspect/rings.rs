// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the control blocks of rings say: [`RingLook`].

use core::sync::atomic::Ordering;

use super::slots::is_bad;
use super::source::{Source, View};
use crate::channel::layout::Geometry;
use crate::channel::notify::POLLING;
use crate::channel::ring::{
    Key, Place, Session, CONSUMER_PROMISE, CONSUMER_SESSION, DATA_WISH, HEAD, PRODUCER_PROMISE,
    PRODUCER_SESSION, SPACE_WISH, TAIL,
};
use crate::channel::slot::{Phase, Slot, State};
use crate::channel::words::Loads;
use crate::channel::SlotIndex;

/// What is so far ahead, modulo 2^35, is behind.
pub(super) const FAR: u64 = 1 << 34;

/// The ring from one slot to another, as found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RingLook {
    /// Who writes there.
    pub from: SlotIndex,
    /// Who reads there.
    pub to: SlotIndex,
    /// Where it is, in bytes from the start of the region.
    pub offset: usize,
    /// Bytes of its data.
    pub size: usize,
    /// The side that writes.
    pub producer: Side,
    /// The side that reads.
    pub consumer: Side,
    /// The position behind all that is announced, in bytes modulo 2^35; nothing if the word is not one of the session between
    /// the two members.
    pub head: Option<u64>,
    /// The position up to which the room is free again, likewise.
    pub tail: Option<u64>,
    pub(super) words: Positions,
    pub(super) session: Session,
    ring_log2: u32,
    pub(super) slots: [State; 2],
    /// Whether a slot says nothing that can be gone by.
    pub(super) is_in_doubt: bool,
}

/// One side of a ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Side {
    /// The word of its session.
    pub session: u64,
    /// What the session is.
    pub standing: Standing,
    /// The word that says whether it looks, behind each of its publications, whether the other side wants to be rung: 1 if so, else 0.
    pub promise: u64,
    /// When it wants to be rung.
    pub wish: Wish,
}

/// What the session of a side is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Standing {
    /// None: the side was never connected.
    None,
    /// The one between the two incarnations that are in the slots.
    Current,
    /// Another one, mostly one from before.
    Other,
}

/// When a side wants to be rung.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Wish {
    /// Never: it looks by itself.
    Never,
    /// When the other side gets to this position, in bytes. One that has been passed is done with.
    At(u64),
}

/// How far the two members of a ring are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RingState {
    /// Nobody has ever used it.
    Blank,
    /// What is there is from before.
    Stale,
    /// The producer is connected, the consumer not yet.
    ProducerOnly,
    /// The consumer is connected, the producer not yet.
    ConsumerOnly,
    /// Both are connected.
    Connected,
    /// Both were connected, and one of them has left.
    Over,
}

/// Head and tail, as words, the latter before and after the former.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Positions {
    pub(super) tail_before: u64,
    pub(super) head: u64,
    pub(super) tail: u64,
}

impl RingLook {
    /// Returns how far the two members are.
    #[must_use]
    pub fn state(&self) -> RingState {
        let are_there = self.slots.iter().all(|slot| slot.phase == Phase::Member);
        match (self.producer.standing, self.consumer.standing) {
            (Standing::None, Standing::None) => RingState::Blank,
            (Standing::Current, Standing::Current) if are_there => RingState::Connected,
            (Standing::Current, Standing::Current) => RingState::Over,
            (Standing::Current, _) => RingState::ProducerOnly,
            (_, Standing::Current) => RingState::ConsumerOnly,
            _ => RingState::Stale,
        }
    }

    /// Returns the incarnations in the slots of the two, which are those of the members that are there or were there last.
    #[must_use]
    pub fn incarnations(&self) -> [u32; 2] {
        self.slots.map(|slot| slot.incarnation)
    }

    /// Returns how many bytes are between tail and head: frames with their headers that were announced and whose room was
    /// not given back. A receiver gives it back when it finds nothing more, or when it has received an eighth of the ring.
    #[must_use]
    pub fn used(&self) -> Option<usize> {
        let (head, tail) = (self.head?, self.first()?);
        let ahead = ahead(head, tail);
        // The tail may be known before the head.
        let ahead = if ahead >= FAR { 0 } else { ahead };
        usize::try_from(ahead)
            .ok()
            .filter(|&used| used <= self.size)
    }

    /// Returns whether the consumer sleeps until there is something, as far as it has said.
    #[must_use]
    pub fn consumer_sleeps(&self) -> bool {
        waits(self.consumer, self.head, self.size)
    }

    /// Returns whether the producer sleeps until there is room, as far as it has said.
    #[must_use]
    pub fn producer_sleeps(&self) -> bool {
        waits(self.producer, self.tail, self.size)
    }

    /// Returns the position of the first frame whose room was not given back, if the producer is connected.
    #[must_use]
    pub fn first(&self) -> Option<u64> {
        match (self.producer.standing, self.consumer.standing) {
            (Standing::Current, Standing::Current) => self.tail,
            // Nobody has given back anything yet, or has begun to while this was looked at.
            (Standing::Current, _) => Some(self.tail.unwrap_or(0)),
            _ => None,
        }
    }

    pub(super) const fn key(&self) -> Key {
        self.session.key()
    }

    pub(super) const fn place(&self) -> Place {
        Place::new(self.ring_log2)
    }
}

/// Returns by how many bytes one position is ahead of another, both modulo 2^35.
pub(super) const fn ahead(head: u64, tail: u64) -> u64 {
    head.wrapping_sub(tail) % (2 * FAR)
}

/// Returns whether a side waits for a position, where the other side is at one.
fn waits(side: Side, at: Option<u64>, size: usize) -> bool {
    match (side.standing, side.wish, at) {
        (Standing::Current, Wish::At(wish), Some(at)) => {
            (1..=size as u64).contains(&ahead(wish, at))
        }
        _ => false,
    }
}

/// Looks at the ring between two slots; nothing if a slot has changed meanwhile.
pub(super) fn look<S: Source + ?Sized>(
    words: View<'_, S>,
    geometry: Geometry,
    from: SlotIndex,
    to: SlotIndex,
) -> Option<RingLook> {
    let slots = [from, to].map(|slot| Slot::new(words, geometry.slot(slot.0), geometry.epoch));
    let states = || slots.map(|slot| slot.word());
    let before = states();
    let [source, destination] = before.map(|word| State::from_word(word, geometry.epoch));
    let session =
        Session::new(source.incarnation, destination.incarnation).of_epoch(geometry.epoch);
    let offset = geometry.ring(from.0, to.0);
    let load = |place| words.load(offset + place, Ordering::Acquire);
    let side = |at, promise, wish| {
        let session_word = load(at);
        Side {
            session: session_word,
            standing: match session_word {
                0 => Standing::None,
                word if word == session.word() => Standing::Current,
                _ => Standing::Other,
            },
            promise: load(promise),
            wish: match load(wish) {
                POLLING => Wish::Never,
                position => Wish::At(position),
            },
        }
    };
    // The sessions before the positions: who is seen to be connected has written those before.
    let producer = side(PRODUCER_SESSION, PRODUCER_PROMISE, SPACE_WISH);
    let consumer = side(CONSUMER_SESSION, CONSUMER_PROMISE, DATA_WISH);
    let positions = Positions {
        tail_before: load(TAIL),
        head: load(HEAD),
        tail: load(TAIL),
    };
    let key = session.key();
    let looked = RingLook {
        from,
        to,
        offset,
        size: 1 << geometry.ring_log2,
        producer,
        consumer,
        head: key.advance(positions.head, 0),
        tail: key.advance(positions.tail, 0),
        words: positions,
        session,
        ring_log2: geometry.ring_log2,
        slots: [source, destination],
        is_in_doubt: before.iter().any(|&word| is_bad(word, geometry.epoch)),
    };
    (before == states()).then_some(looked)
}
