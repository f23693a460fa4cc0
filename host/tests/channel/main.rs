// SPDX-License-Identifier: MIT OR Apache-2.0
//! Channels of host processes: with a server and without, between processes and threads, some of them killed.
//!
//! The processes are this program again, with [`child::ROLE`] in their environment.
#![deny(unsafe_code)]

mod child;
#[path = "../it/common.rs"]
#[allow(dead_code, reason = "made for other tests, which use all of it")]
mod common;
mod doorbells;
mod exchange;
mod killed;
mod lab;
mod limits;
mod waiting;

use libtest_mimic::{Arguments, Trial};

fn main() {
    if let Ok(role) = std::env::var(child::ROLE) {
        child::live(&role);
        return;
    }
    let tests: &[(&str, fn())] = &[
        ("exchange::asleep", exchange::asleep),
        ("exchange::by_default", exchange::by_default),
        ("exchange::in_a_file", exchange::in_a_file),
        ("killed::in_the_middle", killed::in_the_middle),
        ("killed::in_a_file", killed::in_a_file),
        ("killed::stopped", killed::stopped),
        ("doorbells::borrowed", doorbells::borrowed),
        ("doorbells::polling", doorbells::polling),
        ("doorbells::full_counter", doorbells::full_counter),
        ("doorbells::shared_vector", doorbells::shared_vector),
        ("waiting::event_loop", waiting::event_loop),
        ("waiting::long", waiting::long),
        ("limits::nothing_comes", limits::nothing_comes),
        ("limits::no_room", limits::no_room),
        ("limits::too_long", limits::too_long),
        ("limits::leaving", limits::leaving),
        ("limits::joining", limits::joining),
    ];
    let trials = tests.iter().map(|&(name, test)| {
        Trial::test(name, move || {
            test();
            Ok(())
        })
    });
    libtest_mimic::run(&Arguments::from_args(), trials.collect()).exit();
}
