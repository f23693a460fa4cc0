// SPDX-License-Identifier: MIT OR Apache-2.0
//! `what=scribble`: a hostile member, that writes what it is not supposed to.

use core::ops::ControlFlow;

use ivshmem::channel::Region;
use ivshmem_scenarios::{party::Side, traffic, traffic::Scribbler, Failure};

use super::{format, name, number};
use crate::{arch::time, cmdline, guest::Guest, println};

/// How long it is friendly, so that others have something to lose.
const FRIENDLY_NS: u64 = 150_000_000;

/// How long it scribbles while it still talks.
const HOSTILE_NS: u64 = 150_000_000;

/// How long it scribbles over everything, and over how much at once: enough for others to meet it everywhere.
const ALL_NS: u64 = 2_000_000_000;
const STRIKES: u32 = 64;
const PAUSE_NS: u64 = 1_000_000;

/// Scribbles over what the command line says.
pub fn run(guest: &Guest<'_>) -> Result<(), Failure> {
    let seed: u64 = number("seed")?.ok_or("what=scribble wants seed=NUMBER")?;
    println!("@ scribbling seed={seed}");
    match cmdline::get("over") {
        Some("own") => {
            for round in 0..number("rounds")?.unwrap_or(1_u64) {
                own_rings(guest, seed.wrapping_add(round))?;
            }
        }
        Some("all") => all(guest, seed)?,
        _ => return Err(Failure::from("what=scribble wants over=own|all")),
    }
    println!("@ scribbled");
    Ok(())
}

/// Joins, talks, scribbles over its own rings while it talks, and leaves.
fn own_rings(guest: &Guest<'_>, seed: u64) -> Result<(), Failure> {
    let memory = guest.device.memory();
    let mut scribbler = None;
    let mut strikes = 0_u64;
    let mut start_ns = None;
    traffic::mingle(memory, &format()?, guest, name("name")?, |party| {
        let Some(party) = party else {
            return Ok(ControlFlow::Continue(()));
        };
        let now_ns = time::now_ns();
        let since_ns = now_ns - *start_ns.get_or_insert(now_ns);
        if since_ns > FRIENDLY_NS + HOSTILE_NS {
            return Ok(ControlFlow::Break(()));
        }
        if since_ns > FRIENDLY_NS {
            let scribbler = match &mut scribbler {
                Some(scribbler) => scribbler,
                place => {
                    let region = Region::open(memory)?;
                    let own = party.member().slot();
                    place.insert(Scribbler::over_rings_of(memory, &region, own, seed)?)
                }
            };
            for _ in 0..STRIKES {
                scribbler.strike()?;
                strikes += 1;
            }
        }
        Ok(ControlFlow::Continue(()))
    })?;
    println!("@ round seed={seed} strikes={strikes}");
    Ok(())
}

/// Joins, talks, and scribbles over everything but the rings between two others.
fn all(guest: &Guest<'_>, seed: u64) -> Result<(), Failure> {
    let memory = guest.device.memory();
    let spared = (name("spare")?, name("but")?);
    let mut found = None;
    let mut start_ns = None;
    traffic::mingle(memory, &format()?, guest, name("name")?, |party| {
        if let Some(party) = party {
            let now_ns = time::now_ns();
            let since_ns = now_ns - *start_ns.get_or_insert(now_ns);
            found = party.find(spared.0).zip(party.find(spared.1));
            if since_ns > FRIENDLY_NS && found.is_some() {
                return Ok(ControlFlow::Break(()));
            }
        }
        Ok(ControlFlow::Continue(()))
    })?;
    let slots = found.ok_or("the two that are to be spared are not there")?;
    let region = Region::open(memory)?;
    let mut scribbler = Scribbler::over_all_but(memory, &region, slots, seed)?;
    let end_ns = time::now_ns() + ALL_NS;
    while time::now_ns() < end_ns {
        for _ in 0..STRIKES {
            scribbler.strike()?;
        }
        guest.sleep(guest.doorbells(), time::now_ns() + PAUSE_NS)?;
    }
    Ok(())
}
