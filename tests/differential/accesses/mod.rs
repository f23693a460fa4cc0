// SPDX-License-Identifier: MIT OR Apache-2.0
//! Random sequences of what guests and peers do.

mod begin;
mod findings;
mod setup;
mod strategy;

use libtest_mimic::Failed;

use crate::lab::{search, Lab, Need};
use crate::op::describe;
use crate::twin::Twin;
use setup::Setup;

/// Sequences for each device.
const SEQUENCES: u32 = 1800;

pub fn trials() -> Vec<Need> {
    let mut trials = findings::trials();
    for setup in &setup::ALL {
        let name = format!("accesses::{}", setup.name);
        trials.push(Need::new(name, move |lab| compare(lab, setup)));
    }
    trials
}

fn compare(lab: &Lab, setup: &'static Setup) -> Result<(), Failed> {
    // Starting a machine takes far longer than a sequence, so one serves until they differ.
    let mut twin: Option<Twin> = None;
    let mut steps = 0;
    let strategy = strategy::sequences(setup);
    let tried = search(
        setup.name,
        SEQUENCES,
        &strategy,
        |ops| describe(ops),
        |ops| {
            steps += ops.len();
            let mut pair = match twin.take() {
                Some(pair) => pair,
                None => Twin::new(begin::start(lab, setup)?),
            };
            pair.perform(ops)?;
            twin = Some(pair);
            Ok(())
        },
    )?;
    println!(
        "{}: {tried} sequences, {steps} steps, no difference",
        setup.name
    );
    Ok(())
}
