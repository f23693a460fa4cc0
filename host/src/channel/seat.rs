// SPDX-License-Identifier: MIT OR Apache-2.0
//! The member, shared by the thread that keeps it alive and those that connect: [`Seat`].

use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use ivshmem::channel::{ConnectError, Echo, Endpoint, Evicted, Member, SlotIndex, Wait};
use ivshmem::PeerId;

use super::ground::Bell;
use super::hearing::{Address, Hearing};
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
    hearing: Hearing,
    attachment: Mutex<Attachment>,
    clock: Clock,
    roster: Roster,
}

/// How it stands between a member and a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Attachment {
    /// There is no server, only memory.
    None,
    /// The member is in the group of a server, as this peer.
    Joined(PeerId),
    /// The server is gone. The member goes on, and joins the next one when it is there.
    Orphaned,
    /// The next server has other memory, so the member has left the region.
    Superseded,
}

/// What there is to be done, in a line.
impl fmt::Display for Attachment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => write!(f, "without a server"),
            Self::Joined(id) => write!(f, "peer {id} of the server"),
            Self::Orphaned => write!(
                f,
                "the server is gone; channels go on, and the next one is joined when it is there"
            ),
            Self::Superseded => write!(
                f,
                "the server was started again with other memory; join again"
            ),
        }
    }
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

/// Where a member is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    pub(super) slot: SlotIndex,
    pub(super) incarnation: u32,
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
        address: Address,
        clock: Clock,
        pings: Pings,
    ) -> Self {
        let place = Place {
            slot: member.slot(),
            incarnation: member.incarnation(),
        };
        let hearing = Hearing::new(bell.doorbells().clone(), address);
        let attachment = address.0.map_or(Attachment::None, Attachment::Joined);
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
            hearing,
            attachment: Mutex::new(attachment),
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

    pub(super) const fn hearing(&self) -> &Hearing {
        &self.hearing
    }

    pub(super) fn attachment(&self) -> Attachment {
        *self
            .attachment
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn set_attachment(&self, attachment: Attachment) {
        *self
            .attachment
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = attachment;
    }

    /// Takes in where the member is rung, which others are told if it is elsewhere than before.
    pub(super) fn move_to(&self, address: Address) {
        // First it hears, then it is said.
        if self.hearing.move_to(address) {
            if let Some(seated) = self.lock().as_mut() {
                seated.member.set_address(address.0, address.1);
            }
        }
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
