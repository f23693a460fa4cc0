// SPDX-License-Identifier: MIT OR Apache-2.0
//! Measuring in turn, for some time: [`Course`].
//!
//! A machine changes while it is measured: its clock, its load, the distance of its processors where it is a virtual one. So
//! what is compared is measured in turn, for some milliseconds each, and a ratio is one of neighbours in time.

use std::time::{Duration, Instant};

use super::measure::{Motion, Slice, Subject};
use crate::command::interrupt::Interrupt;
use crate::command::times::Times;
use crate::command::Failure;

/// How often each is measured at least, as far as the time suffices.
const ROUNDS: u32 = 16;

/// The shortest and the longest time for which one is measured at once.
const SLICE: (Duration, Duration) = (Duration::from_micros(200), Duration::from_millis(50));

/// The first messages, and the most, that are moved at once.
const COUNT: (u64, u64) = (8, 1 << 20);

/// The largest step from one count of messages to the next, and the part of a slice that tells the first.
const STEP: u64 = 4;

/// All that is to be measured.
#[derive(Debug)]
pub(super) struct Course {
    pub(super) lines: Vec<Line>,
    /// How long it took.
    pub(super) elapsed: Duration,
}

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
    /// Whether it is to be compared is the caller's to know.
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
    fn prepare(
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
    fn measure(
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

impl Course {
    pub(super) const fn new(lines: Vec<Line>) -> Self {
        Self {
            lines,
            elapsed: Duration::ZERO,
        }
    }

    /// Measures everything for `limit`, but once at least, and stops where it is when interrupted.
    pub(super) fn run(
        &mut self,
        ours: &mut dyn Subject,
        other: &mut dyn Subject,
        limit: Duration,
        interrupt: &Interrupt,
    ) -> Result<(), Failure> {
        let start = Instant::now();
        let slices = ROUNDS * 2 * u32::try_from(self.lines.len()).unwrap_or(1).max(1);
        let slice = (limit / slices).clamp(SLICE.0, SLICE.1);
        let result = self.rounds(ours, other, slice, |is_whole| {
            interrupt.came() || (is_whole && start.elapsed() >= limit)
        });
        self.elapsed = start.elapsed();
        result
    }

    /// Measures in turn until it `is_over`, which is told whether each has been measured.
    fn rounds(
        &mut self,
        ours: &mut dyn Subject,
        other: &mut dyn Subject,
        slice: Duration,
        is_over: impl Fn(bool) -> bool,
    ) -> Result<(), Failure> {
        for line in &mut self.lines {
            if is_over(false) {
                return Ok(());
            }
            line.prepare(ours, other, slice)?;
        }
        let mut is_whole = false;
        loop {
            for line in &mut self.lines {
                if is_over(is_whole) {
                    return Ok(());
                }
                line.measure(ours, other, slice)?;
            }
            is_whole = true;
        }
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
    use std::cell::Cell;

    /// Takes so many nanoseconds for a message, and keeps the longest run.
    struct Steady(u64, u64);

    impl Subject for Steady {
        fn run(&mut self, motion: Motion, _: usize, count: u64) -> Result<Slice, Failure> {
            self.1 = self.1.max(count);
            Ok(Slice {
                count,
                elapsed: Duration::from_nanos(self.0 * count),
                times: match motion {
                    Motion::Stream => Vec::new(),
                    Motion::Asleep | Motion::Awake => vec![self.0; count as usize],
                },
                rung: 1,
            })
        }
    }

    fn course() -> Course {
        let compared = || Some(Tally::default());
        Course::new(vec![
            Line::new(Motion::Awake, 64, compared()),
            Line::new(Motion::Stream, 64, compared()),
            Line::new(Motion::Asleep, 64, None),
        ])
    }

    #[test]
    fn ratios_and_counts_are_those_of_what_was_run() {
        let (mut ours, mut bare) = (Steady(300, 0), Steady(100, 0));
        let (mut course, looks) = (course(), Cell::new(0));
        let slice = Duration::from_millis(1);
        let five_rounds = |_| looks.replace(looks.get() + 1) >= 3 + 3 * 5;
        course
            .rounds(&mut ours, &mut bare, slice, five_rounds)
            .unwrap();
        for (line, ratio) in course.lines.iter().zip([Some(3.0), Some(3.0), None]) {
            assert_eq!(line.ratio(), ratio);
            assert_eq!(line.ours.rung, 5);
            assert_eq!(line.ours.cost_ns(), Some(300.0));
            // A millisecond each, but for rounding.
            assert!((16_000..17_000).contains(&line.ours.messages), "{line:?}");
            let is_stream = line.motion == Motion::Stream;
            assert_eq!(line.ours.times.figures().is_none(), is_stream);
        }
        assert!(bare.1 <= 10_000, "no slice was longer than asked for");
    }

    #[test]
    fn an_end_before_the_first_figure_leaves_none() {
        let (mut ours, mut bare, mut course) = (Steady(300, 0), Steady(100, 0), course());
        let slice = Duration::from_millis(1);
        course
            .rounds(&mut ours, &mut bare, slice, |_| true)
            .unwrap();
        assert!(course.lines.iter().all(|line| line.ratio().is_none()));
        assert!(course.lines.iter().all(|line| line.ours.messages == 0));
    }

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
