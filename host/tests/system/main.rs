// SPDX-License-Identifier: MIT OR Apache-2.0
//! Trials that change or need something of the machine: huge pages, and systemd's tools.
//!
//! Where the machine does not have it, a trial is ignored and says why.
#![deny(unsafe_code)]

#[path = "../it/common.rs"]
#[allow(dead_code, reason = "made for other tests, which use all of it")]
mod common;
mod huge_pages;
#[path = "../it/process.rs"]
#[allow(dead_code, reason = "made for other tests, which use all of it")]
mod process;
mod systemd;

use libtest_mimic::{Arguments, Completion, Failed, Trial};

/// How a trial ends: well, or not at all for a reason.
type Outcome = Result<Completion, Failed>;

/// A trial with its name.
type Named = (&'static str, fn() -> Outcome);

fn main() {
    let trials: &[Named] = &[
        // Alone with the machine's pool, so these are one trial.
        ("huge_pages::all_of_them", huge_pages::all_of_them),
        ("systemd::units_are_valid", systemd::units_are_valid),
        ("systemd::units_are_confined", systemd::units_are_confined),
        (
            "systemd::user_and_folder_are_made",
            systemd::user_and_folder_are_made,
        ),
        (
            "systemd::a_socket_is_handed_down",
            systemd::a_socket_is_handed_down,
        ),
    ];
    let trials = trials
        .iter()
        .map(|&(name, run)| Trial::ignorable_test(name, run))
        .collect();
    libtest_mimic::run(&Arguments::from_args(), trials).exit();
}
