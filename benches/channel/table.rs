// SPDX-License-Identifier: MIT OR Apache-2.0
//! What is measured, in which order, and what has to come of it.

use std::time::Duration;

use crate::bare::{Slot, Stream};
use crate::case::{Case, Contender, Motion, Rig};
use crate::cores::{Cores, Placement};
use crate::others::{ArrayQueue, Bbqueue, Heapless, Ringbuf, Rtrb};
use crate::ours::{Batched, Copying, InPlace};
use crate::wake::{Eventfds, Members};
use crate::RING_LEN;

/// How often each case is timed, in turn with the others.
const ROUNDS: usize = 9;
/// So many timings in one placement are enough to compare.
const ENOUGH: usize = 5;

/// Something to time, under its name.
pub struct Entry {
    pub name: &'static str,
    case: Box<dyn Case>,
}

/// At most `factor` times the time of `other`.
#[derive(Clone, Copy, Debug)]
pub struct Goal {
    pub ours: &'static str,
    pub factor: f64,
    pub other: &'static str,
}

const fn goal(ours: &'static str, factor: f64, other: &'static str) -> Goal {
    Goal {
        ours,
        factor,
        other,
    }
}

/// Cases that are compared.
pub struct Group {
    pub len: usize,
    pub motion: Motion,
    count: u32,
    pub entries: Vec<Entry>,
    pub goals: &'static [Goal],
}

/// Against all that carry one message at a time there and back.
const ROUND_TRIP: &[Goal] = &[
    goal("ours", 1.15, "bare slot"),
    goal("ours", 1.0, "rtrb"),
    goal("ours", 1.0, "ringbuf"),
    goal("ours", 1.0, "bbqueue"),
    goal("ours", 1.0, "ArrayQueue"),
    goal("ours", 1.0, "heapless"),
];

/// Against bytes in chunks, and against the one that carries frames of any length.
const STREAM: &[Goal] = &[goal("ours", 1.0, "rtrb"), goal("ours", 1.0, "bbqueue")];

const STREAM_64: &[Goal] = &[
    STREAM[0],
    STREAM[1],
    // Twice as fast, or faster.
    goal("ours, batches", 0.5, "rtrb"),
];

const STREAM_64_KIB: &[Goal] = &[
    STREAM[0],
    STREAM[1],
    goal("ours", 1.0 / 0.9, "bare stream"),
    goal("ours, in place", 1.0, "bare stream"),
];

/// Asleep, and awake when messages come faster than anybody falls asleep.
const WAKE: &[Goal] = &[
    goal("ours", 1.1, "eventfds"),
    goal("ours, looking first", 1.1, "ours, polling"),
];

/// All that is compared; each is made when its turn comes, so that nothing of another is alive meanwhile.
pub const GROUPS: [fn() -> Group; 6] = [
    wake,
    || group::<64, { RING_LEN / 64 }>(Motion::RoundTrip, 5_000, ROUND_TRIP),
    || group::<8, { RING_LEN / 8 }>(Motion::Stream, 100_000, STREAM),
    || group::<64, { RING_LEN / 64 }>(Motion::Stream, 50_000, STREAM_64),
    || group::<1024, { RING_LEN / 1024 }>(Motion::Stream, 10_000, STREAM),
    || group::<65536, { RING_LEN / 65536 }>(Motion::Stream, 300, STREAM_64_KIB),
];

fn group<const N: usize, const ITEMS: usize>(
    motion: Motion,
    count: u32,
    goals: &'static [Goal],
) -> Group {
    let mut entries = vec![
        match motion {
            Motion::RoundTrip | Motion::Wake => entry::<Slot>("bare slot", N),
            Motion::Stream => entry::<Stream>("bare stream", N),
        },
        entry::<Copying>("ours", N),
        entry::<InPlace>("ours, in place", N),
        entry::<Rtrb>("rtrb", N),
        entry::<Ringbuf>("ringbuf", N),
        entry::<Bbqueue>("bbqueue", N),
        entry::<ArrayQueue<N>>("ArrayQueue", N),
        entry::<Heapless<N, ITEMS>>("heapless", N),
    ];
    if motion == Motion::Stream && N <= 1024 {
        entries.push(entry::<Batched>("ours, batches", N));
    }
    Group {
        len: N,
        motion,
        count,
        entries,
        goals,
    }
}

/// Members that sleep at once, that look for as long as is usual before, and that never sleep.
fn wake() -> Group {
    let members = |name, spin| Entry {
        name,
        case: Box::new(Members::new(spin)),
    };
    let eventfds = Entry {
        name: "eventfds",
        case: Box::new(Eventfds::new()),
    };
    Group {
        len: 64,
        motion: Motion::Wake,
        count: 200,
        entries: vec![
            eventfds,
            members("ours", Duration::ZERO),
            members("ours, looking first", Duration::from_micros(50)),
            members("ours, polling", Duration::from_secs(1)),
        ],
        goals: WAKE,
    }
}

fn entry<C: Contender + 'static>(name: &'static str, len: usize) -> Entry {
    let case = Box::new(Rig::<C>::new(len));
    Entry { name, case }
}

/// What timings of one group have shown.
pub struct Shown {
    /// Where the cores were in most of them.
    pub placement: Placement,
    /// The nanoseconds of each entry in that placement, ascending.
    times: Vec<Vec<f64>>,
}

impl Shown {
    /// Returns how often an entry was timed, its fastest time and its median.
    pub fn of(&self, entry: usize) -> Option<(usize, f64, f64)> {
        let times = self.times.get(entry)?;
        Some((times.len(), *times.first()?, times[times.len() / 2]))
    }

    /// Returns how the median of one entry is to that of another, if both were timed often enough.
    pub fn ratio(&self, one: usize, other: usize) -> Option<f64> {
        let [one, other] = [self.of(one)?, self.of(other)?];
        (one.0 >= ENOUGH && other.0 >= ENOUGH).then(|| one.2 / other.2)
    }
}

impl Group {
    /// Times all entries in turn. Timings during which the cores were moved are dropped.
    pub fn measure(&mut self, cores: Cores) -> Shown {
        let mut found: Vec<Vec<(Placement, f64)>> = vec![Vec::new(); self.entries.len()];
        // Once around every ring, so that all of its pages are there and none is touched for the first time.
        let around = match self.motion {
            Motion::RoundTrip | Motion::Stream => (RING_LEN / self.len) as u32,
            Motion::Wake => 0,
        };
        for entry in &mut self.entries {
            entry.case.time(cores, self.motion, around + self.count);
        }
        let mut before = Placement::of(cores.distance());
        for _ in 0..ROUNDS {
            for (entry, found) in self.entries.iter_mut().zip(&mut found) {
                let time = entry.case.time(cores, self.motion, self.count);
                let after = Placement::of(cores.distance());
                if before == after {
                    found.push((after, time));
                }
                before = after;
            }
        }
        let count = |placement| {
            let all = found.iter().flatten();
            all.filter(|(at, _)| *at == placement).count()
        };
        let placements = [Placement::Smt, Placement::Near, Placement::Far];
        let placement = placements.into_iter().max_by_key(|&at| count(at));
        let placement = placement.unwrap_or(before);
        let of_it = |times: &Vec<(Placement, f64)>| {
            let times = times.iter().filter(|(at, _)| *at == placement);
            let mut times: Vec<f64> = times.map(|(_, time)| *time).collect();
            times.sort_by(f64::total_cmp);
            times
        };
        Shown {
            placement,
            times: found.iter().map(of_it).collect(),
        }
    }

    /// Returns the place of the entry called `name`.
    pub fn find(&self, name: &str) -> Option<usize> {
        self.entries.iter().position(|entry| entry.name == name)
    }
}
