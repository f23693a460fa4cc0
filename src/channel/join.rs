// SPDX-License-Identifier: MIT OR Apache-2.0
//! Becoming a member: [`Joining`].

use core::fmt;
use core::task::Poll;

use super::member::{Member, Seat};
use super::name::{Identity, Name};
use super::region::{Region, Table};
use super::slot::{Phase, State};
use super::watch::{Motion, Pulse, Stopwatch, MAX_SLOTS};
use super::words::Words;
use crate::registers::PeerId;

/// How a member introduces itself.
#[derive(Clone, Copy, Debug)]
pub struct Introduction {
    /// Its name. One that was there under this name and stands still is replaced. Several may have the same name.
    pub name: Name,
    /// Its ivshmem device's ID, where it can be rung.
    pub device: Option<PeerId>,
    /// How many vectors it listens to; 0 for one that polls.
    pub vectors: u16,
    /// For how many ticks of its own clock another's heartbeat may stand still before that one counts as dead.
    pub limit: u64,
}

impl<'m> Region<'m> {
    /// Begins to join: call [`Joining::poll`] until it is done.
    #[must_use]
    pub fn join(self, introduction: Introduction) -> Joining<'m> {
        Joining {
            candidate: Candidate::new(introduction),
            region: self,
        }
    }
}

/// A member to be.
///
/// It is done at the first poll if a slot is free and nobody of its name is there. Else one of the slots has to stand
/// still for the limit: that of its own name, which it takes over, or if all are taken any. Like the [`Member`] it becomes,
/// it is large: 6 KiB.
#[derive(Debug)]
pub struct Joining<'m> {
    region: Region<'m>,
    candidate: Candidate,
}

impl<'m> Joining<'m> {
    /// Tries to join. `now` is the time in ticks of the caller's clock. Poll several times within the limit.
    ///
    /// # Errors
    ///
    /// - [`JoinError::Reformatted`]: the region was formatted anew since it was opened.
    /// - [`JoinError::Full`]: all slots are taken, and each has shown signs of life within the limit. It may
    ///   be polled further.
    pub fn poll(&mut self, now: u64) -> Poll<Result<Member<'m>, JoinError>> {
        let seated = self.candidate.poll(&self.region.table(), now);
        seated.map_ok(|seat| Member::new(self.region, seat))
    }
}

/// A slot's life as one sees it who wants a slot.
#[derive(Clone, Copy, Debug)]
struct Rival {
    pulse: Pulse,
    /// Whether it was seen to move.
    alive: bool,
}

/// One who wants a slot.
#[derive(Debug)]
pub(super) struct Candidate {
    introduction: Introduction,
    stopwatch: Stopwatch,
    rivals: [Rival; MAX_SLOTS],
}

/// What can be done about a slot.
enum Choice {
    Take(u16, State),
    /// A namesake may be dead.
    Wait,
    /// All are taken.
    None,
}

impl Candidate {
    pub(super) fn new(introduction: Introduction) -> Self {
        let rival = Rival {
            pulse: Pulse::default(),
            alive: false,
        };
        Self {
            stopwatch: Stopwatch::new(introduction.limit),
            introduction,
            rivals: [rival; MAX_SLOTS],
        }
    }

    pub(super) fn poll<W: Words>(
        &mut self,
        table: &Table<W>,
        now: u64,
    ) -> Poll<Result<Seat, JoinError>> {
        if !table.is_current() {
            return Poll::Ready(Err(JoinError::Reformatted));
        }
        let waited = self.stopwatch.advance(now);
        match self.choose(table, waited) {
            // Unless somebody was faster; there may be another.
            Choice::Take(slot, state) => match self.claim(table, slot, state) {
                Some(seat) => Poll::Ready(Ok(seat)),
                None => Poll::Pending,
            },
            // A slot that was not seen to move is dead by now, so all have moved.
            Choice::None if waited > self.introduction.limit => Poll::Ready(Err(JoinError::Full {
                slots: table.geometry.slots,
            })),
            Choice::Wait | Choice::None => Poll::Pending,
        }
    }

    /// Looks which slot to take.
    fn choose<W: Words>(&mut self, table: &Table<W>, time: u64) -> Choice {
        let mut free = None;
        let mut dead = None;
        let mut namesake = false;
        for (index, rival) in (0..table.geometry.slots).zip(&mut self.rivals) {
            let slot = table.slot(index);
            let (state, beat) = slot.look();
            if state.phase == Phase::Free {
                // Of one that was left a moment ago the last messages may not have been received yet.
                let used = |(_, state): &(u16, State)| state.incarnation;
                free = free.into_iter().chain([(index, state)]).min_by_key(used);
                continue;
            }
            let motion = rival.pulse.look(state.incarnation, beat, time);
            let still = matches!(motion, Motion::Still(ticks) if ticks > self.introduction.limit);
            rival.alive = match motion {
                Motion::New => false,
                Motion::Moved => true,
                Motion::Still(_) => rival.alive && !still,
            };
            let same = slot
                .identity(state)
                .is_some_and(|identity| identity.name == self.introduction.name);
            if still && same {
                return Choice::Take(index, state);
            }
            if still {
                dead = dead.or(Some((index, state)));
            }
            // A namesake that was seen to move is another one, and alive.
            namesake |= same && !rival.alive;
        }
        match free.or(dead) {
            _ if namesake => Choice::Wait,
            Some((index, state)) => Choice::Take(index, state),
            None => Choice::None,
        }
    }

    fn claim<W: Words>(&self, table: &Table<W>, index: u16, seen: State) -> Option<Seat> {
        let slot = table.slot(index);
        let claimed = slot.claim(seen)?;
        let identity = Identity {
            device: self.introduction.device.map(|device| device.0),
            vectors: self.introduction.vectors,
            name: self.introduction.name,
        };
        slot.beat(claimed, 1);
        slot.show(claimed, &identity);
        let state = slot.advance(claimed, Phase::Member)?;
        Some(Seat::new(index, state, identity, self.introduction.limit))
    }
}

/// Why one could not join.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum JoinError {
    /// The region was formatted anew; open it again.
    Reformatted,
    /// All slots are taken by members that live.
    Full {
        /// How many there are.
        slots: u16,
    },
}

impl fmt::Display for JoinError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Reformatted => write!(f, "the region was formatted anew meanwhile; open it again"),
            Self::Full { slots } => write!(
                f,
                "all {slots} slots of the region are taken; format it anew with more, or let somebody leave"
            ),
        }
    }
}
