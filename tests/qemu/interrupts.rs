// SPDX-License-Identifier: MIT OR Apache-2.0
//! Trials of MSI-X: the scenarios that ring themselves, on each kind of machine.

use libtest_mimic::Failed;

use crate::guests::{Place, TestServer};
use crate::lab::{Lab, Need, PATIENCE};

const SCENARIOS: [&str; 5] = [
    "msix-deliver",
    "msix-mask",
    "msix-retarget",
    "doorbell-absent",
    "detach",
];

pub fn trials() -> Vec<Need> {
    let mut trials = Vec::new();
    for place in [Place::Pc, Place::Q35, Place::RootPort] {
        for scenario in SCENARIOS {
            let name = format!("interrupts::{scenario}_on_{}", place.name());
            trials.push(Need::new(name, move |lab| run(lab, place, scenario, 4)));
        }
    }
    // More than 128 vectors move the pending bits from 0x800; 200 IDs of vectors stay below the doorbell's 255.
    trials.push(Need::new(
        "interrupts::of_a_device_with_200_vectors",
        |lab: &Lab| run(lab, Place::Q35, "msix-mask", 200),
    ));
    trials
}

fn run(lab: &Lab, place: Place, scenario: &str, vectors: u16) -> Result<(), Failed> {
    let server = TestServer::start(1 << 20, vectors)?;
    let guest = lab.guest(&format!("run={scenario}"));
    server.doorbell(guest, place).spawn()?.finish(PATIENCE)?;
    Ok(())
}
