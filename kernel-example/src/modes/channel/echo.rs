// SPDX-License-Identifier: MIT OR Apache-2.0
//! `what=echo`: a member that does nothing but answer pings.

use ivshmem::channel::Wait;
use ivshmem_scenarios::{party::Side, Failure};

use super::join;
use crate::{guest::Guest, println, serial};

/// Answers until the host says something. One that was stopped for so long that it has lost its slot joins again.
pub fn run(guest: &Guest<'_>) -> Result<(), Failure> {
    let mut party = join(guest)?;
    while !serial::has_input() {
        let heard = guest.doorbells();
        if guest.now_ns() < party.beat_ns() {
            party.rest(Wait::UntilRung, heard)?;
        } else if party.poll_event().is_err() {
            println!("@ evicted");
            party = join(guest)?;
        }
    }
    println!("@ answered pings={}", party.answered());
    party.leave();
    Ok(())
}
