// SPDX-License-Identifier: MIT OR Apache-2.0
//! Trials of channels between machines, and between machines and this process.

mod flood;
pub mod host;
mod hostile;
mod membership;
mod tasks;
pub mod voice;

use std::time::Duration;

use libtest_mimic::Failed;
use xtask::qemu::{Guest, Vm};

use crate::guests::{Place, TestServer};
use crate::lab::{hear, Lab, Need};

/// Vectors of each peer: as many as the kernel and host parties listen to.
const VECTORS: u16 = xtask::party::VECTORS;

pub fn trials() -> Vec<Need> {
    let groups = [
        flood::trials(),
        membership::trials(),
        hostile::trials(),
        tasks::trials(),
    ];
    groups.into_iter().flatten().collect()
}

/// Describes a guest that is a member called `name`, told what to do by `words`.
fn member(lab: &Lab, name: &str, words: &str) -> Guest {
    lab.guest(&format!("mode=channel name={name} {words}"))
        .name(name)
}

/// Boots such a guest with a doorbell of `server`, which may live for so long, and waits until it is a member.
fn boot(
    lab: &Lab,
    server: &TestServer,
    name: &str,
    words: &str,
    lifetime: Duration,
) -> Result<Vm, Failed> {
    let guest = member(lab, name, words).lifetime(lifetime);
    let vm = server.doorbell(guest, Place::Pc).spawn()?;
    hear(&vm, "joined")?;
    Ok(vm)
}
