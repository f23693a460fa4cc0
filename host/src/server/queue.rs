// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a client has still to be told.
//!
//! A client that does not read must neither hold up the others nor make the server's
//! memory grow, and it must not be cut off either: QEMU reads late when its main
//! loop is busy or stopped, and 7.2 spins for ever if the connection closes
//! before the shared memory has come. So the queue is bounded by what it holds:
//!
//! - A peer is one entry, however many vectors it has.
//! - When a peer leaves, what is left of its entry goes. The client is told of the
//!   leaving only if it was told of the joining.
//!
//! Bound: the version, ID and memory, at most one entry for each connected client, and
//! at most [`MAX_CLIENTS`](super::limits::MAX_CLIENTS) departures. For the last: take the
//! oldest departure in the queue, of a peer that left at the time t. Another
//! peer whose departure is in the queue left after t, and some of its entry has been sent.
//! Had it joined after t, its entry would stand behind the oldest departure and none of
//! it would have been sent. So all of them were connected at t.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use ivshmem::PeerId;
use serde::{Deserialize, Serialize};

use crate::protocol::{MEMORY, VERSION};

/// The eventfds of one client, shared by the client and the queues that announce it.
#[derive(Debug)]
pub(super) struct Vectors {
    pub(super) id: PeerId,
    pub(super) eventfds: Vec<OwnedFd>,
}

/// An entry. A departure is looked for in up to a thousand queues of a thousand entries, so
/// they are small, and the ID stands in the entry itself.
#[derive(Debug)]
enum Entry {
    Number(i64),
    Memory(Arc<OwnedFd>),
    /// Invariants: `id` is that of `of`; `next` is the index of an eventfd of `of`.
    Peer {
        id: PeerId,
        next: u16,
        of: Arc<Vectors>,
    },
}

const _: () = assert!(size_of::<Entry>() == 16);

/// A queue on its way from one server to another.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct SavedQueue {
    sent: u64,
    entries: Vec<SavedEntry>,
}

/// An [`Entry`] on its way.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
enum SavedEntry {
    #[serde(rename = "n")]
    Number(i64),
    #[serde(rename = "m")]
    Memory,
    /// The peer, and which of its vectors is next.
    #[serde(rename = "p")]
    Peer(u16, u16),
}

/// Room for entries that an empty queue keeps.
const QUIET_ENTRIES: usize = 64;

/// Messages of a greeting: version, ID and memory.
pub(super) const GREETING: usize = 3;

/// Messages to one client, in order.
#[derive(Debug)]
pub(super) struct Queue {
    entries: VecDeque<Entry>,
    /// Messages sent so far.
    sent: u64,
}

impl Queue {
    /// Creates the queue of the new client `id`: version, ID and memory.
    pub(super) fn greeting(id: PeerId, memory: Arc<OwnedFd>) -> Self {
        Self {
            entries: VecDeque::from([
                Entry::Number(VERSION),
                Entry::Number(i64::from(id.0)),
                Entry::Memory(memory),
            ]),
            sent: 0,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Describes it.
    pub(super) fn save(&self) -> SavedQueue {
        let entries = self.entries.iter().map(|entry| match entry {
            Entry::Number(number) => SavedEntry::Number(*number),
            Entry::Memory(_) => SavedEntry::Memory,
            Entry::Peer { id, next, .. } => SavedEntry::Peer(id.0, *next),
        });
        SavedQueue {
            sent: self.sent,
            entries: entries.collect(),
        }
    }

    /// Makes one as it was described, about `peers`; nothing if it is about others.
    pub(super) fn restore(
        saved: SavedQueue,
        memory: &Arc<OwnedFd>,
        peers: &BTreeMap<PeerId, Arc<Vectors>>,
    ) -> Option<Self> {
        let entries = saved.entries.into_iter().map(|entry| match entry {
            SavedEntry::Number(number) => Some(Entry::Number(number)),
            SavedEntry::Memory => Some(Entry::Memory(Arc::clone(memory))),
            SavedEntry::Peer(id, next) => {
                let id = PeerId(id);
                let of = peers.get(&id)?;
                (usize::from(next) < of.eventfds.len()).then(|| Entry::Peer {
                    id,
                    next,
                    of: Arc::clone(of),
                })
            }
        });
        Some(Self {
            sent: saved.sent,
            entries: entries.collect::<Option<_>>()?,
        })
    }

    /// Returns how many entries there are, each of one message or more.
    pub(super) fn entries(&self) -> usize {
        self.entries.len()
    }

    /// Returns how many messages wait, in a time that grows with the entries.
    pub(super) fn waiting(&self) -> usize {
        let messages = self.entries.iter().map(|entry| match entry {
            Entry::Number(_) | Entry::Memory(_) => 1,
            Entry::Peer { of, next, .. } => of.eventfds.len() - usize::from(*next),
        });
        messages.sum()
    }

    /// Returns how many messages have been sent.
    pub(super) const fn sent(&self) -> u64 {
        self.sent
    }

    /// Adds the vectors of a peer, or of the client itself.
    pub(super) fn announce(&mut self, of: &Arc<Vectors>) {
        if !of.eventfds.is_empty() {
            self.entries.push_back(Entry::Peer {
                id: of.id,
                next: 0,
                of: Arc::clone(of),
            });
        }
    }

    /// Withdraws what has not been sent about `peer`, and adds that it left if anything was.
    ///
    /// `peer` must have been announced, and not be withdrawn already.
    pub(super) fn withdraw(&mut self, peer: PeerId) {
        let entry = self
            .entries
            .iter()
            .position(|entry| matches!(entry, Entry::Peer { id, .. } if *id == peer));
        let removed = entry.and_then(|index| self.entries.remove(index));
        let unheard_of = matches!(removed, Some(Entry::Peer { next: 0, .. }));
        if !unheard_of {
            self.entries.push_back(Entry::Number(i64::from(peer.0)));
        }
    }

    /// Withdraws all of `peers`, in one pass over the queue.
    ///
    /// Each must have been announced, and not be withdrawn already.
    pub(super) fn withdraw_all(&mut self, mut peers: BTreeSet<PeerId>) {
        self.entries.retain(|entry| match entry {
            Entry::Peer { id, next: 0, .. } => !peers.remove(id),
            Entry::Peer { id, .. } => !peers.contains(id),
            Entry::Number(_) | Entry::Memory(_) => true,
        });
        let departures = peers.iter().map(|peer| Entry::Number(i64::from(peer.0)));
        self.entries.extend(departures);
    }

    /// Returns the number and descriptor of the message to be sent next.
    pub(super) fn front(&self) -> Option<(i64, Option<BorrowedFd<'_>>)> {
        Some(match self.entries.front()? {
            Entry::Number(number) => (*number, None),
            Entry::Memory(memory) => (MEMORY, Some(memory.as_fd())),
            Entry::Peer { id, next, of } => (
                i64::from(id.0),
                Some(of.eventfds[usize::from(*next)].as_fd()),
            ),
        })
    }

    /// Notes that the message at the front has been sent.
    pub(super) fn advance(&mut self) {
        self.sent += 1;
        if let Some(Entry::Peer { next, of, .. }) = self.entries.front_mut() {
            *next += 1;
            if usize::from(*next) < of.eventfds.len() {
                return;
            }
        }
        self.entries.pop_front();
        if self.entries.is_empty() && self.entries.capacity() > QUIET_ENTRIES {
            // A newcomer's queue is as long as there are clients, and then almost always empty.
            self.entries = VecDeque::new();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::event::{eventfd, EventfdFlags};

    fn vectors(id: u16, count: usize) -> Arc<Vectors> {
        let eventfds = (0..count)
            .map(|_| eventfd(0, EventfdFlags::CLOEXEC).unwrap())
            .collect();
        Arc::new(Vectors {
            id: PeerId(id),
            eventfds,
        })
    }

    /// Sends the next `limit` messages and returns them as (number, has a descriptor).
    fn send(queue: &mut Queue, limit: usize) -> Vec<(i64, bool)> {
        let mut sent = Vec::new();
        while sent.len() < limit {
            let Some((number, descriptor)) = queue.front() else {
                break;
            };
            sent.push((number, descriptor.is_some()));
            queue.advance();
        }
        sent
    }

    fn greeted() -> Queue {
        let memory = Arc::new(eventfd(0, EventfdFlags::CLOEXEC).unwrap());
        let mut queue = Queue::greeting(PeerId(7), memory);
        let greeting = [(0, false), (7, false), (-1, true)];
        assert_eq!(send(&mut queue, 3), greeting);
        queue
    }

    #[test]
    fn a_peer_that_left_unannounced_is_never_mentioned() {
        let mut queue = greeted();
        queue.announce(&vectors(8, 2));
        queue.announce(&vectors(9, 1));
        queue.withdraw(PeerId(8));
        assert_eq!(send(&mut queue, 9), [(9, true)]);
    }

    #[test]
    fn a_peer_that_left_half_announced_gets_its_departure_only() {
        let mut queue = greeted();
        queue.announce(&vectors(8, 3));
        assert_eq!(send(&mut queue, 1), [(8, true)]);
        assert_eq!(queue.waiting(), 2);
        queue.withdraw(PeerId(8));
        assert_eq!(queue.waiting(), 1);
        assert_eq!(send(&mut queue, 9), [(8, false)]);
        assert_eq!((queue.waiting(), queue.sent()), (0, 5));
    }

    #[test]
    fn a_peer_announced_in_full_gets_its_departure_in_order() {
        let mut queue = greeted();
        queue.announce(&vectors(8, 2));
        assert_eq!(send(&mut queue, 2), [(8, true), (8, true)]);
        queue.announce(&vectors(9, 1));
        queue.withdraw(PeerId(8));
        assert_eq!(send(&mut queue, 9), [(9, true), (8, false)]);
    }

    #[test]
    fn an_empty_queue_keeps_no_room_for_a_crowd() {
        let mut queue = greeted();
        for id in 100..1100 {
            queue.announce(&vectors(id, 1));
        }
        assert_eq!(send(&mut queue, 2000).len(), 1000);
        assert!(queue.entries.capacity() <= QUIET_ENTRIES);
    }

    #[test]
    fn when_all_others_leave_only_those_heard_of_are_mentioned() {
        let mut queue = greeted();
        for (id, count) in [(3, 2), (4, 3), (7, 2), (8, 1)] {
            queue.announce(&vectors(id, count));
        }
        assert_eq!(send(&mut queue, 3), [(3, true), (3, true), (4, true)]);
        queue.withdraw(PeerId(3));
        queue.withdraw_all(BTreeSet::from([4, 8].map(PeerId)));
        let rest = [(7, true), (7, true), (3, false), (4, false)];
        assert_eq!(send(&mut queue, 9), rest);
    }

    #[test]
    fn a_client_that_stops_reading_costs_no_more_than_the_bound() {
        const CLIENTS: u16 = 10;
        let mut queue = greeted();
        let mut longest = 0;
        let mut random = 1_u32;
        let mut connected: VecDeque<u16> = VecDeque::new();
        for id in 100..3000 {
            if connected.len() == usize::from(CLIENTS) {
                random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                let leaver = (random >> 16) as usize % connected.len();
                queue.withdraw(PeerId(connected.remove(leaver).unwrap()));
            }
            queue.announce(&vectors(id, 2));
            connected.push_back(id);
            // Now and then one message gets through, which is the worst case.
            if random & (1 << 20) == 0 {
                send(&mut queue, 1);
            }
            longest = longest.max(queue.entries.len());
        }
        assert!(longest > usize::from(CLIENTS), "departures were queued");
        assert!(longest <= 2 * usize::from(CLIENTS), "{longest} entries");
    }
}
