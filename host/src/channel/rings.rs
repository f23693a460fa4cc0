// SPDX-License-Identifier: MIT OR Apache-2.0
//! Waiting for several eventfds at once, whatever their counters are: [`Rings`].
//!
//! They are in an `epoll`, edge-triggered: every ring is an edge for everybody who waits, whatever the counter is, so nobody
//! has to read it, and nobody takes another's ring away. An edge stays until somebody waits here, so one that comes between
//! a last look at the memory and the sleep ends the sleep.

use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Weak};
use std::thread;
use std::time::Duration;

use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use rustix::event::{PollFd, PollFlags};
use rustix::io::Errno;

use crate::deadline::{timespec, Deadline};

/// The longest pause where there should be a wait.
const PAUSE: Duration = Duration::from_millis(1);

/// Sleeps shorter than this end at the microsecond, for one system call more.
const FINE: Duration = Duration::from_millis(2);

/// Eventfds of which somebody waits for the next ring of any.
#[derive(Debug)]
pub(super) struct Rings(Arc<OwnedFd>);

/// How many of them are asked for at once: two vectors or more only after servers have been ended.
const MOST: usize = 8;

impl Rings {
    /// Begins to wait. What has been rung and not been read by anybody counts as rung once more.
    pub(super) fn of<'f>(
        eventfds: impl IntoIterator<Item = BorrowedFd<'f>>,
    ) -> Result<Self, Errno> {
        let rings = Self(Arc::new(epoll::create(CreateFlags::CLOEXEC)?));
        for eventfd in eventfds {
            rings.add(eventfd)?;
        }
        Ok(rings)
    }

    /// Waits for another one as well.
    pub(super) fn add(&self, eventfd: BorrowedFd<'_>) -> Result<(), Errno> {
        let flags = EventFlags::IN | EventFlags::ET;
        match epoll::add(&self.0, eventfd, EventData::new_u64(0), flags) {
            // It is one of them already.
            Err(Errno::EXIST) => Ok(()),
            added => added,
        }
    }

    /// Returns what [`Rings::upgrade`] finds them by, as long as somebody waits.
    pub(super) fn downgrade(&self) -> Weak<OwnedFd> {
        Arc::downgrade(&self.0)
    }

    /// Finds them.
    pub(super) fn upgrade(weak: &Weak<OwnedFd>) -> Option<Self> {
        weak.upgrade().map(Self)
    }

    /// Sleeps until one is rung, or has been since the last time, but not for longer than `limit`.
    pub(super) fn sleep(&self, limit: Option<Duration>) {
        match limit {
            // `epoll` counts in milliseconds.
            Some(nap) if !nap.is_zero() && nap < FINE => {
                let mut fds = [PollFd::new(&self.0, PollFlags::IN)];
                match Deadline::after(nap).poll(&mut fds) {
                    Ok(0) => {}
                    Ok(_) => self.take(),
                    Err(_) => thread::sleep(nap),
                }
            }
            limit => self.wait(limit),
        }
    }

    /// Forgets the rings so far.
    pub(super) fn take(&self) {
        self.wait(Some(Duration::ZERO));
    }

    /// Does so in one system call.
    fn wait(&self, limit: Option<Duration>) {
        let mut events = [MaybeUninit::<Event>::uninit(); MOST];
        match epoll::wait(&self.0, &mut events[..], limit.and_then(timespec).as_ref()) {
            Ok(_) | Err(Errno::INTR) => {}
            // It is a descriptor of our own, so this does not happen; it must not become a loop without a pause if it does.
            Err(_) => thread::sleep(limit.unwrap_or(PAUSE).min(PAUSE)),
        }
    }
}

/// A descriptor that is readable once something was rung.
impl AsFd for Rings {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
