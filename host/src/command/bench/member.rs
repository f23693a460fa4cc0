// SPDX-License-Identifier: MIT OR Apache-2.0
//! A member somewhere else, which sends back what it is sent: [`Distant`].

use std::time::Duration;

use ivshmem_host::channel::{Channels, Connection, Neighbour};

use super::measure::{turns, Motion, Slice, Subject};
use crate::command::pinger::FOR_EVER;
use crate::command::target::Member;
use crate::command::Failure;

/// Bytes of the number of a message, which comes first.
const NUMBER: usize = 8;

/// A member that is pinged.
#[derive(Debug)]
pub(super) struct Distant {
    peer: Neighbour,
    connection: Connection,
    /// For how long to wait for an answer.
    limit: Duration,
    sent: u64,
}

impl Distant {
    /// Connects to it, and has it know that it is pinged.
    pub(super) fn connect(
        channels: &Channels,
        peer: Neighbour,
        limit: Duration,
    ) -> Result<Self, Failure> {
        let connection = channels.connect_to(peer.slot).map_err(|error| {
            Failure::new(format!("cannot connect to {}: {error}", Member(&peer)))
        })?;
        let mut distant = Self {
            peer,
            connection,
            limit,
            sent: 0,
        };
        distant.run(Motion::Asleep, NUMBER, 1)?;
        Ok(distant)
    }

    pub(super) const fn peer(&self) -> &Neighbour {
        &self.peer
    }

    /// Returns the bytes of the longest message that it sends back.
    pub(super) fn longest(&mut self) -> usize {
        self.connection.sender().inner().longest()
    }

    fn turn(&mut self, message: &mut [u8]) -> Result<(), Failure> {
        self.sent += 1;
        let number = self.sent.to_le_bytes();
        for (byte, value) in message.iter_mut().zip(number) {
            *byte = value;
        }
        let who = Member(&self.peer);
        self.connection
            .send(message, self.limit)
            .map_err(|error| Failure::new(format!("{who}: {error}")))?;
        match self.connection.recv(self.limit) {
            Ok(Some(answer)) if *answer == *message => Ok(()),
            Ok(Some(_)) => Err(Failure::new(format!(
                "{who} sent back something else than it was sent; ivshmem dump shows what is wrong in the memory"
            ))),
            Ok(None) => Err(Failure::new(format!(
                "{who} did not answer within {} s; its program may have to, see \"Ping\" in docs/channels.md",
                self.limit.as_secs_f64()
            ))),
            Err(error) => Err(Failure::new(format!("{who}: {error}"))),
        }
    }
}

impl Subject for Distant {
    fn run(&mut self, motion: Motion, len: usize, count: u64) -> Result<Slice, Failure> {
        self.connection.set_spin(match motion {
            Motion::Awake => FOR_EVER,
            Motion::Asleep | Motion::Stream => Duration::ZERO,
        });
        let mut message = vec![0x5a; len];
        turns(count, || self.turn(&mut message))
    }
}
