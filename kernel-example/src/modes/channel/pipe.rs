// SPDX-License-Identifier: MIT OR Apache-2.0
//! `what=sink` and `what=source`: the other sides of `ivshmem send` and `ivshmem recv`.

use ivshmem_scenarios::{
    pipe::{self, Sink},
    Failure,
};

use super::{join, name, number};
use crate::{guest::Guest, println, serial};

/// Takes streams until the host says something.
pub fn sink(guest: &Guest<'_>) -> Result<(), Failure> {
    let mut sink = Sink::new(join(guest)?);
    while !serial::has_input() {
        sink.step()?;
    }
    sink.leave();
    Ok(())
}

/// Sends a stream of as many bytes as the command line says.
pub fn source(guest: &Guest<'_>) -> Result<(), Failure> {
    let bytes = number("bytes")?.ok_or("what=source wants bytes=NUMBER")?;
    let mut party = join(guest)?;
    pipe::send(&mut party, name("to")?, bytes)?;
    println!("@ sent bytes={bytes}");
    party.leave();
    Ok(())
}
