// SPDX-License-Identifier: MIT OR Apache-2.0
//! Being a member of a region: [`Channels`].

use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Duration;

use ivshmem::channel::{self, Event, Evicted, Name, SlotIndex};

use super::connection::{Connection, Fate};
use super::error::ConnectError;
use super::keeper::Keeper;
use super::pulse::Pulse;
use super::receiver::{Incoming, Receiver};
use super::roster::Neighbour;
use super::seat::{Attachment, Seat};
use super::sender::{Outbound, Sender};
use super::waiting::Waiter;
use crate::deadline::Deadline;
use crate::peer::Doorbells;

/// How often somebody who waits for a member looks for it.
pub(super) const LOOK_INTERVAL: Duration = Duration::from_millis(2);

/// A member of a region; see [`Options`](super::Options) for how to become one.
///
/// All threads of a process may use it at once. Dropping it leaves the region.
#[derive(Debug)]
pub struct Channels {
    seat: Arc<Seat>,
    manner: Manner,
    /// For its `drop`.
    _keeper: Keeper,
}

/// How the connections of a member wait and receive.
#[derive(Debug)]
pub(super) struct Manner {
    pub(super) spin: Duration,
    pub(super) pulse: Arc<Pulse>,
    pub(super) longest: usize,
}

impl Channels {
    pub(super) const fn new(seat: Arc<Seat>, keeper: Keeper, manner: Manner) -> Self {
        Self {
            seat,
            manner,
            _keeper: keeper,
        }
    }

    /// Returns this member's slot.
    #[must_use]
    pub fn slot(&self) -> SlotIndex {
        self.seat.place().slot
    }

    /// Returns this member's incarnation.
    #[must_use]
    pub fn incarnation(&self) -> u32 {
        self.seat.place().incarnation
    }

    /// Returns the doorbells of all peers that the server has told of, members or not; of nobody without a server.
    #[must_use]
    pub fn doorbells(&self) -> Doorbells {
        self.seat.bell().doorbells().clone()
    }

    /// Returns how it stands with the server.
    ///
    /// When that is ended or killed, the member goes on and joins the next one at the same socket by itself. Only one that has
    /// other memory ends it: its connections are evicted, and it may join again.
    #[must_use]
    pub fn attachment(&self) -> Attachment {
        self.seat.attachment()
    }

    /// Returns the other members by slot, those that show no signs of life included.
    ///
    /// # Errors
    ///
    /// - [`Evicted`]: this member has lost its slot. Join again.
    pub fn peers(&self) -> Result<Vec<Neighbour>, Evicted> {
        self.seat.look()?;
        Ok(self.seat.roster().neighbours())
    }

    /// Returns the next thing that has happened to another member, waiting for it for at most `limit`.
    ///
    /// The newest 1024 are kept for a program that does not ask; [`Channels::peers`] says what is true now.
    ///
    /// # Errors
    ///
    /// - [`Evicted`]: this member has lost its slot. Join again.
    pub fn next_event(&self, limit: Duration) -> Result<Option<Event>, Evicted> {
        let deadline = Deadline::after(limit);
        loop {
            let event = self.poll_event()?;
            let left = deadline.remaining();
            if event.is_some() || left.is_zero() {
                return Ok(event);
            }
            self.seat.roster().wait(left.min(LOOK_INTERVAL));
        }
    }

    /// Connects to a member of this name that lives and that was not connected to in its present incarnation, waiting for one
    /// for at most `limit`. The other side does the same, sooner or later: what is sent before waits in the ring.
    ///
    /// When the peer has restarted, or was taken for dead, this connects to the one who has come for it.
    ///
    /// # Errors
    ///
    /// - [`ConnectError::NobodyThere`]: there was none.
    /// - [`ConnectError::Evicted`]: this member has lost its slot.
    /// - [`ConnectError::System`]: the system has no descriptor left.
    pub fn connect(&self, name: &str, limit: Duration) -> Result<Connection, ConnectError> {
        let name = Name::new(name);
        let deadline = Deadline::after(limit);
        loop {
            if let Some(connection) = self.connect_named(name, |slot| self.connect_to(slot))? {
                return Ok(connection);
            }
            let left = deadline.remaining();
            if left.is_zero() {
                return Err(ConnectError::NobodyThere { name });
            }
            std::thread::sleep(left.min(LOOK_INTERVAL));
        }
    }

    /// Connects to the member in a slot; see [`Member::connect`](channel::Member::connect).
    ///
    /// # Errors
    ///
    /// - [`ConnectError::Slot`]: nobody is there, or it was connected to already.
    /// - [`ConnectError::Evicted`]: this member has lost its slot.
    /// - [`ConnectError::System`]: the system has no descriptor left.
    pub fn connect_to(&self, slot: SlotIndex) -> Result<Connection, ConnectError> {
        // First, since there is one connection to each incarnation, and only one try.
        let (sending, receiving) = (self.waiter(slot)?, self.waiter(slot)?);
        let (outbound, incoming) = self.halves(slot)?;
        Ok(Connection {
            sender: Sender::new(outbound, sending),
            receiver: Receiver::new(incoming, receiving),
        })
    }

    /// Connects to the member in a slot, and leaves it to the caller how its halves wait.
    pub(super) fn halves(&self, slot: SlotIndex) -> Result<(Outbound, Incoming), ConnectError> {
        let endpoint = self.seat.connect(slot).map_err(|error| match error {
            channel::ConnectError::Evicted => ConnectError::Evicted,
            error => ConnectError::Slot(error),
        })?;
        let fate = Fate::new(self.seat.roster().dead(), slot, endpoint.incarnation());
        let (sender, receiver) = endpoint.split();
        Ok((
            Outbound::new(sender, fate.clone()),
            Incoming::new(receiver, fate, self.manner.longest),
        ))
    }

    /// Returns what a half waits with that is rung by the member in `slot`.
    pub(super) fn waiter(&self, slot: SlotIndex) -> Result<Waiter, ConnectError> {
        let Manner { spin, pulse, .. } = &self.manner;
        let rings = self.seat.hearing().listen(slot, [pulse.as_fd()]);
        let rings = rings.map_err(ConnectError::System)?;
        Ok(Waiter::new(rings, *spin, pulse))
    }

    /// Connects by `connect` to the first member of this name that lives and that was not connected to; `None` if there is
    /// none now.
    pub(super) fn connect_named<C>(
        &self,
        name: Name,
        mut connect: impl FnMut(SlotIndex) -> Result<C, ConnectError>,
    ) -> Result<Option<C>, ConnectError> {
        let peers = self.peers().map_err(|Evicted| ConnectError::Evicted)?;
        for peer in peers.iter().filter(|peer| peer.lives && peer.name == name) {
            match connect(peer.slot) {
                Err(ConnectError::Slot(_)) => {}
                result => return result.map(Some),
            }
        }
        Ok(None)
    }

    /// Returns the next thing that has happened to another member, if there is one.
    pub(super) fn poll_event(&self) -> Result<Option<Event>, Evicted> {
        // Its error comes behind the events before.
        let _ = self.seat.look();
        self.seat.roster().next_event()
    }
}

impl Drop for Channels {
    fn drop(&mut self) {
        self.seat.leave();
    }
}
