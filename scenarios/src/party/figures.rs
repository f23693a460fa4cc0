// SPDX-License-Identifier: MIT OR Apache-2.0
//! The distribution of measured times.

/// What is reported of a series of times, in nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Figures {
    /// Number of samples.
    pub count: usize,
    /// Median.
    pub p50_ns: u32,
    /// The time that 99 of 100 samples do not exceed.
    pub p99_ns: u32,
    /// Largest sample.
    pub max_ns: u32,
}

impl Figures {
    /// Sorts `samples` (nanoseconds) and returns their figures; `None` if there are none.
    ///
    /// Percentiles are the nearest rank: the smallest sample that enough others do not exceed.
    pub fn of(samples: &mut [u32]) -> Option<Self> {
        samples.sort_unstable();
        let rank = |percent: usize| (samples.len() * percent).div_ceil(100).saturating_sub(1);
        Some(Self {
            count: samples.len(),
            p50_ns: *samples.get(rank(50))?,
            p99_ns: *samples.get(rank(99))?,
            max_ns: *samples.last()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_nearest_ranks() {
        let mut samples: [u32; 200] = core::array::from_fn(|i| 200 - i as u32);
        let figures = Figures::of(&mut samples).unwrap();
        assert_eq!(
            (figures.p50_ns, figures.p99_ns, figures.max_ns),
            (100, 198, 200)
        );
        assert_eq!(Figures::of(&mut [7]).unwrap().p50_ns, 7);
        assert_eq!(Figures::of(&mut []), None);
    }
}
