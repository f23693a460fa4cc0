// SPDX-License-Identifier: MIT OR Apache-2.0
//! Who of the members lives, as one who is none sees it: by two looks at each heartbeat.

use std::thread;
use std::time::{Duration, Instant};

use ivshmem::channel::inspect::{Inspection, Presence, SlotLook, Source};

/// Time between two looks.
const LOOK_INTERVAL: Duration = Duration::from_millis(10);

/// A slot, and whether the one who is there shows signs of life.
#[derive(Clone, Copy, Debug)]
pub(super) struct Watched {
    /// As last seen.
    pub(super) look: SlotLook,
    /// Whether its heartbeat has moved; a free slot has none.
    pub(super) lives: bool,
}

/// Looks at all slots until every member has moved, for at most `limit`.
pub(super) fn watch<S: Source>(inspection: &Inspection<S>, limit: Duration) -> Vec<Watched> {
    let start = Instant::now();
    let first: Vec<_> = inspection.slots().collect();
    let mut watched: Vec<_> = first
        .iter()
        .map(|&look| Watched { look, lives: false })
        .collect();
    loop {
        for (slot, first) in watched.iter_mut().zip(&first) {
            if let Some(look) = inspection.slot(first.slot) {
                slot.look = look;
            }
            // Of one who has come meanwhile, coming is a sign of life.
            let pulse = |look: &SlotLook| (look.incarnation, look.heartbeat);
            let is_there = slot.look.presence != Presence::Free;
            slot.lives = is_there && (slot.lives || pulse(&slot.look) != pulse(first));
        }
        let waits = |slot: &Watched| slot.look.presence != Presence::Free && !slot.lives;
        if !watched.iter().any(waits) || start.elapsed() >= limit {
            return watched;
        }
        thread::sleep(LOOK_INTERVAL);
    }
}
