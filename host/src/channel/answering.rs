// SPDX-License-Identifier: MIT OR Apache-2.0
//! Answering those who ping, beside keeping the member alive: [`Answering`].

use std::time::Duration;

use ivshmem::channel::{SlotIndex, Wait};
use rustix::event::{PollFd, PollFlags};

use super::rings::Rings;
use super::seat::Seat;
use super::waiting::NAPS;

/// What the thread that keeps a member alive has to wake up for, but for the heart.
#[derive(Debug)]
pub(super) struct Answering {
    /// The rings of those who ping. One whose vector is not known, or for whom there is no descriptor, has none.
    rings: Vec<(SlotIndex, Option<Rings>)>,
    answered: u64,
    nap: Duration,
}

impl Answering {
    pub(super) const fn new() -> Self {
        Self {
            rings: Vec::new(),
            answered: 0,
            nap: NAPS.0,
        }
    }

    /// Answers a bounded number of pings, and returns for how long to wait for a ring before the next call. At most `longest`.
    pub(super) fn answer(&mut self, seat: &Seat, longest: Duration) -> Duration {
        for rings in self.rings() {
            rings.take();
        }
        let Some(state) = seat.answer() else {
            return longest;
        };
        self.follow(seat, state.slots.into_iter().flatten());
        let has_answered = state.answered != self.answered;
        self.answered = state.answered;
        match state.wait {
            Wait::Ready => Duration::ZERO,
            // What was rung before there were rings to wait for ends the first wait.
            Wait::UntilRung => longest,
            Wait::Briefly => {
                if has_answered {
                    self.nap = NAPS.0;
                }
                let nap = self.nap.min(longest);
                let most = if state.is_rung { longest } else { NAPS.1 };
                self.nap = (2 * nap).min(most);
                nap
            }
        }
    }

    /// Has rings for those in `slots`, and for nobody else.
    fn follow(&mut self, seat: &Seat, slots: impl Iterator<Item = SlotIndex> + Clone) {
        self.rings
            .retain(|(known, _)| slots.clone().any(|slot| slot == *known));
        for slot in slots {
            if self.rings.iter().all(|(known, _)| *known != slot) {
                let rings = seat.hearing().listen(slot, []);
                self.rings.push((slot, rings.ok()));
            }
        }
    }

    fn rings(&self) -> impl Iterator<Item = &Rings> {
        self.rings.iter().filter_map(|(_, rings)| rings.as_ref())
    }

    /// Returns what to poll for.
    pub(super) fn fds(&self) -> impl Iterator<Item = PollFd<'_>> {
        self.rings().map(|rings| PollFd::new(rings, PollFlags::IN))
    }
}
