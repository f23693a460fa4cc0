// SPDX-License-Identifier: MIT OR Apache-2.0
//! A server with clients that join and leave at random: what they are told, its descriptors and its memory.
//!
//! Times are for the benchmark of the same name, which puts a larger load on it.

// The times that the benchmark prints.
#[allow(dead_code, reason = "made for the benchmark, which uses all of it")]
#[path = "../support/mod.rs"]
mod support;

use std::path::Path;
use std::time::Duration;

use ivshmem_host::server::raise_descriptor_limit;
use support::load::priority::Priority;
use support::load::run::run;
use support::load::{Load, Machine};

#[test]
fn clients_that_come_and_go_hear_the_truth_and_leave_nothing_behind() {
    raise_descriptor_limit().unwrap();
    let load = Load {
        clients: 100,
        vectors: 8,
        duration: Duration::from_secs(3),
        rate: 100,
        mute: 5,
        machine: Machine::None,
        priority: Priority::Usual,
        seed: 1,
    };
    let folder = tempfile::tempdir().unwrap();
    let command = Path::new(env!("CARGO_BIN_EXE_ivshmem"));
    // Every message is checked on the way.
    let outcome = run(&load, command, folder.path()).unwrap();
    let admitted = outcome.delays.admit.len();
    assert!(admitted > 100, "{admitted} admitted");
    assert_eq!(outcome.full.found, outcome.full.expected);
    assert_eq!(outcome.empty.found, outcome.empty.expected);
    let [begin, _, end] = outcome.resident_kib;
    assert!(end < begin + begin / 4, "{begin} KiB became {end} KiB");
}
