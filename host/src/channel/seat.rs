// SPDX-License-Identifier: MIT OR Apache-2.0
//! The member, shared by the thread that keeps it alive and those that connect: [`Seat`].

use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use ivshmem::channel::{ConnectError, Echo, Endpoint, Evicted, Member, SlotIndex, Wait};
use ivshmem::{PeerId, VectorIndex};

use super::ground::Bell;
use super::options::Pings;
use super::roster::Roster;

/// Those who ping at once and are answered.
pub(super) const PINGERS: usize = 8;

/// A member, and what it knows of others.
#[derive(Debug)]
pub(super) struct Seat {
    /// `None` once it has left.
    member: Mutex<Option<Seated>>,
    /// Keeps mapped what the member is in.
    bell: Bell,
    place: Place,
    clock: Clock,
    roster: Roster,
}

/// The member, and what answers those who ping it, if they are answered.
#[derive(Debug)]
struct Seated {
    member: Member<'static>,
    echo: Option<Echo<'static, Bell, PINGERS>>,
}

/// How it stands with those who ping.
#[derive(Debug)]
pub(super) struct Answered {
    pub(super) wait: Wait,
    /// Who they are.
    pub(super) slots: [Option<SlotIndex>; PINGERS],
    /// Whether all of them can ring.
    pub(super) is_rung: bool,
    /// How many of their messages were sent back so far.
    pub(super) answered: u64,
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
        pings: Pings,
    ) -> Self {
        let place = Place {
            slot: member.slot(),
            incarnation: member.incarnation(),
            device,
            vectors,
        };
        Self {
            member: Mutex::new(Some(Seated {
                member,
                echo: match pings {
                    Pings::Answered => Some(Echo::new()),
                    Pings::Ignored => None,
                },
            })),
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
        let mut seated = self.lock();
        let now = self.clock.now();
        loop {
            // In this order too the events are told, since the lock is held.
            let Some(Seated { member, echo }) = seated.as_mut() else {
                return Err(Evicted);
            };
            match member.poll_event(now) {
                Ok(Some(event)) => {
                    let is_ping = echo
                        .as_mut()
                        .is_some_and(|echo| echo.take(member, &event, self.bell.clone()));
                    if !is_ping {
                        self.roster.take(event, member.device_of(event.slot));
                    }
                }
                Ok(None) => return Ok(()),
                Err(Evicted) => {
                    self.roster.end();
                    return Err(Evicted);
                }
            }
        }
    }

    /// Answers a bounded number of pings; nothing if there is nobody who might ping.
    pub(super) fn answer(&self) -> Option<Answered> {
        let mut seated = self.lock();
        let echo = seated.as_mut()?.echo.as_mut()?;
        let wait = echo.poll();
        Some(Answered {
            wait,
            slots: echo.slots(),
            is_rung: echo.is_rung(),
            answered: echo.answered(),
        })
    }

    pub(super) fn connect(&self, slot: SlotIndex) -> Result<Endpoint<'static, Bell>, ConnectError> {
        let mut seated = self.lock();
        let seated = seated.as_mut().ok_or(ConnectError::Evicted)?;
        seated.member.connect(slot, self.bell.clone())
    }

    pub(super) const fn bell(&self) -> &Bell {
        &self.bell
    }

    /// Returns the eventfd that the member in `slot` rings; nothing if it cannot ring this one.
    pub(super) fn vector_for(&self, slot: SlotIndex) -> Option<Arc<OwnedFd>> {
        let vector = slot.0.checked_rem(self.place.vectors)?;
        let device = self.place.device?;
        self.bell.doorbells().find(device, VectorIndex(vector))
    }

    pub(super) fn leave(&self) {
        if let Some(seated) = self.lock().take() {
            seated.member.leave();
        }
        self.roster.end();
    }

    /// Nothing panics while it holds the lock.
    fn lock(&self) -> MutexGuard<'_, Option<Seated>> {
        self.member.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
