// SPDX-License-Identifier: MIT OR Apache-2.0
//! `what=send` and `what=receive`: the two sides of a stream in which every wait goes through the interrupt.

use ivshmem_scenarios::{traffic, Failure};

use super::{join, messages, name};
use crate::{guest::Guest, println};

/// Sends as many messages as the command line says.
pub fn send(guest: &Guest<'_>) -> Result<(), Failure> {
    let mut party = join(guest)?;
    let mut endpoint = party.meet(name("to")?)?;
    let tally = traffic::send(&mut party, &mut endpoint, messages()?)?;
    println!("@ sent {tally}");
    // What is in the ring is received all the same.
    party.leave();
    Ok(())
}

/// Receives as many.
pub fn receive(guest: &Guest<'_>) -> Result<(), Failure> {
    let mut party = join(guest)?;
    let mut endpoint = party.meet(name("to")?)?;
    let tally = traffic::receive(&mut party, &mut endpoint, messages()?)?;
    println!("@ received {tally}");
    party.leave();
    Ok(())
}
