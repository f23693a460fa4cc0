// SPDX-License-Identifier: MIT OR Apache-2.0
//! Where a task sleeps until a doorbell rings: [`Signal`].

use core::sync::atomic::{AtomicBool, Ordering};
use core::task::{Context, Waker};

use atomic_waker::AtomicWaker;

use super::endpoint::Wait;

/// Where one task sleeps that waits for a peer.
///
/// Have one for each task that waits, typically a `static`, and [notify](Self::notify) it from the handler of the
/// interrupt. It carries no message: a notification wakes the task, which then looks into the shared memory. So it does not
/// matter how many there are, or for whom a handler notifies a task too many.
///
/// A task may wait for several things with one signal, say in a `select`. Tasks that run at the same time need one each.
/// Parts of a task that have wakers of their own, as in a `FuturesUnordered`, are best given one each too: with one for all
/// they wake each other in turn, so that nothing is lost but the task does not sleep.
///
/// # When no ring may come
///
/// Where one of the two has no doorbell, before the peer has connected, and until the next message when one begins to
/// sleep that was polling, a task cannot rely on being rung ([`Wait::Briefly`]). By default it then asks its executor to
/// be polled again after the others, which keeps the CPU busy. Where something notifies every so often, say each tick of
/// a timer, make the signal with [`Signal::ticking`]: the task sleeps, and looks at each tick.
#[derive(Debug)]
pub struct Signal {
    waker: AtomicWaker,
    /// Whether a notification has found nobody to wake: nobody was waiting, or the waker was just being replaced.
    missed: AtomicBool,
    ticks: bool,
    looks: u32,
}

impl Signal {
    /// Makes a signal that is notified when the interrupt comes.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            waker: AtomicWaker::new(),
            missed: AtomicBool::new(false),
            ticks: false,
            looks: 0,
        }
    }

    /// Makes a signal that is notified every so often too, whatever happens; say each millisecond. A task sleeps for as
    /// long as that where no ring may come.
    #[must_use]
    pub const fn ticking() -> Self {
        let mut signal = Self::new();
        signal.ticks = true;
        signal
    }

    /// Lets a task look `looks` more times, with its turn given to others in between, before it sleeps. Meanwhile
    /// nobody has to ring for it.
    #[must_use]
    pub const fn spinning(mut self, looks: u32) -> Self {
        self.looks = looks;
        self
    }

    /// Wakes the task that waits, if one does.
    ///
    /// Call it when the interrupt has come, when the task that calls
    /// [`Member::poll_event`](super::Member::poll_event) has got an event, since a peer that has gone does not ring, and at
    /// each tick of a [ticking](Self::ticking) signal.
    ///
    /// It is lock-free and may be called from anywhere at any time, as in an interrupt handler, as far as the wakers
    /// of the executor may.
    pub fn notify(&self) {
        let waker = self.waker.take().or_else(|| {
            self.missed.store(true, Ordering::Release);
            // Who has registered since may have looked whether one was missed before.
            self.waker.take()
        });
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Returns how often to look before sleeping.
    pub(super) const fn looks(&self) -> u32 {
        self.looks
    }

    /// Has the task woken from now on. It has to look once more before it sleeps.
    pub(super) fn register(&self, waker: &Waker) {
        // Parts of one task may have wakers of their own: each has to have its look.
        if let Some(displaced) = self.waker.take() {
            if !displaced.will_wake(waker) {
                displaced.wake();
            }
        }
        self.waker.register(waker);
        // One that has come while the waker was out may be for another part of this task, which looks no more.
        if self.missed.swap(false, Ordering::AcqRel) {
            waker.wake_by_ref();
        }
    }

    /// Is called when a task that has registered has nothing to do but to wait.
    pub(super) fn sleep(&self, context: &Context<'_>, wait: Wait) {
        let is_woken = match wait {
            Wait::Ready => false,
            Wait::UntilRung => true,
            Wait::Briefly => self.ticks,
        };
        if !is_woken {
            context.waker().wake_by_ref();
        }
    }
}

impl Default for Signal {
    fn default() -> Self {
        Self::new()
    }
}
