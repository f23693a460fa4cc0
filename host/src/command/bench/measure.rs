// SPDX-License-Identifier: MIT OR Apache-2.0
//! What is measured, and how: so many messages at a time, a [`Slice`].

use std::time::{Duration, Instant};

use super::cpus::Cpus;
use crate::command::Failure;

/// How messages go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Motion {
    /// There and back, each side asleep until it is woken.
    Asleep,
    /// There and back, this side, or both, looking all the time.
    Awake,
    /// There alone, as fast as they can.
    Stream,
}

/// What carries messages.
pub(super) trait Subject {
    /// Moves `count` messages of `len` bytes.
    fn run(&mut self, motion: Motion, len: usize, count: u64) -> Result<Slice, Failure>;
}

/// What has come of some messages.
#[derive(Debug)]
pub(super) struct Slice {
    pub(super) count: u64,
    pub(super) elapsed: Duration,
    /// The nanoseconds of each round trip, one look at the clock included; nothing for a stream.
    pub(super) times: Vec<u64>,
    /// Doorbells that were rung by both sides.
    pub(super) rung: u64,
}

impl Slice {
    /// Returns the nanoseconds of a usual round trip, or of a message in a stream.
    pub(super) fn cost_ns(&self) -> f64 {
        let mut times = self.times.clone();
        let middle = times.len() / 2;
        if times.is_empty() {
            self.elapsed.as_nanos() as f64 / self.count.max(1) as f64
        } else {
            *times.select_nth_unstable(middle).1 as f64
        }
    }
}

/// Times each of `count` turns.
pub(super) fn turns(
    count: u64,
    mut turn: impl FnMut() -> Result<(), Failure>,
) -> Result<Slice, Failure> {
    let mut times = Vec::with_capacity(usize::try_from(count).unwrap_or(0));
    let start = Instant::now();
    let mut last = start;
    for _ in 0..count {
        turn()?;
        let now = Instant::now();
        let ns = now.duration_since(last).as_nanos();
        times.push(u64::try_from(ns).unwrap_or(u64::MAX));
        last = now;
    }
    Ok(Slice {
        count,
        elapsed: last.duration_since(start),
        times,
        rung: 0,
    })
}

/// Times `count` round trips between two threads.
pub(super) fn ping_pong(
    cpus: Cpus,
    count: u64,
    ask: impl FnMut() -> Result<(), Failure>,
    mut answer: impl FnMut() -> Result<(), Failure> + Send,
) -> Result<Slice, Failure> {
    cpus.run(
        || turns(count, ask),
        || (0..count).try_for_each(|_| answer()),
    )
}

/// Times `count` messages to this thread.
pub(super) fn one_way(
    cpus: Cpus,
    count: u64,
    mut receive: impl FnMut() -> Result<(), Failure>,
    mut send: impl FnMut() -> Result<(), Failure> + Send,
) -> Result<Slice, Failure> {
    let receive_all = || {
        let start = Instant::now();
        (0..count).try_for_each(|_| receive())?;
        Ok(start.elapsed())
    };
    let elapsed = cpus.run(receive_all, || (0..count).try_for_each(|_| send()))?;
    Ok(Slice {
        count,
        elapsed,
        times: Vec::new(),
        rung: 0,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cost_is_the_median_of_round_trips_and_the_mean_of_a_stream() {
        let mut slice = Slice {
            count: 5,
            elapsed: Duration::from_nanos(1000),
            times: vec![900, 20, 10, 40, 30],
            rung: 0,
        };
        assert_eq!(slice.cost_ns(), 30.0);
        slice.times.clear();
        assert_eq!(slice.cost_ns(), 200.0);
    }
}
