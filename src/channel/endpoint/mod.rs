// SPDX-License-Identifier: MIT OR Apache-2.0
//! A connection between two members: [`Endpoint`] and its halves, [`Sender`] and [`Receiver`].
//!
//! # Waiting
//!
//! What may have to wait is an [`Operation`](operation::Operation): it can be tried, and it can *arm*, which is to ask to
//! be rung. Whoever has found no message, or no room, arms and then does as it is told:
//!
//! ```text
//! loop {
//!     if let Some(len) = receiver.try_recv(&mut buffer)? { ... }
//!     else {
//!         match receiver.arm()? {
//!             Wait::Ready => {}                // something has come meanwhile
//!             Wait::UntilRung => sleep(),      // the interrupt will come
//!             Wait::Briefly => sleep_for(1 ms) // it may come
//!         }
//!     }
//! }
//! ```
//!
//! That is all that the forms for executors ([`futures`]) and for others ([`blocking`]) do. Whoever does not arm for
//! a while counts as polling: the peer then neither rings nor pays for looking whether it should. So one who spins before it
//! sleeps arms after that.
//!
//! # When it ends
//!
//! Any of the errors in [`Broken`] ends a half for good. That a peer has died without a word is told by the events of
//! [`Member::poll_event`](super::Member::poll_event), since only they know of time; until another takes its slot, a
//! connection to it is just silent.

mod batch;
mod blocking;
mod error;
mod frame;
mod futures;
mod grant;
mod idle;
mod link;
mod message;
mod operation;
mod receiver;
mod sender;
mod stream;
#[cfg(test)]
mod tests;

pub use batch::Batch;
pub use error::{Broken, ConnectError, RecvError, SendError};
pub use frame::Frame;
pub use grant::Grant;
pub use idle::{Idle, Spin};
pub use message::Progress;
pub use receiver::Receiver;
pub use sender::Sender;
pub use stream::{ByteReader, ByteStream, ByteWriter, StreamError};

use super::doorbell::Doorbell;
use super::member::Member;
use super::ring::{Consumer, Place, Producer, Ring, Session};
use super::slot::Phase;
use super::watch::SlotIndex;
use crate::SharedMemory;
use link::{Holder, Link};

/// After so many looks, or messages, without arming a half counts as polling. Somebody who sleeps makes fewer between two
/// naps, and is sure to be rung.
const PATIENCE: u32 = 32;

/// How long to wait, after arming.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Wait {
    /// Not at all: try again.
    Ready,
    /// Until the interrupt comes.
    UntilRung,
    /// Until the interrupt comes, but for a limited time, say a millisecond: it may not come.
    ///
    /// So it is always where one of the two has no doorbell ([`Receiver::is_rung`], [`Sender::is_rung`]). Where both
    /// have one, a receiver that goes to sleep after a stream is told so until the next message comes, and a sender
    /// likewise until room does: the peer may have gone on without a look whether it should ring. The first nap finds
    /// whatever came meanwhile. Further naps in a row may last until the next heartbeat, since by then the peer sees the
    /// wish and rings.
    Briefly,
}

impl Wait {
    /// Returns the shorter of two waits, for one who waits for either.
    #[must_use]
    pub const fn sooner(self, other: Self) -> Self {
        match (self, other) {
            (Self::Ready, _) | (_, Self::Ready) => Self::Ready,
            (Self::Briefly, _) | (_, Self::Briefly) => Self::Briefly,
            (Self::UntilRung, Self::UntilRung) => Self::UntilRung,
        }
    }
}

/// A connection to one incarnation of a peer.
#[derive(Debug)]
pub struct Endpoint<'m, D> {
    sender: Sender<'m, D>,
    receiver: Receiver<'m, D>,
}

impl<'m> Member<'m> {
    /// Connects to the member in `slot`. The other side does the same, sooner or later: what is sent before waits in the
    /// ring.
    ///
    /// There is one connection for each incarnation of a peer, since the positions in the rings count on from its start to
    /// its end: keep the endpoint until it is [`Broken`]. When the peer has restarted, stop using the old endpoint's
    /// halves, on whatever CPU they are, and connect again.
    ///
    /// # Errors
    ///
    /// - [`ConnectError::NoPeer`]: the slot is the own one, or the region does not have it.
    /// - [`ConnectError::NobodyThere`]: no member is there.
    /// - [`ConnectError::AlreadyConnected`]: this incarnation, or a later one, has been connected to before.
    /// - [`ConnectError::Evicted`]: this member has lost its slot.
    pub fn connect<D: Doorbell + Clone>(
        &mut self,
        slot: SlotIndex,
        doorbell: D,
    ) -> Result<Endpoint<'m, D>, ConnectError> {
        let region = self.region;
        let nobody = ConnectError::NobodyThere { slot };
        if slot.0 == self.seat.slot || slot.0 >= region.slots() {
            return Err(ConnectError::NoPeer { slot });
        }
        let own = Holder::new(region.slot(self.seat.slot), self.seat.state);
        if !own.is_there() || !region.is_current() {
            return Err(ConnectError::Evicted);
        }
        let peer = region.slot(slot.0);
        let (state, _) = peer.look();
        if state.phase != Phase::Member {
            return Err(nobody);
        }
        let peer_identity = peer.identity(state).ok_or(nobody)?;
        let peer = Holder::new(peer, state);

        let outward = self.ring(self.seat.slot, slot.0).ok_or(nobody)?;
        let inward = self.ring(slot.0, self.seat.slot).ok_or(nobody)?;
        let incarnation = state.incarnation;
        let connected = self.connected.get_mut(usize::from(slot.0)).ok_or(nobody)?;
        // A hostile peer may go back to an earlier one, whose session would begin twice.
        let is_later = incarnation.wrapping_sub(*connected) as i32 > 0;
        if *connected != 0 && !is_later {
            return Err(ConnectError::AlreadyConnected { slot, incarnation });
        }
        *connected = incarnation;

        let epoch = region.geometry.epoch;
        let there = Session::new(own.state.incarnation, incarnation).of_epoch(epoch);
        let back = Session::new(incarnation, own.state.incarnation).of_epoch(epoch);
        let link = Link::new(
            region,
            (self.seat.slot, own, &self.seat.identity),
            (peer, &peer_identity),
            doorbell,
        );
        let producer = Producer::begin(outward, there);
        let consumer = Consumer::begin(inward, back);
        Ok(Endpoint {
            sender: Sender::new(producer, link.clone()),
            receiver: Receiver::new(consumer, link),
        })
    }

    /// Returns the ring from one slot to another.
    fn ring(&self, from: u16, to: u16) -> Option<Ring<SharedMemory<'m>>> {
        let geometry = self.region.geometry;
        let offset = geometry.ring(from, to);
        let memory = self.region.memory.region(offset, geometry.ring_len());
        Ring::new(memory.ok()?, Place::new(geometry.ring_log2))
    }
}

impl<D: Doorbell> Endpoint<'_, D> {
    /// Returns whether the peer can ring this member; see [`Receiver::is_rung`].
    #[must_use]
    pub const fn is_rung(&self) -> bool {
        self.receiver.is_rung()
    }
}

impl<'m, D> Endpoint<'m, D> {
    /// Returns the incarnation of the peer, which may be a later one than that of the event that led to connecting.
    #[must_use]
    pub const fn incarnation(&self) -> u32 {
        self.sender.incarnation()
    }

    /// Returns the half that sends.
    pub fn sender(&mut self) -> &mut Sender<'m, D> {
        &mut self.sender
    }

    /// Returns the half that receives.
    pub fn receiver(&mut self) -> &mut Receiver<'m, D> {
        &mut self.receiver
    }

    /// Returns both halves, for one who uses them together.
    pub fn halves(&mut self) -> (&mut Sender<'m, D>, &mut Receiver<'m, D>) {
        (&mut self.sender, &mut self.receiver)
    }

    /// Returns both halves, which may live on two CPUs.
    #[must_use]
    pub fn split(self) -> (Sender<'m, D>, Receiver<'m, D>) {
        (self.sender, self.receiver)
    }
}
