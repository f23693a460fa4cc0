// SPDX-License-Identifier: MIT OR Apache-2.0
//! `mode=demo role=a|b`: the guests of `cargo xtask demo`.
//!
//! A greets B, measures round trips with it, then serves the host process. B serves both.

use core::fmt;

use ivshmem::{PeerId, VectorIndex};
use ivshmem_scenarios::demo::{
    ask, bye, meet, round_trips, serve, Figures, Link, Mailbox, Role, Side, Wait,
};
use ivshmem_scenarios::{device, Failure, Machine};

use crate::{
    arch::{cpu, time},
    cmdline,
    devices::Device,
    machine::KernelMachine,
    println,
};

/// How long another role may take. The host process boots guests and builds things meanwhile.
const TIME_LIMIT_NS: u64 = 30_000_000_000;

/// Round trips in a series.
const ROUND_TRIPS: usize = 10_000;

/// The vector that announces messages.
const VECTOR: VectorIndex = VectorIndex(0);

/// Plays the role that the command line names.
pub fn run(machine: &mut KernelMachine) -> Result<(), Failure> {
    let role = cmdline::get("role")
        .and_then(Role::from_name)
        .filter(|role| *role != Role::Host)
        .ok_or("mode=demo wants role=a or role=b")?;
    let function = device(machine)?;
    let device = machine.attach(&function, 1)?;
    let own = (role, device.position()?);
    println!("@ ready role={} id={}", role.name(), own.1);

    let greeting = match role {
        Role::A => "hello, I am guest A, a bare-metal Rust kernel",
        _ => "hello, I am guest B; nobody but QEMU is between us",
    };
    if role == Role::A {
        let mut link = connect(machine, &device, own, Role::B)?;
        ask(&mut link, format_args!("{greeting}"))?;
        measure(&mut link, Wait::Doorbell)?;
        measure(&mut link, Wait::Polling)?;
        bye(&mut link)?;
    } else {
        serve(&mut connect(machine, &device, own, Role::A)?, greeting)?;
    }
    println!("@ free role={}", role.name());
    serve(&mut connect(machine, &device, own, Role::Host)?, greeting)
}

/// Measures a series and tells the host its figures.
fn measure(link: &mut Link<'_, GuestSide<'_>>, how: Wait) -> Result<(), Failure> {
    let mut samples = [0; ROUND_TRIPS];
    let doorbells = round_trips(link, how, &mut samples)?;
    let figures = Figures::of(&mut samples).ok_or("no samples")?;
    println!(
        "@ figures from={} to={} wait={} count={} p50_ns={} p99_ns={} max_ns={} doorbells={doorbells}",
        link.own.name(),
        link.other.name(),
        how.name(),
        figures.count,
        figures.p50_ns,
        figures.p99_ns,
        figures.max_ns
    );
    Ok(())
}

/// Waits until `other` is there too, and returns the conversation with it.
fn connect<'d>(
    machine: &'d KernelMachine,
    device: &'d Device,
    own: (Role, PeerId),
    other: Role,
) -> Result<Link<'d, GuestSide<'d>>, Failure> {
    let memory = device.memory();
    let mut present = meet(&memory, own, other)?;
    let mut peer = None;
    let deadline = time::now_ns() + TIME_LIMIT_NS;
    cpu::wait_until(deadline, || {
        peer = present();
        peer.is_some()
    });
    let peer = peer.ok_or_else(|| Failure::new(format_args!("{other} does not show up")))?;
    Ok(Link {
        side: GuestSide {
            machine,
            device,
            peer,
        },
        mailbox: Mailbox::new(&memory, own.0, other)?,
        own: own.0,
        other,
    })
}

/// A guest in a conversation with `peer`.
struct GuestSide<'d> {
    machine: &'d KernelMachine,
    device: &'d Device,
    peer: PeerId,
}

impl Side for GuestSide<'_> {
    fn wait(&mut self, how: Wait, condition: &mut dyn FnMut() -> bool) -> Result<(), Failure> {
        let deadline = time::now_ns() + TIME_LIMIT_NS;
        let held = match how {
            Wait::Doorbell => cpu::wait_until(deadline, condition),
            Wait::Polling => cpu::spin_until(deadline, condition),
        };
        if held {
            Ok(())
        } else {
            Err(Failure::new(format_args!("peer {} is silent", self.peer)))
        }
    }

    fn ring(&mut self) -> Result<(), Failure> {
        Ok(self.device.ring(self.peer, VECTOR)?)
    }

    fn doorbells(&mut self) -> u64 {
        self.machine.interrupts(VECTOR).into()
    }

    fn now_ns(&mut self) -> u64 {
        time::now_ns()
    }

    fn show(&mut self, line: fmt::Arguments<'_>) {
        println!("{line}");
    }
}
