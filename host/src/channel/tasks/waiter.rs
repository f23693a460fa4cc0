// SPDX-License-Identifier: MIT OR Apache-2.0
//! Waiting for messages or for room as a task: [`Waiter`].
//!
//! The order is that of a thread: look, ask to be rung with another look, sleep. Rings are edges in an `epoll` of the half's own, and stay
//! there until somebody takes them, whether a future is there that waits or was dropped meanwhile. They are taken after a
//! sleep and before the next look, never between a look and the sleep.

use std::io;
use std::time::Duration;

use ivshmem::channel::Wait;
use tokio::io::unix::AsyncFd;
use tokio::task::{coop, yield_now};
use tokio::time::timeout;

use crate::channel::waiting::{self, Awaited, Look};
use crate::readiness::{register, Held};

/// How one half of a connection waits.
#[derive(Debug)]
pub(super) struct Waiter(AsyncFd<Held<waiting::Waiter>>);

impl Waiter {
    /// Registers with the reactor of the current runtime.
    pub(super) fn new(waiter: waiting::Waiter) -> io::Result<Self> {
        register(waiter).map(Self)
    }

    /// Takes in whether the peer rings at all.
    pub(super) fn set_rung(&mut self, is_rung: bool) {
        self.0.get_mut().0.set_rung(is_rung);
    }

    /// Waits for as long as there is hope.
    pub(super) async fn wait<A: Awaited>(&self, awaited: &mut A) -> Result<A::Found, A::Error> {
        let waiter = &self.0.get_ref().0;
        let (mut nap, longest) = waiter.naps();
        loop {
            // Before the look: what is found is returned in the same turn.
            coop::consume_budget().await;
            match awaited.look()? {
                Look::Found(found) => return Ok(found),
                Look::Part => continue,
                Look::Nothing => {}
            }
            match awaited.arm()? {
                Wait::Ready => {}
                Wait::UntilRung => {
                    awaited.check()?;
                    let _until_beat = waiter.pulse().join();
                    self.sleep().await;
                }
                Wait::Briefly => {
                    awaited.check()?;
                    self.nap(nap).await;
                    nap = (2 * nap).min(longest);
                }
            }
        }
    }

    /// Sleeps as [`Waiter::sleep`] does, for at most `limit`.
    async fn nap(&self, limit: Duration) {
        // Whether rung or not, the caller looks.
        let _ = timeout(limit, self.sleep()).await;
    }

    /// Sleeps until the peer rings, or has rung since the last time, or the pulse beats.
    async fn sleep(&self) {
        match self.0.readable().await {
            Ok(mut ready) => {
                // In this order: a ring that comes in between makes it ready again.
                self.0.get_ref().0.drain();
                ready.clear_ready();
            }
            // The runtime is shutting down, and drops this task at the next turn.
            Err(_) => yield_now().await,
        }
    }
}
