// SPDX-License-Identifier: MIT OR Apache-2.0
//! A stream of messages in which every wait goes through the interrupt.
//!
//! Whoever was told to sleep until it is rung does not look at the ring before it is, however long that takes. So a lost
//! wake-up ends the stream, and is then found and told.

use core::fmt;
use core::ops::ControlFlow;

use ivshmem::channel::{Endpoint, Idle, SendError, Wait};

use super::checked::{compose, examine, LONGEST};
use crate::party::{Party, Side};
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
    let mut sleeper = Sleeper::new(party);
    for number in 0..messages {
        let message = compose(SEED, number, &mut buffer);
        let sender = endpoint.sender();
        match sender.send_with(message, &mut sleeper) {
            Err(SendError::Full) => {
                return Err(sleeper.failure(sender.try_send(message).is_ok()));
            }
            sent => sent?,
        }
    }
    Ok(sleeper.tally(messages))
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
    let mut sleeper = Sleeper::new(party);
    for number in 0..messages {
        let receiver = endpoint.receiver();
        match receiver.recv_with(&mut buffer, &mut sleeper)? {
            Some(len) => examine(SEED, number, &buffer[..len])?,
            None => return Err(sleeper.failure(receiver.try_recv(&mut buffer)?.is_some())),
        }
    }
    Ok(sleeper.tally(messages))
}

/// One who sleeps whenever it has to wait.
struct Sleeper<'p, 'm, S: Side> {
    party: &'p mut Party<'m, S>,
    tally: Tally,
    start_ns: u64,
    heard_at_start: u64,
    /// Doorbells heard before the last look.
    heard: u64,
    failure: Option<Failure>,
}

impl<'p, 'm, S: Side> Sleeper<'p, 'm, S> {
    fn new(party: &'p mut Party<'m, S>) -> Self {
        let heard = party.side.doorbells();
        Self {
            tally: Tally::default(),
            start_ns: party.side.now_ns(),
            heard_at_start: heard,
            heard,
            failure: None,
            party,
        }
    }

    /// Returns what `messages` messages have cost.
    fn tally(self, messages: u64) -> Tally {
        Tally {
            messages,
            doorbells: self.party.side.doorbells() - self.heard_at_start,
            ns: self.party.side.now_ns() - self.start_ns,
            ..self.tally
        }
    }

    /// Returns why a sleep has ended that nobody has ended. `was_due` says whether there was something to wake up for.
    fn failure(self, was_due: bool) -> Failure {
        self.failure.unwrap_or_else(|| {
            Failure::from(if was_due {
                "a wake-up was lost: nobody rang for what is there"
            } else {
                "the other side is silent"
            })
        })
    }

    /// Sleeps as told.
    fn rest(&mut self, wait: Wait) -> Result<ControlFlow<()>, Failure> {
        match wait {
            Wait::Ready => self.tally.spared += 1,
            Wait::UntilRung => {
                self.tally.sleeps += 1;
                return self.sleep_until_rung();
            }
            Wait::Briefly => {
                self.tally.naps += 1;
                self.party.rest(wait, self.heard)?;
            }
        }
        self.party.keep()?;
        Ok(ControlFlow::Continue(()))
    }

    /// Sleeps until a doorbell has come since the last look; breaks if none comes.
    fn sleep_until_rung(&mut self) -> Result<ControlFlow<()>, Failure> {
        let start_ns = self.party.side.now_ns();
        loop {
            self.party.side.sleep(self.heard, self.party.beat_ns())?;
            self.party.keep()?;
            if self.party.side.doorbells() != self.heard {
                return Ok(ControlFlow::Continue(()));
            }
            if self.party.side.now_ns() - start_ns > TRUST_NS {
                return Ok(ControlFlow::Break(()));
            }
        }
    }
}

impl<S: Side> Idle for &mut Sleeper<'_, '_, S> {
    fn sleep(&mut self, wait: Wait) -> ControlFlow<()> {
        let rested = self.rest(wait);
        self.heard = self.party.side.doorbells();
        rested.unwrap_or_else(|failure| {
            self.failure = Some(failure);
            ControlFlow::Break(())
        })
    }
}
