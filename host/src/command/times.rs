// SPDX-License-Identifier: MIT OR Apache-2.0
//! The distribution of measured times: [`Times`].

use serde::Serialize;

/// Times of which percentiles are taken: the newest so many.
const MOST_KEPT: usize = 1 << 20;

/// Measured times.
#[derive(Debug, Default)]
pub(super) struct Times {
    /// The newest, in no order.
    kept: Vec<u64>,
    count: u64,
    sum_ns: u128,
    min_ns: u64,
    max_ns: u64,
}

/// What is reported of times, in microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(super) struct Figures {
    pub(super) min_us: f64,
    pub(super) avg_us: f64,
    pub(super) max_us: f64,
    /// Median.
    pub(super) p50_us: f64,
    pub(super) p90_us: f64,
    pub(super) p99_us: f64,
}

impl Times {
    /// Adds a time in nanoseconds.
    pub(super) fn add(&mut self, ns: u64) {
        self.min_ns = if self.count == 0 {
            ns
        } else {
            self.min_ns.min(ns)
        };
        self.max_ns = self.max_ns.max(ns);
        self.sum_ns += u128::from(ns);
        // From the oldest on anew, when all places are taken.
        let place = (self.count % MOST_KEPT as u64) as usize;
        self.count += 1;
        match self.kept.get_mut(place) {
            Some(kept) => *kept = ns,
            None => self.kept.push(ns),
        }
    }

    /// Returns how many there were.
    pub(super) const fn count(&self) -> u64 {
        self.count
    }

    /// Returns the figures; nothing if there were no times. Minimum, average and maximum are of all, percentiles of the newest
    /// 1,048,576.
    pub(super) fn figures(&self) -> Option<Figures> {
        let mut sorted = self.kept.clone();
        sorted.sort_unstable();
        let us = |ns: u64| ns as f64 / 1000.0;
        Some(Figures {
            min_us: us(self.min_ns),
            avg_us: self.sum_ns as f64 / self.count as f64 / 1000.0,
            max_us: us(self.max_ns),
            p50_us: us(percentile(&sorted, 50)?),
            p90_us: us(percentile(&sorted, 90)?),
            p99_us: us(percentile(&sorted, 99)?),
        })
    }
}

/// Returns the nearest rank: the smallest of the sorted values that so many of 100 do not exceed.
fn percentile(sorted: &[u64], percent: usize) -> Option<u64> {
    let rank = (sorted.len() * percent).div_ceil(100);
    sorted.get(rank.saturating_sub(1)).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_nearest_ranks() {
        let hundred: Vec<u64> = (1..=100).collect();
        for percent in [1, 50, 90, 99, 100] {
            assert_eq!(percentile(&hundred, percent), Some(percent as u64));
        }
        assert_eq!(percentile(&[10, 20, 30], 50), Some(20));
        assert_eq!(percentile(&[10, 20, 30], 99), Some(30));
        assert_eq!(percentile(&[7], 1), Some(7));
        assert_eq!(percentile(&[], 50), None);
    }

    #[test]
    fn figures_are_of_all_and_percentiles_of_the_newest() {
        let mut times = Times::default();
        assert_eq!(times.figures(), None);
        // One of each half is not among the newest.
        times.add(500);
        times.add(9_000_000);
        for _ in 0..MOST_KEPT {
            times.add(2000);
        }
        assert_eq!(times.count(), MOST_KEPT as u64 + 2);
        let figures = times.figures().unwrap();
        assert_eq!((figures.min_us, figures.max_us), (0.5, 9000.0));
        assert_eq!((figures.p50_us, figures.p99_us), (2.0, 2.0));
        assert!((2.0..2.1).contains(&figures.avg_us), "{figures:?}");
    }
}
