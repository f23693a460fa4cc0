// SPDX-License-Identifier: MIT OR Apache-2.0
//! The seeds of the targets of the device model.

use ivshmem_fuzz::model::Reached;
use ivshmem_fuzz::{model_config, model_registers, model_server, proxy_stream};

use crate::seed;

/// Steps, messages, changes of the line, doorbells, own vectors and notices; whether a guest may see the device.
pub const MODEL_CONFIG: [(&str, [usize; 6], bool); 7] = [
    ("legacy-32-bit-bar", [8, 0, 0, 0, 1, 0], true),
    ("legacy-line-disabled", [7, 0, 4, 0, 1, 0], true),
    ("legacy-without-memory-bar", [4, 0, 0, 0, 1, 0], true),
    ("msix-masked-then-live", [12, 2, 0, 0, 2, 0], true),
    ("plain-all-bytes", [9, 0, 0, 0, 0, 0], true),
    ("saved-and-changed", [7, 0, 0, 0, 1, 0], true),
    ("sizing-and-decoding", [28, 0, 0, 0, 3, 0], true),
];

/// As above.
pub const MODEL_REGISTERS: [(&str, [usize; 6], bool); 9] = [
    ("doorbell-rings-and-is-rung", [14, 2, 0, 5, 2, 1], true),
    ("flat", [6, 0, 2, 1, 1, 0], true),
    ("legacy-coalesced-and-narrow", [13, 0, 6, 0, 1, 0], true),
    ("legacy-msix-and-line", [10, 1, 2, 0, 2, 0], true),
    ("pending-until-unmasked", [16, 1, 0, 0, 2, 0], true),
    ("plain-unplugged", [8, 0, 0, 0, 0, 0], true),
    ("saved-and-loaded", [11, 2, 0, 0, 2, 0], true),
    (
        "shm-memory-and-doorbell-to-nobody",
        [6, 0, 0, 0, 0, 1],
        true,
    ),
    ("two-thousand-vectors", [12, 2, 0, 1, 3, 0], true),
];

/// As above.
pub const MODEL_SERVER: [(&str, [usize; 6], bool); 17] = [
    ("all-at-once", [4, 0, 0, 0, 1, 1], true),
    ("byte-by-byte", [32, 0, 0, 0, 1, 0], true),
    ("flat", [13, 0, 2, 1, 1, 2], true),
    ("gone-early", [2, 0, 0, 0, 0, 0], false),
    (
        "handshake-and-a-peer-that-leaves",
        [13, 0, 0, 2, 2, 0],
        true,
    ),
    ("legacy-2.3-changes-its-id", [11, 0, 0, 1, 2, 0], true),
    ("legacy-2.5-leaves-itself", [11, 0, 0, 1, 2, 3], true),
    ("legacy-memory-too-small", [2, 0, 0, 0, 0, 0], true),
    ("master-that-is-not-first", [3, 0, 0, 0, 0, 0], false),
    ("memory-not-a-power-of-two", [3, 0, 0, 0, 0, 0], false),
    ("memory-of-no-size", [3, 0, 0, 0, 0, 0], false),
    ("memory-refused", [3, 0, 0, 0, 0, 0], false),
    ("own-id-too-large", [2, 0, 0, 0, 0, 0], false),
    ("route-before-its-vector", [10, 0, 0, 0, 2, 0], true),
    ("vectors-refused", [7, 0, 0, 0, 1, 1], true),
    ("wrong-messages", [15, 0, 0, 0, 0, 8], true),
    ("wrong-version", [1, 0, 0, 0, 0, 0], false),
];

/// Messages understood, descriptors sent, and whether the stream was given up.
pub const PROXY_STREAM: [(&str, usize, u64, bool); 9] = [
    ("boot", 8, 5, false),
    ("descriptor-with-a-reset", 0, 1, true),
    ("huge-size", 0, 0, true),
    ("in-pieces", 4, 10, false),
    ("nine-descriptors", 1, 17, true),
    ("one-interrupt", 0, 1, true),
    ("raw-resets", 5, 0, false),
    ("unknown-command", 1, 0, true),
    ("wrong-size", 0, 0, true),
];

/// Runs the seeds of a target.
fn run_all(target: &str, seeds: &[(&str, [usize; 6], bool)], run: impl Fn(&[u8]) -> Reached) {
    for &(name, counts, realized) in seeds {
        let [steps, messages, line_changes, rung, listening, notices] = counts;
        let expected = Reached {
            steps,
            messages,
            line_changes,
            rung,
            listening,
            notices,
            realized,
        };
        assert_eq!(run(&seed(target, name)), expected, "{target}: {name}");
    }
}

#[test]
fn every_device_of_the_model_gets_as_far_as_its_name_says() {
    run_all("model_config", &MODEL_CONFIG, model_config::run);
    run_all("model_registers", &MODEL_REGISTERS, model_registers::run);
    run_all("model_server", &MODEL_SERVER, model_server::run);
}

#[test]
fn every_stream_to_the_proxy_gets_as_far_as_its_name_says() {
    for (name, messages, descriptors, refused) in PROXY_STREAM {
        let expected = proxy_stream::Reached {
            messages,
            descriptors,
            refused,
        };
        let reached = proxy_stream::run(&seed("proxy_stream", name));
        assert_eq!(reached, expected, "{name}");
    }
}
