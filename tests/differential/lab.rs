// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the trials share: QEMU, and the search for an input on which model and QEMU differ.

use std::cell::{Cell, RefCell};
use std::fmt::Debug;

use libtest_mimic::Failed;
use proptest::strategy::Strategy;
use proptest::test_runner::{Config, RngSeed, TestCaseError, TestError, TestRunner};

pub use crate::frozen::{Lab, Need, PATIENCE};

/// Tries `cases` inputs, and looks for a small one among those that fail. Returns how many were tried. Another `name`
/// makes other inputs.
pub fn search<S: Strategy>(
    name: &str,
    cases: u32,
    strategy: &S,
    describe: impl Fn(&S::Value) -> String,
    mut run: impl FnMut(&S::Value) -> Result<(), Failed>,
) -> Result<u32, Failed>
where
    S::Value: Debug,
{
    let mut config = Config {
        failure_persistence: None,
        // Each failure needs a new machine, so a search through all small inputs would take long.
        max_shrink_iters: 1000,
        max_shrink_time: 30_000,
        ..Config::default()
    };
    if config.rng_seed == RngSeed::Random {
        let mix = |seed: u64, byte: u8| seed.wrapping_mul(31).wrapping_add(byte.into());
        config.rng_seed = RngSeed::Fixed(name.bytes().fold(1110, mix));
    }
    if std::env::var_os("PROPTEST_CASES").is_none() {
        config.cases = cases;
    }
    let tried = Cell::new(0);
    let run = RefCell::new(&mut run);
    let result = TestRunner::new(config).run(strategy, |input| {
        tried.set(tried.get() + 1);
        let result = (run.borrow_mut())(&input);
        result.map_err(|failed| {
            TestCaseError::fail(failed.message().unwrap_or("no reason").to_owned())
        })
    });
    match result {
        Ok(()) => Ok(tried.get()),
        Err(TestError::Fail(reason, input)) => {
            Err(format!("{reason}\nthe input:\n{}", describe(&input)).into())
        }
        Err(TestError::Abort(reason)) => Err(reason.to_string().into()),
    }
}
