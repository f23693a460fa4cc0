// SPDX-License-Identifier: MIT OR Apache-2.0
//! The heartbeat, as those who sleep feel it: [`Pulse`].

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use rustix::event::{eventfd, EventfdFlags};
use rustix::io::Errno;

use crate::eventfd as vector;

/// Ends every long sleep of a member's halves with the next heartbeat.
#[derive(Debug)]
pub(super) struct Pulse {
    beats: OwnedFd,
    sleepers: AtomicUsize,
    interval: Duration,
}

impl Pulse {
    pub(super) fn new(interval: Duration) -> Result<Self, Errno> {
        Ok(Self {
            beats: eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?,
            sleepers: AtomicUsize::new(0),
            interval,
        })
    }

    /// Returns the time between two beats.
    pub(super) const fn interval(&self) -> Duration {
        self.interval
    }

    /// Has the next beat end a sleep, until what this returns is dropped.
    pub(super) fn join(&self) -> Sleeper<'_> {
        // Who is not seen by a beat yet is by the next.
        self.sleepers.fetch_add(1, Ordering::Relaxed);
        Sleeper(&self.sleepers)
    }

    /// Wakes those who sleep, if there are any.
    pub(super) fn beat(&self) {
        if self.sleepers.load(Ordering::Relaxed) > 0 {
            self.wake();
        }
    }

    /// Wakes everybody, and those too who are about to sleep.
    pub(super) fn wake(&self) {
        // The counter is this process's alone, and nobody lives to see it full.
        let _ = vector::ring(&self.beats);
    }
}

/// One who sleeps until the next beat at most.
#[derive(Debug)]
pub(super) struct Sleeper<'p>(&'p AtomicUsize);

impl Drop for Sleeper<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl AsFd for Pulse {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.beats.as_fd()
    }
}
