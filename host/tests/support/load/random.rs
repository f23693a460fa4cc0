// SPDX-License-Identifier: MIT OR Apache-2.0
//! Random numbers that are the same for the same start.

use std::time::Duration;

/// A linear congruential generator.
#[derive(Clone, Copy, Debug)]
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Returns a number below `limit`, which is not 0.
    pub fn below(&mut self, limit: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }

    /// Returns the time to the next of events that come independently of each other, `mean` apart on average.
    pub fn pause(&mut self, mean: Duration) -> Duration {
        let share = (self.below(1 << 20) + 1) as f64 / f64::from(1 << 20);
        mean.mul_f64(-share.ln())
    }
}
