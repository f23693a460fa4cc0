// SPDX-License-Identifier: MIT OR Apache-2.0
//! Messages as streams of bytes.

mod bytes;
#[cfg(any(feature = "embedded-io-06", feature = "embedded-io-07"))]
mod embedded_io;
mod ends;
mod hostile;
mod std_io;

use std::cell::Cell;
use std::ops::ControlFlow;

use ivshmem::channel::{Broken, Receiver, Sender, StreamError, Wait};
use proptest::prelude::*;

use super::support::fill;
use super::tasks::executor::{connected, Lines};

/// All that can go wrong with a stream.
const ERRORS: [StreamError; 5] = [
    StreamError::Broken(Broken::PeerGone),
    StreamError::Broken(Broken::PeerRestarted),
    StreamError::Broken(Broken::Corrupt),
    StreamError::Broken(Broken::Evicted),
    StreamError::GaveUp,
];

/// Waits for nothing.
fn give_up(_: Wait) -> ControlFlow<()> {
    ControlFlow::Break(())
}

/// How a stream is cut by the two sides, who take turns.
#[derive(Debug)]
struct Cuts {
    ring_log2: u32,
    len: usize,
    writes: Vec<usize>,
    reads: Vec<usize>,
}

fn cuts() -> impl Strategy<Value = Cuts> {
    let size = prop_oneof![0..20_usize, 0..2000_usize];
    // One at least with which a side gets on.
    let sizes =
        (prop::collection::vec(size, 0..20), 100..2000_usize).prop_map(|(mut sizes, last)| {
            sizes.push(last);
            sizes
        });
    (8_u32..12, 0..20_000_usize, sizes.clone(), sizes).prop_map(
        |(ring_log2, len, writes, reads)| Cuts {
            ring_log2,
            len,
            writes,
            reads,
        },
    )
}

/// Checks that the bytes that come out are those that go in, however they are cut. Both closures do at most as much as
/// they are given and say how much, or that they would have to wait.
fn check_cuts(
    cuts: &Cuts,
    mut write: impl FnMut(&[u8]) -> Option<usize>,
    mut read: impl FnMut(&mut [u8]) -> Option<usize>,
) {
    let mut bytes = vec![0; cuts.len];
    fill(&mut bytes, 29);
    let (mut written, mut out) = (0, Vec::new());
    let mut sizes = cuts.writes.iter().cycle().zip(cuts.reads.iter().cycle());
    // Any of the two may be behind a turn of the other, but not for as many as this.
    for _ in 0..20 * (cuts.len + 20) {
        let (most_written, most_read) = sizes.next().unwrap();
        let end = bytes.len().min(written + most_written);
        written += write(&bytes[written..end]).unwrap_or(0);
        let mut target = vec![0; *most_read];
        let read = read(&mut target).unwrap_or(0);
        out.extend_from_slice(&target[..read]);
        if out.len() >= bytes.len() {
            assert!(out == bytes);
            return;
        }
    }
    panic!("stuck after {written} in and {} out", out.len());
}

/// Runs `pass` with random cuts and both ends of a connection.
fn with_random_cuts(pass: impl Fn(&Cuts, Sender<'_, &Lines>, Receiver<'_, &Lines>)) {
    let config = ProptestConfig::with_cases(100);
    let most = Cell::new(0);
    proptest!(config, |(cuts in cuts())| {
        connected(cuts.ring_log2, |here, there, _| pass(&cuts, here.split().0, there.split().1));
        most.set(cuts.len.max(most.get()));
    });
    assert!(most.get() > 1 << 12, "no stream was longer than the ring");
}
