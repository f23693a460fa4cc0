// SPDX-License-Identifier: MIT OR Apache-2.0
//! Whose turn it is to be sent something, and what each of the others waits for.
//!
//! One that joins or leaves is news for everybody: with 1,000 clients of 8 vectors a join is 16,000
//! messages, tens of milliseconds of work. Newcomers must not wait for that, nor a client
//! with little to hear for one with much. So clients stand in a line: whoever is at the
//! front is sent a few messages and, if it has more to hear and room for it, goes to the end. The
//! server looks for newcomers and departures after every slice of some turns.
//!
//! Not in the line are those with nothing to hear, those whose send buffer is full (the kernel tells
//! when there is room), and those for whom the kernel was short of something (tried again after a
//! while). So a client that does not read costs nothing but its queue.

use std::collections::VecDeque;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use ivshmem::PeerId;
use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use rustix::event::Timespec;
use rustix::io::retry_on_intr;

use super::client::{Client, Wait};

/// How long to wait before sending again what the kernel had no room for.
pub(super) const RETRY_INTERVAL: Duration = Duration::from_millis(20);

/// The most events taken at once.
const EVENTS: usize = 64;

/// The line, and the connections that are watched.
#[derive(Debug)]
pub(super) struct Turns {
    epoll: OwnedFd,
    line: VecDeque<PeerId>,
    short: Vec<PeerId>,
    /// When to try again with those in `short`.
    retry_at: Option<Instant>,
}

impl Turns {
    pub(super) fn new() -> rustix::io::Result<Self> {
        Ok(Self {
            epoll: epoll::create(CreateFlags::CLOEXEC)?,
            line: VecDeque::new(),
            short: Vec::new(),
            retry_at: None,
        })
    }

    /// Watches the connection of the new client `peer` until [`Turns::leave`].
    pub(super) fn enter(&self, peer: PeerId, socket: &OwnedFd) -> rustix::io::Result<()> {
        epoll::add(&self.epoll, socket, token(peer), EventFlags::IN)
    }

    /// Forgets the connection of a client that is gone.
    ///
    /// To close the connection is not enough: another process may have been handed it.
    pub(super) fn leave(&self, client: &Client) {
        // It is watched, so this cannot fail.
        let _ = epoll::delete(&self.epoll, client);
    }

    /// Forgets who stood in the line, when nobody is there any more.
    pub(super) fn clear(&mut self) {
        self.line.clear();
        self.short.clear();
        self.retry_at = None;
    }

    /// Returns whether somebody can be sent something now.
    pub(super) fn is_due(&self) -> bool {
        !self.line.is_empty()
    }

    /// Returns whether [`Turns::retry`] should be called after [`RETRY_INTERVAL`].
    pub(super) fn wants_retry(&self) -> bool {
        self.retry_at.is_some()
    }

    /// Puts `client` at the end of the line, if it has something to hear and can be sent it.
    ///
    /// To be called whenever its queue has grown or its wait is over.
    pub(super) fn line_up(&mut self, peer: PeerId, client: &mut Client) {
        if !client.in_line && client.wait() == Wait::Nothing && !client.queue.is_empty() {
            client.in_line = true;
            self.line.push_back(peer);
        }
    }

    /// Returns the client at the front of the line, which leaves it.
    pub(super) fn next(&mut self) -> Option<PeerId> {
        self.line.pop_front()
    }

    /// Gives `client`, which has just been sent something, its place.
    pub(super) fn place(&mut self, peer: PeerId, client: &mut Client) {
        match client.wait() {
            Wait::Nothing => self.line_up(peer, client),
            Wait::Room => {
                let events = EventFlags::IN | EventFlags::OUT;
                // Cannot fail, but if it did the client would wait for ever.
                if epoll::modify(&self.epoll, &*client, token(peer), events).is_err() {
                    self.put_off(peer);
                }
            }
            Wait::Kernel => self.put_off(peer),
        }
    }

    fn put_off(&mut self, peer: PeerId) {
        self.short.push(peer);
        self.retry_at
            .get_or_insert_with(|| Instant::now() + RETRY_INTERVAL);
    }

    /// Lets `client`, for which there is room again, line up.
    pub(super) fn resume(&mut self, peer: PeerId, client: &mut Client) {
        // As in `place`; if it failed, events would come for nothing.
        let _ = epoll::modify(&self.epoll, &*client, token(peer), EventFlags::IN);
        client.end_wait();
        self.line_up(peer, client);
    }

    /// Returns those who have waited long enough for the kernel; each is to be lined up again.
    pub(super) fn retry(&mut self) -> Vec<PeerId> {
        if self.retry_at.is_none_or(|at| Instant::now() < at) {
            return Vec::new();
        }
        self.retry_at = None;
        std::mem::take(&mut self.short)
    }

    /// Returns some of the events at the connections, without waiting; the next call has others.
    pub(super) fn events(&self) -> rustix::io::Result<Vec<(PeerId, EventFlags)>> {
        let mut events = Vec::<Event>::with_capacity(EVENTS);
        let now = Timespec::default();
        retry_on_intr(|| epoll::wait(&self.epoll, spare_capacity(&mut events), Some(&now)))?;
        let ids = |event: Event| Some((PeerId(u16::try_from(event.data.u64()).ok()?), event.flags));
        Ok(events.into_iter().filter_map(ids).collect())
    }
}

impl AsFd for Turns {
    /// Returns a descriptor that is readable while there are events at the connections.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.epoll.as_fd()
    }
}

fn token(peer: PeerId) -> EventData {
    EventData::new_u64(u64::from(peer.0))
}
