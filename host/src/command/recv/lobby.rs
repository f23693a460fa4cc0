// SPDX-License-Identifier: MIT OR Apache-2.0
//! Waiting for somebody who sends: [`Lobby`].

use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use ivshmem::channel::{Evicted, Name, SlotIndex, Wait};
use ivshmem_host::channel::{Channels, ConnectError, Connection, Receiver};

use super::NAP;
use crate::command::interrupt::Interrupt;
use crate::command::pipe::{self, GLANCE};
use crate::command::Failure;

/// Everybody who might send.
pub(super) struct Lobby<'c> {
    channels: &'c Channels,
    from: Option<Name>,
    guests: Vec<Guest>,
}

struct Guest {
    slot: SlotIndex,
    incarnation: u32,
    /// Nothing once it has said something else.
    connection: Option<Connection>,
}

impl<'c> Lobby<'c> {
    /// Begins with nobody; only those named `from` are let in, if a name is given.
    pub(super) const fn new(channels: &'c Channels, from: Option<Name>) -> Self {
        Self {
            channels,
            from,
            guests: Vec::new(),
        }
    }

    /// Waits until `end` for a first message that is wanted.
    pub(super) fn wait(
        &mut self,
        end: Option<Instant>,
        interrupt: &Interrupt,
        is_wanted: impl Fn(&[u8]) -> bool,
    ) -> Result<Option<(Connection, Vec<u8>)>, Failure> {
        loop {
            self.welcome()?;
            for guest in &mut self.guests {
                let Some(connection) = &mut guest.connection else {
                    continue;
                };
                let message = match connection.receiver().try_recv() {
                    Ok(None) => continue,
                    Ok(Some(message)) => is_wanted(message).then(|| message.to_vec()),
                    Err(_) => None,
                };
                let connection = guest.connection.take();
                if let Some(first) = connection.zip(message) {
                    return Ok(Some(first));
                }
            }
            if interrupt.came() || end.is_some_and(|end| Instant::now() >= end) {
                return Ok(None);
            }
            self.sleep(interrupt);
        }
    }

    /// Connects to those who have come.
    fn welcome(&mut self) -> Result<(), Failure> {
        let peers = self.channels.peers();
        let peers = peers.map_err(|evicted: Evicted| Failure::new(evicted))?;
        self.guests.retain(|guest| {
            peers
                .iter()
                .any(|peer| (peer.slot, peer.incarnation) == (guest.slot, guest.incarnation))
        });
        for peer in peers.iter().filter(|peer| peer.lives) {
            let is_other = self.from.is_some_and(|from| from != peer.name);
            let is_known = self.guests.iter().any(|guest| guest.slot == peer.slot);
            if is_other || is_known {
                continue;
            }
            match self.channels.connect_to(peer.slot) {
                Ok(connection) => self.guests.push(Guest {
                    slot: peer.slot,
                    incarnation: peer.incarnation,
                    connection: Some(connection),
                }),
                Err(ConnectError::Slot(_)) => {}
                Err(error) => return Err(Failure::new(error)),
            }
        }
        Ok(())
    }

    /// Sleeps until anybody rings, for a moment if somebody cannot.
    fn sleep(&mut self, interrupt: &Interrupt) {
        let connections = self.guests.iter_mut();
        let connections = connections.filter_map(|guest| guest.connection.as_mut());
        let mut receivers: Vec<&mut Receiver> = connections.map(Connection::receiver).collect();
        let wait = receivers
            .iter_mut()
            // The next look tells of one that is broken.
            .map(|receiver| receiver.arm().unwrap_or(Wait::Briefly))
            .fold(Wait::UntilRung, Wait::sooner);
        let mut fds = vec![interrupt.as_fd()];
        fds.extend(receivers.iter().map(AsFd::as_fd));
        let limit = match wait {
            Wait::Ready => Duration::ZERO,
            Wait::Briefly => NAP,
            Wait::UntilRung => GLANCE,
        };
        pipe::sleep_for(&fds, limit);
    }
}
