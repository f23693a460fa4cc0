// SPDX-License-Identifier: MIT OR Apache-2.0
//! `mode=demo role=a|b`: the guests of `cargo xtask demo`.
//!
//! A greets B, measures round trips with it, then serves the host process. B serves both.

use ivshmem::channel::{Format, Region};
use ivshmem_scenarios::demo::{ask, bye, round_trips, serve, Link, Role};
use ivshmem_scenarios::party::{Figures, Manner, Party, Side};
use ivshmem_scenarios::Failure;

use crate::{cmdline, guest::Guest, machine::KernelMachine, println};

/// Round trips in a series.
const ROUND_TRIPS: usize = 10_000;

/// Plays the role that the command line names.
pub fn run(machine: &mut KernelMachine) -> Result<(), Failure> {
    let role = cmdline::get("role")
        .and_then(Role::from_name)
        .filter(|role| *role != Role::Host)
        .ok_or("mode=demo wants role=a or role=b")?;
    let guest = Guest::attach(machine)?;
    let region = Region::open_or_format(guest.device.memory(), &Format::default())?;
    let mut party = Party::join(region, &guest, role.member())?;
    println!("@ ready role={} id={}", role.name(), guest.id()?);

    let greeting = match role {
        Role::A => "hello, I am guest A, a bare-metal Rust kernel",
        _ => "hello, I am guest B; nobody but QEMU is between us",
    };
    if role == Role::A {
        let mut link = Link::open(&mut party, role, Role::B)?;
        ask(&mut link, format_args!("{greeting}"))?;
        for manner in Manner::ALL {
            measure(&mut link, manner)?;
        }
        bye(&mut link)?;
    } else {
        serve(&mut Link::open(&mut party, role, Role::A)?, greeting)?;
    }
    println!("@ free role={}", role.name());
    serve(&mut Link::open(&mut party, role, Role::Host)?, greeting)?;
    party.leave();
    Ok(())
}

/// Measures a series and tells the host its figures.
fn measure<S: Side>(link: &mut Link<'_, '_, S>, manner: Manner) -> Result<(), Failure> {
    let mut samples = [0; ROUND_TRIPS];
    let doorbells = round_trips(link, manner, &mut samples)?;
    let figures = Figures::of(&mut samples).ok_or("no samples")?;
    println!(
        "@ figures from={} to={} wait={} count={} p50_ns={} p99_ns={} max_ns={} doorbells={doorbells}",
        link.own.name(),
        link.other.name(),
        manner.name(),
        figures.count,
        figures.p50_ns,
        figures.p99_ns,
        figures.max_ns
    );
    Ok(())
}
