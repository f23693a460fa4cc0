// SPDX-License-Identifier: MIT OR Apache-2.0
//! A stream of messages in which every wait goes through the interrupt.
//!
//! Whoever was told to sleep until it is rung does not look at the ring before it is, however long that takes. So a lost
//! wake-up ends the stream, and is then found and told.

use core::fmt;

use ivshmem::channel::{Endpoint, Wait};

use super::checked::{compose, examine, LONGEST};
use crate::party::{Attempt, Party, Receiving, Sending, Side};
use crate::Failure;

/// How long a sleeper trusts that it will be rung. By then, whoever should have rung would have done so on any
/// machine.
const TRUST_NS: u64 = 20_000_000_000;

/// The stream.
const SEED: u64 = 0xf100_0d5e;

/// What a stream has cost one of its sides.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Messages sent or received.
    pub messages: u64,
    /// Sleeps that only a doorbell has ended.
    pub sleeps: u64,
    /// Sleeps for a limited time.
    pub naps: u64,
    /// Times at which there was nothing to wait for any more after arming.
    pub spared: u64,
    /// Doorbells heard.
    pub doorbells: u64,
    /// Time in nanoseconds.
    pub ns: u64,
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "messages={} sleeps={} naps={} spared={} doorbells={} ns={}",
            self.messages, self.sleeps, self.naps, self.spared, self.doorbells, self.ns
        )
    }
}

/// Sends `messages` messages.
///
/// # Errors
///
/// - The connection has come to its end, or a wake-up was lost.
pub fn send<'m, S: Side>(
    party: &mut Party<'m, S>,
    endpoint: &mut Endpoint<'m, S::Bell>,
    messages: u64,
) -> Result<Tally, Failure> {
    let mut buffer = [0; LONGEST];
    run(party, messages, |party, number, tally| {
        let message = compose(SEED, number, &mut buffer);
        let sender = endpoint.sender();
        until(party, &mut Sending { sender, message }, tally)
    })
}

/// Receives and checks `messages` messages.
///
/// # Errors
///
/// - The connection has come to its end, a wake-up was lost, or a message is not the next one that was sent.
pub fn receive<'m, S: Side>(
    party: &mut Party<'m, S>,
    endpoint: &mut Endpoint<'m, S::Bell>,
    messages: u64,
) -> Result<Tally, Failure> {
    let mut buffer = [0; LONGEST];
    run(party, messages, |party, number, tally| {
        let receiver = endpoint.receiver();
        let buffer = buffer.as_mut_slice();
        let len = until(party, &mut Receiving { receiver, buffer }, tally)?;
        examine(SEED, number, &buffer[..len])
    })
}

/// Does something for each message, and returns what that has cost.
fn run<'m, S: Side>(
    party: &mut Party<'m, S>,
    messages: u64,
    mut step: impl FnMut(&mut Party<'m, S>, u64, &mut Tally) -> Result<(), Failure>,
) -> Result<Tally, Failure> {
    let (start_ns, heard) = (party.side.now_ns(), party.side.doorbells());
    let mut tally = Tally::default();
    for number in 0..messages {
        step(party, number, &mut tally)?;
        tally.messages += 1;
    }
    tally.doorbells = party.side.doorbells() - heard;
    tally.ns = party.side.now_ns() - start_ns;
    Ok(tally)
}

/// Tries until something succeeds, asleep in between.
fn until<S: Side, A: Attempt>(
    party: &mut Party<'_, S>,
    attempt: &mut A,
    tally: &mut Tally,
) -> Result<A::Done, Failure> {
    loop {
        let heard = party.side.doorbells();
        if let Some(done) = attempt.again()? {
            return Ok(done);
        }
        match attempt.arm()? {
            Wait::Ready => tally.spared += 1,
            Wait::UntilRung => {
                tally.sleeps += 1;
                sleep_until_rung(party, attempt, heard)?;
            }
            Wait::Briefly => {
                tally.naps += 1;
                party.rest(Wait::Briefly, heard)?;
            }
        }
        party.keep()?;
    }
}

/// Sleeps until more doorbells than `heard` have come.
fn sleep_until_rung<S: Side, A: Attempt>(
    party: &mut Party<'_, S>,
    attempt: &mut A,
    heard: u64,
) -> Result<(), Failure> {
    let start_ns = party.side.now_ns();
    loop {
        party.side.sleep(heard, party.beat_ns())?;
        if party.side.doorbells() != heard {
            return Ok(());
        }
        party.keep()?;
        if party.side.now_ns() - start_ns > TRUST_NS {
            return Err(match attempt.again()? {
                Some(_) => Failure::from("a wake-up was lost: nobody rang for what is there"),
                None => Failure::from("the other side is silent"),
            });
        }
    }
}
