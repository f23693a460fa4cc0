// SPDX-License-Identifier: MIT OR Apache-2.0
//! Measuring in turn, for some time: [`Course`].
//!
//! A machine changes while it is measured: its clock, its load, the distance of its processors where it is a virtual one. So
//! what is compared is measured in turn, for some milliseconds each, and a ratio is one of neighbours in time.

use std::time::{Duration, Instant};

use super::line::Line;
use super::measure::Subject;
use crate::command::interrupt::Interrupt;
use crate::command::Failure;

/// How often each is measured at least, as far as the time suffices.
const ROUNDS: u32 = 16;

/// The shortest and the longest time for which one is measured at once.
const SLICE: (Duration, Duration) = (Duration::from_micros(200), Duration::from_millis(50));

/// All that is to be measured.
#[derive(Debug)]
pub(super) struct Course {
    pub(super) lines: Vec<Line>,
    /// How long it took.
    pub(super) elapsed: Duration,
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::bench::line::Tally;
    use crate::command::bench::measure::{Motion, Slice};
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
}
