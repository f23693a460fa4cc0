// SPDX-License-Identifier: MIT OR Apache-2.0
//! The member, shared by the thread that keeps it alive and those that connect: [`Seat`].

use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use ivshmem::channel::{ConnectError, Endpoint, Evicted, Member, SlotIndex};
use ivshmem::{PeerId, VectorIndex};

use super::ground::Bell;
use super::roster::Roster;

/// A member, and what it knows of others.
#[derive(Debug)]
pub(super) struct Seat {
    /// `None` once it has left.
    member: Mutex<Option<Member<'static>>>,
    /// Keeps mapped what the member is in.
    bell: Bell,
    place: Place,
    clock: Clock,
    roster: Roster,
}

/// Where a member is and how it is rung.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    pub(super) slot: SlotIndex,
    pub(super) incarnation: u32,
    pub(super) device: Option<PeerId>,
    pub(super) vectors: u16,
}

/// A clock whose ticks are microseconds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock(Instant);

impl Clock {
    pub(super) fn start() -> Self {
        Self(Instant::now())
    }

    pub(super) fn now(self) -> u64 {
        u64::try_from(self.0.elapsed().as_micros()).unwrap_or(u64::MAX)
    }
}

impl Seat {
    pub(super) fn new(
        member: Member<'static>,
        bell: Bell,
        (device, vectors): (Option<PeerId>, u16),
        clock: Clock,
    ) -> Self {
        let place = Place {
            slot: member.slot(),
            incarnation: member.incarnation(),
            device,
            vectors,
        };
        Self {
            member: Mutex::new(Some(member)),
            bell,
            place,
            clock,
            roster: Roster::new(),
        }
    }

    pub(super) const fn place(&self) -> &Place {
        &self.place
    }

    pub(super) const fn roster(&self) -> &Roster {
        &self.roster
    }

    /// Shows that the member lives, and takes in what has happened to others.
    pub(super) fn look(&self) -> Result<(), Evicted> {
        let mut member = self.lock();
        let now = self.clock.now();
        loop {
            // In this order too the events are told, since the lock is held.
            let event = member
                .as_mut()
                .ok_or(Evicted)
                .and_then(|m| m.poll_event(now));
            match event {
                Ok(Some(event)) => self.roster.take(event),
                Ok(None) => return Ok(()),
                Err(Evicted) => {
                    self.roster.end();
                    return Err(Evicted);
                }
            }
        }
    }

    pub(super) fn connect(&self, slot: SlotIndex) -> Result<Endpoint<'static, Bell>, ConnectError> {
        let mut member = self.lock();
        let member = member.as_mut().ok_or(ConnectError::Evicted)?;
        member.connect(slot, self.bell.clone())
    }

    /// Returns the eventfd that the member in `slot` rings; nothing if it cannot ring this one.
    pub(super) fn vector_for(&self, slot: SlotIndex) -> Option<Arc<OwnedFd>> {
        let vector = slot.0.checked_rem(self.place.vectors)?;
        let device = self.place.device?;
        self.bell.doorbells().find(device, VectorIndex(vector))
    }

    pub(super) fn leave(&self) {
        if let Some(member) = self.lock().take() {
            member.leave();
        }
        self.roster.end();
    }

    /// Nothing panics while it holds the lock.
    fn lock(&self) -> MutexGuard<'_, Option<Member<'static>>> {
        self.member.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
