// SPDX-License-Identifier: MIT OR Apache-2.0
//! Who else is there, as told by the events: [`Roster`].

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ivshmem::channel::{Event, EventKind, Evicted, Name, SlotIndex, SLOTS};
use ivshmem::PeerId;

/// How many events are kept for a program that does not ask for them.
const MOST_EVENTS: usize = 1024;

/// Another member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Neighbour {
    /// Its slot.
    pub slot: SlotIndex,
    /// Which life of the slot.
    pub incarnation: u32,
    /// Its name.
    pub name: Name,
    /// The ID of its device, where it can be rung, as it said when it joined.
    pub device: Option<PeerId>,
    /// Whether it shows signs of life. One that does not may come back, as long as nobody has taken its slot.
    pub lives: bool,
}

/// Who is dead, to be asked on each wait: for each slot the incarnation that is, or 0.
#[derive(Debug)]
pub(super) struct Dead(Vec<AtomicU32>);

impl Dead {
    fn new() -> Self {
        Self((0..=*SLOTS.end()).map(|_| AtomicU32::new(0)).collect())
    }

    fn set(&self, slot: SlotIndex, incarnation: u32) {
        if let Some(dead) = self.0.get(usize::from(slot.0)) {
            dead.store(incarnation, Ordering::Relaxed);
        }
    }

    pub(super) fn is(&self, slot: SlotIndex, incarnation: u32) -> bool {
        let dead = self.0.get(usize::from(slot.0));
        dead.is_some_and(|dead| dead.load(Ordering::Relaxed) == incarnation)
    }
}

/// Who else is there, and what the program was not told of yet.
#[derive(Debug)]
pub(super) struct Roster {
    known: Mutex<Known>,
    news: Condvar,
    dead: Arc<Dead>,
}

#[derive(Debug, Default)]
struct Known {
    neighbours: BTreeMap<SlotIndex, Neighbour>,
    events: VecDeque<Event>,
    evicted: bool,
}

impl Roster {
    pub(super) fn new() -> Self {
        Self {
            known: Mutex::default(),
            news: Condvar::new(),
            dead: Arc::new(Dead::new()),
        }
    }

    pub(super) const fn dead(&self) -> &Arc<Dead> {
        &self.dead
    }

    /// Takes in an event about a member with this device.
    pub(super) fn take(&self, event: Event, device: Option<PeerId>) {
        let mut known = self.lock();
        let slot = event.slot;
        match event.kind {
            EventKind::Joined | EventKind::Restarted => {
                known.neighbours.insert(
                    slot,
                    Neighbour {
                        slot,
                        incarnation: event.incarnation,
                        name: event.name,
                        device,
                        lives: true,
                    },
                );
                self.dead.set(slot, 0);
            }
            EventKind::Left => {
                known.neighbours.remove(&slot);
            }
            EventKind::Died => {
                if let Some(neighbour) = known.neighbours.get_mut(&slot) {
                    neighbour.lives = false;
                }
                self.dead.set(slot, event.incarnation);
            }
        }
        if known.events.len() == MOST_EVENTS {
            known.events.pop_front();
        }
        known.events.push_back(event);
        self.news.notify_all();
    }

    /// Takes in that this member has lost its slot.
    pub(super) fn end(&self) {
        self.lock().evicted = true;
        self.news.notify_all();
    }

    pub(super) fn neighbours(&self) -> Vec<Neighbour> {
        self.lock().neighbours.values().copied().collect()
    }

    /// Returns the oldest event that was not returned yet; all of them before the end.
    pub(super) fn next_event(&self) -> Result<Option<Event>, Evicted> {
        let mut known = self.lock();
        match known.events.pop_front() {
            None if known.evicted => Err(Evicted),
            event => Ok(event),
        }
    }

    /// Waits for something to happen, at most for `limit`.
    pub(super) fn wait(&self, limit: Duration) {
        let known = self.lock();
        if known.events.is_empty() && !known.evicted {
            // Whether it was woken or not, the caller looks again.
            drop(self.news.wait_timeout(known, limit));
        }
    }

    /// Nothing panics while it holds the lock.
    fn lock(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
