// SPDX-License-Identifier: MIT OR Apache-2.0
//! What becomes of an event between a peer's doorbell and the device: [`Course`].

use std::collections::BTreeMap;

use crate::descriptor::Eventfd;

/// How long a delayed event takes, in ticks.
const DELAY: u32 = 7;
/// How long an event waits for others that overtake it.
const GATHERING: u32 = 3;

/// A fault of the way, or none. Events are eventfds that were rung, so all of them coalesce while they wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Course {
    /// Taken in at the next tick.
    Prompt,
    /// Taken in after each access of the driver, so in the middle of whatever it does.
    AtOnce,
    /// Taken in ticks later, with all that the vector was rung for meanwhile.
    Delayed,
    /// Taken in twice.
    Doubled,
    /// Taken in, and again a tick later.
    Repeated,
    /// One vector at a time, the highest first, whichever was rung first.
    Reordered,
    /// Every other one is lost, beginning with the first.
    Lossy,
}

impl Course {
    pub const FAULTS: [Self; 6] = [
        Self::AtOnce,
        Self::Delayed,
        Self::Doubled,
        Self::Repeated,
        Self::Reordered,
        Self::Lossy,
    ];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Prompt => "prompt",
            Self::AtOnce => "at-once",
            Self::Delayed => "delayed",
            Self::Doubled => "doubled",
            Self::Repeated => "repeated",
            Self::Reordered => "reordered",
            Self::Lossy => "lossy",
        }
    }
}

/// An own vector and the counter read from its eventfd.
pub type Event = (u16, u64);

/// The events of one device on their way.
#[derive(Debug)]
pub struct Traffic {
    course: Course,
    /// The eventfds that the device watches, by vector.
    watched: BTreeMap<u16, Eventfd>,
    /// Since when a vector has been waiting.
    since: BTreeMap<u16, u32>,
    again: Vec<Event>,
    taken: u32,
}

impl Traffic {
    pub const fn new(course: Course) -> Self {
        Self {
            course,
            watched: BTreeMap::new(),
            since: BTreeMap::new(),
            again: Vec::new(),
            taken: 0,
        }
    }

    pub const fn course(&self) -> Course {
        self.course
    }

    /// Watches an eventfd; a vector is given once.
    pub fn watch(&mut self, vector: u16, event: Eventfd) {
        let before = self.watched.insert(vector, event);
        assert!(before.is_none(), "vector {vector} was watched already");
    }

    /// Returns whether nothing is on its way.
    pub fn is_idle(&self) -> bool {
        self.again.is_empty() && self.watched.values().all(|event| !event.is_rung())
    }

    /// Returns what reaches the device at tick `now`.
    pub fn arrivals(&mut self, now: u32) -> Vec<Event> {
        let mut arrivals = std::mem::take(&mut self.again);
        for (&vector, event) in &self.watched {
            if event.is_rung() {
                self.since.entry(vector).or_insert(now);
            }
        }
        for vector in self.due(now) {
            self.since.remove(&vector);
            let event = (vector, self.watched[&vector].take());
            self.taken += 1;
            match self.course {
                Course::Lossy if self.taken % 2 == 1 => {}
                Course::Doubled => arrivals.extend([event, event]),
                Course::Repeated => {
                    arrivals.push(event);
                    self.again.push(event);
                }
                _ => arrivals.push(event),
            }
        }
        arrivals
    }

    /// Returns the waiting vectors whose time has come.
    fn due(&self, now: u32) -> Vec<u16> {
        let waited = |least: u32| move |(_, since): &(&u16, &u32)| now - **since >= least;
        let waiting = self.since.iter();
        match self.course {
            Course::Delayed => waiting.filter(waited(DELAY)).map(|(&v, _)| v).collect(),
            Course::Reordered if !self.since.iter().any(|entry| waited(GATHERING)(&entry)) => {
                Vec::new()
            }
            Course::Reordered => waiting.last().map(|(&v, _)| v).into_iter().collect(),
            _ => waiting.map(|(&v, _)| v).collect(),
        }
    }
}
