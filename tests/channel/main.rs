// SPDX-License-Identifier: MIT OR Apache-2.0
//! Membership over real shared memory: every refusal, threads, and processes that are killed.
//!
//! The processes are this program again, with [`victim::ROLE`] in their environment and the memory as standard input.
#![deny(unsafe_code)]

mod killed;
mod lab;
mod opening;
mod talk;
mod threads;
mod victim;

use libtest_mimic::{Arguments, Trial};

fn main() {
    if let Ok(name) = std::env::var(victim::ROLE) {
        victim::live(&name);
        return;
    }
    let tests: [(&str, fn()); 9] = [
        ("opening::refusals", opening::refusals),
        ("opening::formats", opening::formats),
        ("opening::reformatting_evicts", opening::reformatting_evicts),
        ("threads::any_start_order", threads::any_start_order),
        ("threads::events", threads::events_over_memory),
        ("threads::namesake", threads::namesake),
        ("threads::full", threads::full),
        ("threads::size", threads::size),
        ("killed::at_random_moments", killed::at_random_moments),
    ];
    let trials = tests.map(|(name, test)| {
        Trial::test(name, move || {
            test();
            Ok(())
        })
    });
    libtest_mimic::run(&Arguments::from_args(), trials.into()).exit();
}
