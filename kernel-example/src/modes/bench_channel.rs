// SPDX-License-Identifier: MIT OR Apache-2.0
//! `mode=bench-channel role=a|b`: the guests of `cargo xtask bench`. A measures with B, then with the host process.

use ivshmem_scenarios::bench::{measure, serve, Buffer, Ground};
use ivshmem_scenarios::demo::Role;
use ivshmem_scenarios::party::{Party, Side};
use ivshmem_scenarios::Failure;

use crate::{cmdline, guest::Guest, machine::KernelMachine, println};

/// Plays the role that the command line names.
pub fn run(machine: &mut KernelMachine) -> Result<(), Failure> {
    let role = cmdline::get("role")
        .and_then(Role::from_name)
        .filter(|role| *role != Role::Host)
        .ok_or("mode=bench-channel wants role=a or role=b")?;
    let guest = Guest::attach(machine)?;
    let ground = Ground::open(guest.device.memory())?;
    let mut party = Party::join(ground.region, &guest, role.member())?;
    println!("@ ready role={} id={}", role.name(), guest.id()?);
    let mut buffer: Buffer = [0x5a; size_of::<Buffer>()];
    if role == Role::B {
        let mut endpoint = party.meet(Role::A.member())?;
        serve(&mut party, &mut endpoint, &ground, &mut buffer)?;
    } else {
        for other in [Role::B, Role::Host] {
            let mut endpoint = party.meet(other.member())?;
            println!("@ measuring with={}", other.name());
            measure(
                &mut party,
                &mut endpoint,
                &ground,
                &mut buffer,
                |side, row| {
                    side.show(format_args!("@ bench with={} {row}", other.name()));
                },
            )?;
        }
    }
    party.leave();
    Ok(())
}
