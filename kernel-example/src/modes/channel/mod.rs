// SPDX-License-Identifier: MIT OR Apache-2.0
//! `mode=channel what=NAME name=NAME`: a member of a region of channels, under that name.
//!
//! | what | more words | |
//! | --- | --- | --- |
//! | `send`, `receive` | `to=NAME messages=N` | one side of a stream in which every wait goes through the interrupt |
//! | `tasks` | `to=NAME messages=N` | exchanges checked messages with one of a crowd, as tasks of an executor |
//! | `crowd` | | exchanges checked messages with everybody until the host says something, then leaves |
//! | `echo` | | answers pings until the host says something, then leaves; all others answer them, too |
//! | `sink` | | takes the streams of `ivshmem send` until the host says something, then leaves |
//! | `source` | `to=NAME bytes=N` | sends a stream to `ivshmem recv NAME` |
//! | `scribble` | `over=own rounds=N seed=N` | exchanges messages, scribbles over its own rings, and returns, N times |
//! | `scribble` | `over=all spare=NAME but=NAME seed=N` | scribbles over all but the rings between those two |
//!
//! Whoever comes first formats the region, with `slots=N` and rings of 2^`ring=N` bytes.

mod crowd;
mod echo;
mod flood;
mod pipe;
mod scribble;
mod tasks;

use core::str::FromStr;

use ivshmem::channel::{Format, Name, Region};
use ivshmem_scenarios::party::Party;
use ivshmem_scenarios::Failure;

use crate::{cmdline, guest::Guest, machine::KernelMachine, println};

/// Runs what the command line names.
pub fn run(machine: &mut KernelMachine) -> Result<(), Failure> {
    let guest = Guest::attach(machine)?;
    match cmdline::get("what") {
        Some("send") => flood::send(&guest),
        Some("receive") => flood::receive(&guest),
        Some("crowd") => crowd::run(&guest),
        Some("echo") => echo::run(&guest),
        Some("scribble") => scribble::run(&guest),
        Some("sink") => pipe::sink(&guest),
        Some("source") => pipe::source(&guest),
        Some("tasks") => tasks::run(&guest),
        _ => Err(Failure::from(
            "mode=channel wants what=send|receive|crowd|echo|scribble|sink|source|tasks",
        )),
    }
}

/// Joins the region as the command line says.
fn join<'g>(guest: &'g Guest<'_>) -> Result<Party<'g, &'g Guest<'g>>, Failure> {
    let region = Region::open_or_format(guest.device.memory(), &format()?)?;
    let party = Party::join(region, guest, name("name")?)?;
    println!(
        "@ joined slot={} incarnation={}",
        party.member().slot(),
        party.member().incarnation()
    );
    Ok(party)
}

/// Returns the format that the command line says.
fn format() -> Result<Format, Failure> {
    Ok(Format {
        slots: number("slots")?.unwrap_or(Format::default().slots),
        ring_log2: number("ring")?,
    })
}

/// Returns the name that a word on the command line gives.
fn name(key: &str) -> Result<Name, Failure> {
    let name = cmdline::get(key);
    name.map(Name::new)
        .ok_or_else(|| Failure::new(format_args!("mode=channel wants {key}=NAME")))
}

/// Returns how many messages the command line wants.
fn messages() -> Result<u64, Failure> {
    number("messages")?.ok_or_else(|| Failure::from("mode=channel wants messages=NUMBER"))
}

/// Returns the number that a word on the command line gives, if it is there.
fn number<T: FromStr>(key: &str) -> Result<Option<T>, Failure> {
    let parse = |text: &str| {
        text.parse()
            .map_err(|_| Failure::new(format_args!("{key}={text} is not a number in range")))
    };
    cmdline::get(key).map(parse).transpose()
}
