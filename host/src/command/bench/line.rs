// SPDX-License-Identifier: MIT OR Apache-2.0
//! One line of the result: messages of one length in one motion, and what they are compared with.

use std::time::Duration;

use super::measure::{Motion, Slice, Subject};
use crate::command::times::Times;
use crate::command::Failure;

/// The first messages, and the most, that are moved at once.
const COUNT: (u64, u64) = (8, 1 << 20);

/// The largest step from one count of messages to the next, and the part of a slice that tells the first.
const STEP: u64 = 4;

/// Messages of one length in one motion.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) motion: Motion,
    pub(super) len: usize,
    pub(super) ours: Tally,
    /// What it is compared with, if there is anything like it.
    pub(super) bare: Option<Tally>,
    /// How often as long ours took as the other, of each two slices.
    ratios: Vec<f64>,
}

/// What some slices have shown.
#[derive(Debug)]
pub(super) struct Tally {
    /// Messages of the next slice.
    count: u64,
    pub(super) messages: u64,
    pub(super) rung: u64,
    /// Of round trips.
    pub(super) times: Times,
    /// Nanoseconds of a message, of each slice.
    costs_ns: Vec<f64>,
}

impl Line {
    /// Begins a line, which is compared if there is anything to compare it with.
    pub(super) fn new(motion: Motion, len: usize, bare: Option<Tally>) -> Self {
        Self {
            motion,
            len,
            ours: Tally::default(),
            bare,
            ratios: Vec::new(),
        }
    }

    /// Returns how often as long ours takes.
    pub(super) fn ratio(&self) -> Option<f64> {
        median(&self.ratios)
    }

    /// Finds out how many messages make a slice.
    pub(super) fn prepare(
        &mut self,
        ours: &mut dyn Subject,
        other: &mut dyn Subject,
        slice: Duration,
    ) -> Result<(), Failure> {
        let (motion, len) = (self.motion, self.len);
        self.ours
            .prepare(slice, |count| ours.run(motion, len, count))?;
        match &mut self.bare {
            Some(bare) => bare.prepare(slice, |count| other.run(motion, len, count)),
            None => Ok(()),
        }
    }

    /// Measures a slice of each.
    pub(super) fn measure(
        &mut self,
        ours: &mut dyn Subject,
        other: &mut dyn Subject,
        slice: Duration,
    ) -> Result<(), Failure> {
        let cost = self
            .ours
            .take(ours.run(self.motion, self.len, self.ours.count)?, slice);
        if let Some(bare) = &mut self.bare {
            let other = bare.take(other.run(self.motion, self.len, bare.count)?, slice);
            if other > 0.0 {
                self.ratios.push(cost / other);
            }
        }
        Ok(())
    }
}

impl Default for Tally {
    fn default() -> Self {
        Self {
            count: COUNT.0,
            messages: 0,
            rung: 0,
            times: Times::default(),
            costs_ns: Vec::new(),
        }
    }
}

impl Tally {
    /// Returns the nanoseconds of a message of a stream.
    pub(super) fn cost_ns(&self) -> Option<f64> {
        median(&self.costs_ns)
    }

    /// Runs more and more messages until it is clear how many make a slice. They are not counted.
    fn prepare(
        &mut self,
        slice: Duration,
        mut run: impl FnMut(u64) -> Result<Slice, Failure>,
    ) -> Result<(), Failure> {
        loop {
            let elapsed = run(self.count)?.elapsed;
            let before = self.count;
            self.count = next_count(before, elapsed, slice);
            if elapsed * STEP as u32 >= slice || self.count <= before {
                return Ok(());
            }
        }
    }

    /// Takes in a slice, and returns the nanoseconds of a message.
    fn take(&mut self, slice: Slice, length: Duration) -> f64 {
        let cost = slice.cost_ns();
        self.costs_ns.push(cost);
        self.messages += slice.count;
        self.rung += slice.rung;
        for ns in slice.times {
            self.times.add(ns);
        }
        self.count = next_count(self.count, slice.elapsed, length);
        cost
    }
}

/// Returns how many messages would have made a slice, a step from what was tried at most.
fn next_count(count: u64, elapsed: Duration, slice: Duration) -> u64 {
    let wanted = count as f64 * slice.as_secs_f64() / elapsed.as_secs_f64().max(1e-9);
    (wanted as u64).clamp((count / STEP).max(1), (count * STEP).min(COUNT.1))
}

/// Returns the middle one, the upper of two.
fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_stay_within_their_bounds() {
        let slice = Duration::from_millis(10);
        assert_eq!(next_count(100, slice, slice), 100);
        assert_eq!(next_count(100, Duration::ZERO, slice), 400);
        assert_eq!(next_count(100, 1000 * slice, slice), 25);
        assert_eq!(next_count(1, 1000 * slice, slice), 1);
        assert_eq!(next_count(COUNT.1, Duration::ZERO, slice), COUNT.1);
    }
}
