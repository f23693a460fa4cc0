// SPDX-License-Identifier: MIT OR Apache-2.0
//! Time limits that survive repeated and interrupted waits.

use std::time::{Duration, Instant};

use rustix::event::{poll, PollFd, Timespec};
use rustix::io::Errno;

/// A moment after which waiting ends.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Deadline {
    /// `None` is a moment further away than the clock can say.
    at: Option<Instant>,
}

impl Deadline {
    /// Returns the moment `limit` from now.
    pub(crate) fn after(limit: Duration) -> Self {
        Self {
            at: Instant::now().checked_add(limit),
        }
    }

    /// Returns the time left, zero if the moment has passed.
    pub(crate) fn remaining(self) -> Duration {
        self.at.map_or(Duration::MAX, |at| {
            at.saturating_duration_since(Instant::now())
        })
    }

    /// Polls `fds` until one is ready or the moment has come, and returns how many are ready.
    pub(crate) fn poll(self, fds: &mut [PollFd<'_>]) -> rustix::io::Result<usize> {
        loop {
            match poll(fds, timespec(self.remaining()).as_ref()) {
                Err(Errno::INTR) => {}
                other => return other,
            }
        }
    }
}

/// Converts a time limit for `poll`, which takes `None` for one that it cannot express.
pub(crate) fn timespec(limit: Duration) -> Option<Timespec> {
    Timespec::try_from(limit).ok()
}
