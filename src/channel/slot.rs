// SPDX-License-Identifier: MIT OR Apache-2.0
//! A slot: the words by which one member shows that it is there.
//!
//! Only the state word decides who has a slot, and it is only ever exchanged. All other words are plainly stored by
//! the one who has it, or *thinks* that it has: a member may be stopped between its look at the state and its store,
//! lose the slot, and store when it goes on. So each of these words carries the incarnation it belongs to in its high
//! half: what a predecessor stores late is nobody's, and the owner [puts it right](Slot::show) at its next beat.

use core::sync::atomic::Ordering;

use super::name::{Identity, Name, NAME_LEN};
use super::words::{Loads, Words};

const STATE: usize = 0x00;
const HEARTBEAT: usize = 0x08;
const ADDRESS: usize = 0x10;
const NAME: usize = 0x18;

/// Bytes of the name in each of its words.
const PIECE: usize = 4;

/// What the state word says.
///
/// | bits | |
/// | --- | --- |
/// | 0 to 7 | phase |
/// | 8 | 1: the slot was free when it was taken, so the incarnation before had left, or there was none |
/// | 9 to 15 | 0 |
/// | 16 to 31 | epoch of the geometry |
/// | 32 to 63 | incarnation, not 0 |
///
/// A word of another epoch is one of before the region was formatted anew: nobody is there. Its incarnation counts
/// on all the same, so that no ring of before is taken for one of now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct State {
    pub(crate) phase: Phase,
    pub(crate) origin: Origin,
    pub(crate) epoch: u16,
    pub(crate) incarnation: u32,
}

/// How far a member is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Nobody, or somebody who has left.
    Free,
    /// Somebody is writing down who it is.
    Claimed,
    /// A member.
    Member,
}

/// How the slot was when it was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// It was somebody's who stood still.
    Robbed,
    /// It was nobody's.
    Vacant,
}

impl State {
    pub(crate) const fn word(self) -> u64 {
        let phase = match self.phase {
            Phase::Free => 0,
            Phase::Claimed => 1,
            Phase::Member => 2,
        };
        let origin = match self.origin {
            Origin::Robbed => 0,
            Origin::Vacant => 1 << 8,
        };
        phase | origin | (self.epoch as u64) << 16 | (self.incarnation as u64) << 32
    }

    /// Reads a word; what has no meaning, and what is of another epoch, is nobody.
    pub(crate) const fn from_word(word: u64, epoch: u16) -> Self {
        let state = Self {
            phase: match word as u8 {
                1 => Phase::Claimed,
                2 => Phase::Member,
                _ => Phase::Free,
            },
            origin: if word & 1 << 8 == 0 {
                Origin::Robbed
            } else {
                Origin::Vacant
            },
            epoch,
            incarnation: (word >> 32) as u32,
        };
        if state.word() == word && state.incarnation != 0 {
            return state;
        }
        Self {
            phase: Phase::Free,
            origin: Origin::Robbed,
            ..state
        }
    }
}

/// Returns the incarnation after this one. 0 is none.
pub(crate) const fn next_incarnation(incarnation: u32) -> u32 {
    match incarnation.checked_add(1) {
        Some(next) => next,
        None => 1,
    }
}

/// One slot of a region.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Slot<W> {
    words: W,
    at: usize,
    epoch: u16,
}

impl<W: Loads> Slot<W> {
    pub(crate) const fn new(words: W, at: usize, epoch: u16) -> Self {
        Self { words, at, epoch }
    }

    /// Returns the word of the state.
    pub(crate) fn word(&self) -> u64 {
        self.words.load(self.at + STATE, Ordering::Acquire)
    }

    /// Returns the state, and the heartbeat if it is of the same incarnation.
    pub(crate) fn look(&self) -> (State, Option<u32>) {
        let state = State::from_word(self.word(), self.epoch);
        (state, self.heartbeat(state))
    }

    /// Returns the heartbeat if it is of the incarnation of `state`.
    pub(crate) fn heartbeat(&self, state: State) -> Option<u32> {
        self.get(HEARTBEAT, state)
    }

    /// Returns whether `state` is still what the slot says.
    pub(crate) fn is(&self, state: State) -> bool {
        self.words.load(self.at + STATE, Ordering::Relaxed) == state.word()
    }

    /// Returns who the member is whose state was `seen`; nothing if that cannot be read, for now or any more.
    pub(crate) fn identity(&self, seen: State) -> Option<Identity> {
        let address = self.address(seen)?;
        let mut name = [0; NAME_LEN];
        for (index, piece) in name.chunks_exact_mut(PIECE).enumerate() {
            let half = self.get(NAME + 8 * index, seen)?;
            piece.copy_from_slice(&half.to_le_bytes());
        }
        Some(Identity::from_parts(address, Name(name)))
    }

    /// Returns where the member is rung whose state was `seen`, as [`Identity::address`] says it, under the same condition.
    pub(crate) fn address(&self, seen: State) -> Option<u32> {
        self.get(ADDRESS, seen)
    }

    /// Returns the first word of the member in `state` that is of another incarnation, with its offset in the slot.
    pub(crate) fn strange_word(&self, state: State) -> Option<(usize, u64)> {
        let name = (0..NAME_LEN / PIECE).map(|index| NAME + 8 * index);
        [HEARTBEAT, ADDRESS]
            .into_iter()
            .chain(name)
            .map(|offset| (offset, self.words.load(self.at + offset, Ordering::Relaxed)))
            .find(|&(_, word)| (word >> 32) as u32 != state.incarnation)
    }

    fn get(&self, offset: usize, state: State) -> Option<u32> {
        let word = self.words.load(self.at + offset, Ordering::Relaxed);
        ((word >> 32) as u32 == state.incarnation).then_some(word as u32)
    }
}

impl<W: Words> Slot<W> {
    /// Finds the word of the state.
    pub(crate) fn state(&self) -> W::Word {
        self.words.word(self.at + STATE)
    }

    /// Takes the slot, which was looked at as `seen`, for a new incarnation, which it returns unless somebody
    /// else was faster.
    pub(crate) fn claim(&self, seen: State) -> Option<State> {
        let current = self.words.load(self.at + STATE, Ordering::Relaxed);
        if State::from_word(current, self.epoch) != seen {
            return None;
        }
        let claimed = State {
            phase: Phase::Claimed,
            origin: match seen.phase {
                Phase::Free => Origin::Vacant,
                Phase::Claimed | Phase::Member => Origin::Robbed,
            },
            epoch: self.epoch,
            incarnation: next_incarnation(seen.incarnation),
        };
        self.words
            .compare_exchange(self.at + STATE, current, claimed.word())
            .ok()
            .map(|()| claimed)
    }

    /// Goes on from one state to another of the same incarnation, unless the slot was taken away.
    pub(crate) fn advance(&self, from: State, phase: Phase) -> Option<State> {
        let to = State { phase, ..from };
        self.words
            .compare_exchange(self.at + STATE, from.word(), to.word())
            .ok()
            .map(|()| to)
    }

    /// Shows that the member in `state` lives.
    pub(crate) fn beat(&self, state: State, count: u32) {
        self.put(HEARTBEAT, state, count);
    }

    /// Shows who the member in `state` is, wherever it is not what the slot says already.
    pub(crate) fn show(&self, state: State, identity: &Identity) {
        for (offset, half) in identity_words(identity) {
            if self.get(offset, state) != Some(half) {
                self.put(offset, state, half);
            }
        }
    }

    fn put(&self, offset: usize, state: State, half: u32) {
        let word = u64::from(state.incarnation) << 32 | u64::from(half);
        self.words.store(self.at + offset, word, Ordering::Relaxed);
    }
}

/// Returns the low halves of the words that say who somebody is, with their offsets.
fn identity_words(identity: &Identity) -> impl Iterator<Item = (usize, u32)> + '_ {
    let pieces = identity.name.0.chunks_exact(PIECE).enumerate();
    let name = pieces.map(|(index, piece)| {
        let half = piece
            .iter()
            .rev()
            .fold(0, |half, &byte| half << 8 | u32::from(byte));
        (NAME + 8 * index, half)
    });
    core::iter::once((ADDRESS, identity.address())).chain(name)
}
