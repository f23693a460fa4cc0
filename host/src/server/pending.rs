// SPDX-License-Identifier: MIT OR Apache-2.0
//! Doorbells that have been rung and not been taken: counters of eventfds, read without taking anything from them.
//!
//! The kernel shows the counter in `/proc/self/fdinfo`. `poll` says first which of them are above
//! zero, all in one call: few are, and a file for each would take a thousand times as long.

use std::fs;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags};

use crate::deadline::Deadline;

/// Returns the counter of each of `eventfds`; `None` where the kernel does not tell.
pub(super) fn counters(eventfds: &[OwnedFd]) -> Option<Vec<u64>> {
    let mut fds: Vec<PollFd<'_>> = eventfds
        .iter()
        .map(|eventfd| PollFd::new(eventfd, PollFlags::IN))
        .collect();
    Deadline::after(Duration::ZERO).poll(&mut fds).ok()?;
    eventfds
        .iter()
        .zip(&fds)
        .map(|(eventfd, fd)| {
            if fd.revents().is_empty() {
                Some(0)
            } else {
                counter(eventfd)
            }
        })
        .collect()
}

fn counter(eventfd: impl AsFd) -> Option<u64> {
    let number = eventfd.as_fd().as_raw_fd();
    parse(&fs::read_to_string(format!("/proc/self/fdinfo/{number}")).ok()?)
}

/// Finds the counter in the text of `/proc/PID/fdinfo/N`, where it is hexadecimal.
fn parse(text: &str) -> Option<u64> {
    let count = text
        .lines()
        .find_map(|line| line.strip_prefix("eventfd-count:"))?;
    u64::from_str_radix(count.trim(), 16).ok()
}

/// What the doorbells of a client were at the latest look, and for how long they have been so.
#[derive(Debug)]
pub(super) struct Reading {
    vectors: Vec<Vector>,
}

#[derive(Debug)]
struct Vector {
    count: u64,
    /// The first of the looks that have found the counter above zero and never less than the look before.
    since: Option<Instant>,
}

impl Reading {
    /// Takes in `counters`, read at `now`, after the look `before`.
    pub(super) fn new(counters: &[u64], before: Option<&Self>, now: Instant) -> Self {
        let vectors = counters.iter().enumerate().map(|(index, &count)| {
            let before = before.and_then(|before| before.vectors.get(index));
            let stays = before.filter(|before| before.count > 0 && count >= before.count);
            let since = stays.map_or(Some(now), |before| before.since);
            Vector {
                count,
                since: since.filter(|_| count > 0),
            }
        });
        Self {
            vectors: vectors.collect(),
        }
    }

    /// Returns the counter of each vector.
    pub(super) fn counters(&self) -> impl Iterator<Item = u64> + '_ {
        self.vectors.iter().map(|vector| vector.count)
    }

    /// Returns the look since which some vector has been pending at each look and its counter never fallen.
    pub(super) fn untaken_since(&self) -> Option<Instant> {
        self.vectors.iter().filter_map(|vector| vector.since).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::eventfd;
    use rustix::event::{eventfd, EventfdFlags};

    #[test]
    fn counters_are_seen_and_not_taken() {
        let event = || eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK).unwrap();
        let eventfds: Vec<OwnedFd> = (0..4).map(|_| event()).collect();
        assert_eq!(counters(&eventfds), Some(vec![0; 4]));
        for _ in 0..17 {
            eventfd::ring(&eventfds[1]).unwrap();
        }
        rustix::io::write(&eventfds[3], &(u64::MAX - 1).to_ne_bytes()).unwrap();
        let rung = Some(vec![0, 17, 0, u64::MAX - 1]);
        assert_eq!(counters(&eventfds), rung);
        assert_eq!(counters(&eventfds), rung, "nothing was taken");
        assert_eq!(eventfd::take(&eventfds[1]), Ok(true));
        assert_eq!(counters(&eventfds), Some(vec![0, 0, 0, u64::MAX - 1]));
    }

    #[test]
    fn the_kernels_text_is_hexadecimal() {
        let text = "pos:\t0\nflags:\t02004002\neventfd-count:               1f\neventfd-id: 17\n";
        assert_eq!(parse(text), Some(31));
        assert_eq!(parse("pos:\t0\n"), None);
        assert_eq!(parse("eventfd-count: \n"), None);
    }

    #[test]
    fn a_counter_that_never_falls_has_not_been_taken() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let first = Reading::new(&[0, 2, 0], None, at(1));
        assert_eq!(first.untaken_since(), Some(at(1)));
        let second = Reading::new(&[0, 2, 7], Some(&first), at(2));
        assert_eq!(second.untaken_since(), Some(at(1)));
        // The older one has been taken and rung again.
        let third = Reading::new(&[0, 1, 7], Some(&second), at(3));
        assert_eq!(third.untaken_since(), Some(at(2)));
        let fourth = Reading::new(&[0, 0, 0], Some(&third), at(4));
        assert_eq!(fourth.untaken_since(), None);
        assert_eq!(fourth.counters().sum::<u64>(), 0);
    }
}
