// SPDX-License-Identifier: MIT OR Apache-2.0
//! `mode=demo role=a|b`: the guests of `cargo xtask demo`.
//!
//! A greets B, measures round trips with it, then serves the host process. B serves both. Then B passes a file of A's on to
//! the host, and with `act=relay` does that alone.

use ivshmem::channel::{Format, Region};
use ivshmem_scenarios::demo::{
    ask, bye, deliver, pass_on, round_trips, serve, Hop, Link, Porter, Role,
};
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
        let b = link.into_hop();
        answer_host(&mut party, role, greeting)?;
        let mut porter = Porter::new(party, role);
        deliver(&mut porter, b)?;
        porter.leave();
        return Ok(());
    }
    let (mut porter, mut a, mut host) = if cmdline::get("act") == Some("relay") {
        let mut porter = Porter::new(party, role);
        let (a, host) = (porter.meet(Role::A)?, porter.meet(Role::Host)?);
        (porter, a, host)
    } else {
        let mut link = Link::open(&mut party, role, Role::A)?;
        serve(&mut link, greeting)?;
        let a = link.into_hop();
        let host = answer_host(&mut party, role, greeting)?;
        (Porter::new(party, role), a, host)
    };
    pass_on(&mut porter, &mut a, &mut host)?;
    porter.leave();
    Ok(())
}

/// Answers the host until it says bye.
fn answer_host<'m, S: Side>(
    party: &mut Party<'m, S>,
    role: Role,
    greeting: &str,
) -> Result<Hop<'m, S::Bell>, Failure> {
    println!("@ free role={}", role.name());
    let mut link = Link::open(party, role, Role::Host)?;
    serve(&mut link, greeting)?;
    Ok(link.into_hop())
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
