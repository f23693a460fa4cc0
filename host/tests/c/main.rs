// SPDX-License-Identifier: MIT OR Apache-2.0
//! Channels between this implementation and the one in C, which was written from `docs/layout.md`.
//!
//! The program in C is built by the test, with warnings as errors, and once more with the compiler's sanitizers. Without a C
//! compiler all of this fails; without sanitizers the trials that need them say that they are ignored.
#![deny(unsafe_code)]

mod asleep;
#[path = "../it/common.rs"]
#[allow(dead_code, reason = "made for other tests, which use all of it")]
mod common;
mod exchange;
mod hostile;
#[path = "../channel/lab.rs"]
#[allow(dead_code, reason = "made for other tests, which use all of it")]
mod lab;
mod lives;
mod program;
mod refusals;

use libtest_mimic::{Arguments, Trial};
use program::{Built, Program};

type Test = (&'static str, fn(&Program));

fn main() {
    let arguments = Arguments::from_args();
    // Nobody who asks what there is waits for a compiler.
    let built = if arguments.list {
        None
    } else {
        Some(Built::new())
    };
    let tests: [Test; 11] = [
        ("rust_formats", exchange::rust_formats),
        ("c_formats", exchange::c_formats),
        ("small_ring", exchange::small_ring),
        ("given_up", exchange::given_up),
        ("asleep", asleep::both),
        ("polled", asleep::polled),
        ("killed", lives::killed),
        ("events", lives::events),
        ("evicted", lives::evicted),
        ("refusals", refusals::all),
        ("hostile", hostile::scribbler),
    ];
    let mut trials = Vec::new();
    for (name, test) in tests {
        let plain = built.as_ref().map(|built| built.plain.clone());
        let sanitized = built.as_ref().and_then(|built| built.sanitized.clone());
        let is_missing = built.is_some() && sanitized.is_none();
        for (kind, program, is_missing) in [
            ("plain", plain, false),
            ("sanitized", sanitized, is_missing),
        ] {
            let trial = Trial::test(format!("{kind}::{name}"), move || {
                test(&program.ok_or("it is not built when tests are listed")?);
                Ok(())
            });
            trials.push(trial.with_ignored_flag(is_missing));
        }
    }
    libtest_mimic::run(&arguments, trials).exit();
}
