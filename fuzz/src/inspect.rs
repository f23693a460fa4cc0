// SPDX-License-Identifier: MIT OR Apache-2.0
//! Regions that hold anything and change between any two calls, as [`channel_contents`](crate::channel_contents) makes them,
//! looked into from outside.
//!
//! The memory lies between guard pages. Whatever it holds, no look takes more than a number of steps that its size tells.

use std::cell::Cell;

use ivshmem::channel::inspect::{FrameKind, Inspection, Source};
use ivshmem::SharedMemory;

use crate::channel_contents;

/// What was seen in all looks together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reached {
    /// Slots.
    pub slots: usize,
    /// Rings.
    pub rings: usize,
    /// Frames.
    pub frames: usize,
    /// Findings.
    pub findings: usize,
}

/// Memory that counts how often it is read.
struct Counting<'m>(SharedMemory<'m>, Cell<usize>);

impl Source for Counting<'_> {
    fn len(&self) -> usize {
        self.0.len()
    }

    fn load(&self, offset: usize) -> u64 {
        self.1.set(self.1.get() + 1);
        Source::load(&self.0, offset)
    }
}

/// Does with a memory what `data` says, and looks into it after each step.
///
/// # Panics
///
/// If a property does not hold.
pub fn run(data: &[u8]) -> Reached {
    let mut reached = Reached::default();
    channel_contents::watched(data, |memory| look(memory, &mut reached));
    reached
}

fn look(memory: SharedMemory<'_>, reached: &mut Reached) {
    let source = Counting(memory, Cell::new(0));
    let inspection = Inspection::of(&source);
    inspection.check(|finding| {
        assert!(finding.offset < memory.len() || finding.offset == 0);
        assert!(!finding.to_string().is_empty());
        reached.findings += 1;
    });
    reached.slots += inspection.slots().count();
    for ring in inspection.rings() {
        reached.rings += 1;
        for frame in inspection.frames(&ring) {
            reached.frames += 1;
            if let FrameKind::Message { payload, len, .. } = frame.kind {
                assert!(payload + len <= memory.len());
                inspection.read(payload, &mut vec![0; len]);
            }
            let _ = inspection.kept(&ring, &frame);
        }
    }
    let loads = source.1.get();
    assert!(loads < 16 * memory.len() + 10_000, "{loads} loads");
}
