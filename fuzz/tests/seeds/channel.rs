// SPDX-License-Identifier: MIT OR Apache-2.0
//! The seeds of the targets of channels.

use ivshmem_fuzz::{channel_contents, channel_hostile, inspect};

use crate::seed;

/// Regions opened, members joined, events, connections, calls that sent something, messages received, and halves that broke.
pub const CHANNEL_CONTENTS: [(&str, [usize; 7]); 22] = [
    ("blank-formatted-and-joined", [1, 1, 0, 0, 0, 0, 0]),
    ("blank-with-odd-formats", [2, 0, 0, 0, 0, 0, 0]),
    ("no-region", [0; 7]),
    ("not-a-power-of-two", [0; 7]),
    ("raw-for-another-size", [0; 7]),
    ("raw-foreign", [2, 0, 0, 0, 0, 0, 0]),
    ("raw-formatted", [1, 1, 0, 0, 0, 0, 0]),
    ("raw-that-does-not-fit", [0; 7]),
    ("raw-unknown-version", [2, 0, 0, 0, 0, 0, 0]),
    ("raw-with-a-member-that-is-dead", [1, 1, 2, 1, 1, 0, 0]),
    ("used-and-formatted-anew", [2, 3, 2, 2, 3, 2, 2]),
    ("used-and-goes-on", [1, 2, 2, 2, 16, 18, 0]),
    ("used-and-leaves", [1, 2, 3, 2, 4, 3, 2]),
    ("used-batches", [1, 2, 2, 2, 5, 7, 0]),
    ("used-header-flipped", [1, 2, 2, 2, 4, 3, 1]),
    ("used-header-too-long", [1, 2, 2, 2, 4, 2, 1]),
    ("used-long-message", [1, 2, 2, 2, 4, 4, 0]),
    ("used-robbed", [1, 3, 3, 4, 4, 3, 1]),
    ("used-session-gone", [1, 2, 2, 2, 3, 2, 2]),
    ("used-streams-and-tasks", [1, 2, 2, 2, 8, 7, 0]),
    ("used-tail-wrong", [1, 2, 2, 2, 4, 2, 1]),
    ("used-trap-in-a-message", [1, 2, 2, 2, 3, 3, 1]),
];

/// Words written by the hostile one, messages of those under attack, which are others each time where there are threads,
/// and of those left alone.
pub const CHANNEL_HOSTILE: [(&str, usize, Option<usize>, u64); 6] = [
    ("at-once", 198, None, 252),
    ("at-once-aimed-anywhere", 198, None, 0),
    ("at-once-without-damage", 198, None, 252),
    ("turns-aimed-anywhere", 25, Some(18), 0),
    ("turns-in-peace", 0, Some(35), 22),
    ("turns-under-attack", 25, Some(14), 14),
];

#[test]
fn every_memory_gets_as_far_as_its_name_says() {
    for (name, counts) in CHANNEL_CONTENTS {
        let [opened, joined, events, connected, sent, received, broken] = counts;
        let expected = channel_contents::Reached {
            opened,
            joined,
            events,
            connected,
            sent,
            received,
            broken,
        };
        let reached = channel_contents::run(&seed("channel_contents", name));
        assert_eq!(reached, expected, "{name}");
    }
}

#[test]
fn every_attack_gets_as_far_as_its_name_says() {
    for (name, written, exchanged, undisturbed) in CHANNEL_HOSTILE {
        let reached = channel_hostile::run(&seed("channel_hostile", name));
        let expected = channel_hostile::Reached {
            written,
            exchanged: exchanged.unwrap_or(reached.exchanged),
            undisturbed,
        };
        assert_eq!(reached, expected, "{name}");
    }
}

/// Slots, rings, frames and findings of all looks.
pub const INSPECT: [(&str, [usize; 4]); 10] = [
    ("blank-formatted-and-joined", [8, 8, 0, 0]),
    ("raw-foreign", [4, 4, 0, 3]),
    ("raw-formatted", [10, 10, 0, 0]),
    ("raw-unknown-version", [4, 4, 0, 3]),
    ("used-and-formatted-anew", [18, 18, 3, 0]),
    ("used-and-goes-on", [86, 86, 186, 0]),
    ("used-header-flipped", [10, 10, 9, 4]),
    ("used-header-too-long", [10, 10, 11, 4]),
    ("used-session-gone", [16, 16, 10, 7]),
    ("used-tail-wrong", [14, 14, 9, 6]),
];

#[test]
fn every_look_sees_what_the_name_says() {
    for (name, [slots, rings, frames, findings]) in INSPECT {
        let expected = inspect::Reached {
            slots,
            rings,
            frames,
            findings,
        };
        assert_eq!(inspect::run(&seed("inspect", name)), expected, "{name}");
    }
}
