// SPDX-License-Identifier: MIT OR Apache-2.0
//! Watching the slots of others: [`Event`].

use core::fmt;

use super::name::{Identity, Name};
use super::region::Table;
use super::slot::{next_incarnation, Origin, Phase, Slot, State};
use super::words::Words;

/// Most slots of a region.
pub(crate) const MAX_SLOTS: usize = 256;

/// The number of a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SlotIndex(pub u16);

impl fmt::Display for SlotIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Something that happened to another member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event {
    /// Its slot.
    pub slot: SlotIndex,
    /// Which life of the slot: each new member of a slot has the next number.
    pub incarnation: u32,
    /// Its name; empty if it has gone and another is in its slot already.
    pub name: Name,
    /// What happened.
    pub kind: EventKind,
}

/// The kinds of event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EventKind {
    /// It is there, or shows signs of life again.
    Joined,
    /// It has left.
    Left,
    /// Its heartbeat has stood still for the limit, or another has taken its slot because of that.
    Died,
    /// It is there in a new incarnation, and was not seen to leave the old one.
    Restarted,
}

/// The time that an observer has been watching, in ticks of its clock.
///
/// An observer that was stopped itself, perhaps together with all others, has seen nothing meanwhile: one step counts
/// for at most half the limit. A clock that goes back stands still.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stopwatch {
    pub(super) limit: u64,
    last: Option<u64>,
    time: u64,
}

impl Stopwatch {
    pub(super) const fn new(limit: u64) -> Self {
        Self {
            limit,
            last: None,
            time: 0,
        }
    }

    pub(super) fn advance(&mut self, now: u64) -> u64 {
        let step = now.saturating_sub(self.last.unwrap_or(now));
        self.last = Some(now);
        self.time = self.time.saturating_add(step.min(self.limit / 2 + 1));
        self.time
    }
}

/// What was last seen of a slot's life.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Pulse {
    incarnation: u32,
    beat: u32,
    since: u64,
}

/// What a look at a pulse has shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Motion {
    /// This incarnation was not seen before.
    New,
    /// It has moved since the last look.
    Moved,
    /// It has stood still for so many ticks.
    Still(u64),
}

impl Pulse {
    pub(super) fn look(&mut self, incarnation: u32, beat: Option<u32>, time: u64) -> Motion {
        // A heartbeat of another incarnation is not one.
        let beat = beat.unwrap_or(self.beat);
        let motion = if self.incarnation != incarnation {
            Motion::New
        } else if self.beat != beat {
            Motion::Moved
        } else {
            return Motion::Still(time.saturating_sub(self.since));
        };
        *self = Self {
            incarnation,
            beat,
            since: time,
        };
        motion
    }
}

/// What the caller knows of a slot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Told {
    /// Nobody is there.
    #[default]
    Nobody,
    /// A member is there.
    Member,
    /// A member was there and is dead.
    Dead,
}

/// A slot as an observer knows it.
#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    pulse: Pulse,
    /// Of which incarnation the caller was told.
    incarnation: u32,
    /// The mark of its name.
    name: u16,
    told: Told,
}

impl Seen {
    fn look<W: Words>(
        &mut self,
        slot: &Slot<W>,
        time: u64,
        limit: u64,
    ) -> Option<(EventKind, u32, Name)> {
        let (state, beat) = slot.look();
        let motion = self.pulse.look(state.incarnation, beat, time);
        let still = matches!(motion, Motion::Still(ticks) if ticks > limit);
        if self.told == Told::Nobody {
            return self.welcome(state, present(slot, state));
        }
        if state.incarnation != self.incarnation {
            return self.replace(state, slot, still);
        }
        let name = || {
            slot.identity(state)
                .map_or(Name::UNKNOWN, |identity| identity.name)
        };
        match (self.told, state.phase) {
            (_, Phase::Free) => self.bury(EventKind::Left, name()),
            (Told::Dead, Phase::Member) if motion == Motion::Moved => {
                self.told = Told::Member;
                Some((EventKind::Joined, self.incarnation, name()))
            }
            (Told::Member, _) if still => {
                self.told = Told::Dead;
                Some((EventKind::Died, self.incarnation, name()))
            }
            _ => None,
        }
    }

    /// Tells of a member that has come.
    fn welcome(
        &mut self,
        state: State,
        identity: Option<Identity>,
    ) -> Option<(EventKind, u32, Name)> {
        let name = identity?.name;
        let kind = match self.told {
            Told::Nobody => EventKind::Joined,
            Told::Member | Told::Dead => EventKind::Restarted,
        };
        self.told = Told::Member;
        self.incarnation = state.incarnation;
        self.name = name.mark();
        Some((kind, self.incarnation, name))
    }

    /// Tells that the one who was there is not any more, unless that is known.
    fn bury(&mut self, kind: EventKind, name: Name) -> Option<(EventKind, u32, Name)> {
        let told = core::mem::replace(&mut self.told, Told::Nobody);
        (told == Told::Member).then_some((kind, self.incarnation, name))
    }

    /// Tells what has become of a slot that has another incarnation than was told.
    fn replace<W: Words>(
        &mut self,
        state: State,
        slot: &Slot<W>,
        still: bool,
    ) -> Option<(EventKind, u32, Name)> {
        let next = state.incarnation == next_incarnation(self.incarnation);
        if next && state.origin == Origin::Vacant {
            return self.bury(EventKind::Left, Name::UNKNOWN);
        }
        if state.phase == Phase::Free {
            return self.bury(EventKind::Died, Name::UNKNOWN);
        }
        match present(slot, state) {
            Some(identity) if identity.name.mark() == self.name => {
                self.welcome(state, Some(identity))
            }
            Some(_) => self.bury(EventKind::Died, Name::UNKNOWN),
            // A namesake may be about to come; if it dies on the way, so has the one before.
            None if still && self.told == Told::Member => {
                self.told = Told::Dead;
                Some((EventKind::Died, self.incarnation, Name::UNKNOWN))
            }
            None => None,
        }
    }
}

/// Returns who the member in a slot is.
fn present<W: Words>(slot: &Slot<W>, state: State) -> Option<Identity> {
    match state.phase {
        Phase::Member => slot.identity(state),
        Phase::Free | Phase::Claimed => None,
    }
}

/// All slots as an observer knows them.
#[derive(Debug)]
pub(super) struct Watch {
    stopwatch: Stopwatch,
    seen: [Seen; MAX_SLOTS],
    /// The slot that is looked at next.
    next: u16,
}

impl Watch {
    pub(super) const fn new(limit: u64) -> Self {
        const UNSEEN: Seen = Seen {
            pulse: Pulse {
                incarnation: 0,
                beat: 0,
                since: 0,
            },
            incarnation: 0,
            name: 0,
            told: Told::Nobody,
        };
        Self {
            stopwatch: Stopwatch::new(limit),
            seen: [UNSEEN; MAX_SLOTS],
            next: 0,
        }
    }

    /// Returns the next thing that has happened, but to `own`, and nothing at the end of each round. So a round ends,
    /// however often somebody changes its slot.
    pub(super) fn poll<W: Words>(&mut self, table: &Table<W>, own: u16, now: u64) -> Option<Event> {
        let time = self.stopwatch.advance(now);
        let limit = self.stopwatch.limit;
        let slots = table.geometry.slots;
        while self.next < slots {
            let index = self.next;
            self.next += 1;
            let seen = self
                .seen
                .get_mut(usize::from(index))
                .filter(|_| index != own);
            let happened = seen.and_then(|seen| seen.look(&table.slot(index), time, limit));
            if let Some((kind, incarnation, name)) = happened {
                return Some(Event {
                    slot: SlotIndex(index),
                    incarnation,
                    name,
                    kind,
                });
            }
        }
        self.next = 0;
        None
    }
}
