// SPDX-License-Identifier: MIT OR Apache-2.0
//! Rounds in which the channel and its reference take turns: [`Rounds`].

use super::row::{Row, What};
use crate::Failure;

/// How many rounds: odd, so that one is in the middle.
const ROUNDS: usize = 9;

/// Who is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    Channel,
    Bare,
}

/// The times of all rounds, in nanoseconds.
#[derive(Debug, Default)]
pub(super) struct Rounds {
    channel: [u64; ROUNDS],
    bare: [u64; ROUNDS],
}

impl Rounds {
    /// Runs `round` in turn for the two ways.
    pub(super) fn run(
        &mut self,
        mut round: impl FnMut(Way) -> Result<u64, Failure>,
    ) -> Result<(), Failure> {
        for (channel, bare) in self.channel.iter_mut().zip(&mut self.bare) {
            *channel = round(Way::Channel)?;
            *bare = round(Way::Bare)?;
        }
        Ok(())
    }

    /// Returns the row of figures that `figure` makes of times.
    pub(super) fn row(&self, what: What, bytes: usize, figure: impl Fn(u64) -> u64) -> Row {
        let channel = self.channel.map(&figure);
        let bare = self.bare.map(&figure);
        let mut ratios = [0; ROUNDS];
        for (ratio, (channel, bare)) in ratios.iter_mut().zip(channel.iter().zip(&bare)) {
            *ratio = channel * 100 / (*bare).max(1);
        }
        Row {
            what,
            bytes,
            channel: median(channel),
            bare: median(bare),
            ratio_percent: median(ratios),
        }
    }
}

fn median(mut figures: [u64; ROUNDS]) -> u64 {
    figures.sort_unstable();
    figures[ROUNDS / 2]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ratio_is_that_of_neighbours() {
        let mut slow = 1;
        let mut rounds = Rounds::default();
        let run = rounds.run(|way| {
            // Each round twice as slow as the one before, and the channel 1.5 times its reference.
            Ok(match way {
                Way::Channel => 150 * slow,
                Way::Bare => {
                    slow *= 2;
                    50 * slow
                }
            })
        });
        assert!(run.is_ok());
        let row = rounds.row(What::Stream, 8, |ns| ns);
        assert_eq!((row.channel, row.bare), (150 * 16, 100 * 16));
        assert_eq!(row.ratio_percent, 150);
    }
}
