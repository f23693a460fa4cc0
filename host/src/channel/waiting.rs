// SPDX-License-Identifier: MIT OR Apache-2.0
//! Waiting for messages or for room: first looking all the time, then asleep until rung.
//!
//! Looking costs the peer nothing. To be rung costs it a system call, and the one who sleeps the time to be woken, tens of
//! microseconds; so nobody asks for it before having looked for about as long.
//!
//! # One system call for a sleep
//!
//! A vector is an eventfd that the whole process has, and several halves may wait for the same one: each has [`Rings`] of its own.
//!
//! A sleep that ends by itself needs a timer, which costs half as much as all the rest of it. So a long one has none:
//! the [`Pulse`] of the member ends it with the next heartbeat. That is an eventfd which nobody else has, among the same [`Rings`]:
//! whatever others do to a vector, its mode or its counter, no sleep outlasts a heartbeat.

use std::hint;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use ivshmem::channel::Wait;

use super::pulse::Pulse;
use super::rings::Rings;
use crate::deadline::Deadline;

/// How many looks are made between two at the clock.
const LOOKS: u32 = 32;
/// After an eighth of the looking, but at least so much, others who wait for this processor get it: one of them may be the
/// peer. Who polls for long is left to the scheduler, which then moves one of the two elsewhere.
const TURN: Duration = Duration::from_micros(8);
/// The first nap of one whom nobody can ring, and the last and longest: each is twice the one before.
pub(super) const NAPS: (Duration, Duration) = (Duration::from_micros(50), Duration::from_millis(1));
/// The first nap of one who may not be rung this once. The next are longer, up to a heartbeat: a ring is missing only if
/// the peer was sending at the moment when this one began to sleep, and that is over after the first.
const DOZE: Duration = Duration::from_millis(1);

/// What a look has shown.
#[derive(Debug)]
pub(super) enum Look<T> {
    /// What was waited for.
    Found(T),
    /// A part of it: the rest is not far.
    Part,
    Nothing,
}

/// Something to wait for.
pub(super) trait Awaited {
    type Found;
    type Error;

    /// Looks whether it is there.
    fn look(&mut self) -> Result<Look<Self::Found>, Self::Error>;

    /// Asks to be woken for it.
    fn arm(&mut self) -> Result<Wait, Self::Error>;

    /// Says whether there is hope, when there is nothing.
    fn check(&self) -> Result<(), Self::Error>;
}

/// How one half of a connection waits.
#[derive(Debug)]
pub(crate) struct Waiter {
    /// The rings of the peer, none ever if it cannot ring, and the beats of the pulse.
    rings: Rings,
    is_rung: bool,
    spin: Duration,
    pulse: Arc<Pulse>,
}

impl Waiter {
    /// Creates one that is woken by `rings`, among which is `pulse`.
    pub(super) fn new(rings: Rings, spin: Duration, pulse: &Arc<Pulse>) -> Self {
        Self {
            rings,
            is_rung: false,
            spin,
            pulse: Arc::clone(pulse),
        }
    }

    /// Takes in whether the peer rings at all.
    pub(super) fn set_rung(&mut self, is_rung: bool) {
        self.is_rung = is_rung;
    }

    /// Sets for how long to look before sleeping.
    pub(super) const fn set_spin(&mut self, spin: Duration) {
        self.spin = spin;
    }

    /// Waits for at most `limit`.
    pub(super) fn wait<A: Awaited>(
        &self,
        awaited: &mut A,
        limit: Duration,
    ) -> Result<Option<A::Found>, A::Error> {
        // The usual case costs no look at the clock.
        if let Look::Found(found) = awaited.look()? {
            return Ok(Some(found));
        }
        let deadline = Deadline::after(limit);
        loop {
            match self.spin(awaited, deadline)? {
                Look::Found(found) => return Ok(Some(found)),
                Look::Part => {}
                Look::Nothing => match self.sleep(awaited, deadline)? {
                    Look::Found(found) => return Ok(Some(found)),
                    Look::Part => {}
                    Look::Nothing => return Ok(None),
                },
            }
            if deadline.remaining().is_zero() {
                return Ok(None);
            }
        }
    }

    /// Looks all the time, for the time that this is worth.
    fn spin<A: Awaited>(
        &self,
        awaited: &mut A,
        deadline: Deadline,
    ) -> Result<Look<A::Found>, A::Error> {
        if self.spin.is_zero() {
            return Ok(Look::Nothing);
        }
        let start = Instant::now();
        let spin = self.spin.min(deadline.remaining());
        let interval = TURN.max(self.spin / 8);
        let mut turn = interval;
        loop {
            for _ in 0..LOOKS {
                match awaited.look()? {
                    Look::Nothing => hint::spin_loop(),
                    look => return Ok(look),
                }
            }
            let elapsed = start.elapsed();
            if elapsed >= spin {
                return Ok(Look::Nothing);
            }
            if elapsed >= turn {
                turn = elapsed + interval;
                thread::yield_now();
            }
        }
    }

    /// Sleeps until there is something or the moment has come.
    fn sleep<A: Awaited>(
        &self,
        awaited: &mut A,
        deadline: Deadline,
    ) -> Result<Look<A::Found>, A::Error> {
        let (mut nap, longest) = self.naps();
        loop {
            let left = deadline.remaining();
            if left.is_zero() {
                // Who has no time to sleep is not rung.
                awaited.check()?;
                return Ok(Look::Nothing);
            }
            match awaited.arm()? {
                Wait::Ready => {}
                Wait::UntilRung if left >= self.pulse.interval() => {
                    awaited.check()?;
                    let _until_beat = self.pulse.join();
                    self.rings.sleep(None);
                }
                Wait::UntilRung => {
                    awaited.check()?;
                    self.rings.sleep(Some(left));
                }
                Wait::Briefly => {
                    awaited.check()?;
                    self.rings.sleep(Some(nap.min(left)));
                    nap = (2 * nap).min(longest);
                }
            }
            match awaited.look()? {
                Look::Nothing => {}
                look => return Ok(look),
            }
        }
    }

    /// Returns the first and the longest nap of one who may not be rung.
    pub(super) fn naps(&self) -> (Duration, Duration) {
        if self.is_rung {
            (DOZE, self.pulse.interval())
        } else {
            NAPS
        }
    }

    /// Returns the heartbeat that ends long sleeps.
    #[cfg(feature = "tokio")]
    pub(super) fn pulse(&self) -> &Pulse {
        &self.pulse
    }

    /// Takes in the rings up to now.
    pub(super) fn drain(&self) {
        self.rings.take();
    }

    /// Asks to be woken, for one who polls the descriptor itself.
    pub(super) fn arm<A: Awaited>(&self, awaited: &mut A) -> Result<Wait, A::Error> {
        // The rings up to now are for what has been looked at.
        self.drain();
        let wait = awaited.arm()?;
        if wait != Wait::Ready {
            awaited.check()?;
        }
        Ok(wait)
    }
}

impl AsFd for Waiter {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.rings.as_fd()
    }
}
