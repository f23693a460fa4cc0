// SPDX-License-Identifier: MIT OR Apache-2.0
//! The two members of a connection, as one half of it sees them: [`Link`].

use core::sync::atomic::{AtomicU64, Ordering};

use super::error::Broken;
use crate::channel::doorbell::Doorbell;
use crate::channel::name::{device_and_vectors, Identity};
use crate::channel::region::Region;
use crate::channel::ring::RingError;
use crate::channel::slot::{Slot, State};
use crate::channel::words::Word;
use crate::{PeerId, SharedMemory, VectorIndex};

/// A slot and what it says as long as its member is there.
#[derive(Clone, Copy, Debug)]
pub(super) struct Holder<'m> {
    pub(super) slot: Slot<SharedMemory<'m>>,
    pub(super) state: State,
    /// The state's word, which is looked at with each message.
    word: Expected<'m>,
}

/// A word, and what it is as long as nothing has changed.
#[derive(Clone, Copy, Debug)]
struct Expected<'m> {
    word: &'m AtomicU64,
    value: u64,
}

impl Expected<'_> {
    #[inline]
    fn holds(&self) -> bool {
        Word::load(&self.word, Ordering::Relaxed) == self.value
    }
}

impl<'m> Holder<'m> {
    pub(super) fn new(slot: Slot<SharedMemory<'m>>, state: State) -> Self {
        Self {
            slot,
            state,
            word: Expected {
                word: slot.state(),
                value: state.word(),
            },
        }
    }

    #[inline]
    pub(super) fn is_there(&self) -> bool {
        self.word.holds()
    }
}

/// A vector of a device.
type Bell = (PeerId, VectorIndex);

/// Returns what the member in slot `index` rings of a peer. Such members are spread over what the peer has, so that it can tell
/// them apart if it has a vector for each.
fn bell(index: u16, (device, vectors): (Option<u16>, u16)) -> Option<Bell> {
    let vector = index.checked_rem(vectors)?;
    Some((PeerId(device?), VectorIndex(vector)))
}

/// Who is connected, how the peer is woken, and whether that is still so.
#[derive(Clone, Debug)]
pub(super) struct Link<'m, D> {
    region: Region<'m>,
    /// The geometry's word, as well.
    geometry: Expected<'m>,
    own: Holder<'m>,
    peer: Holder<'m>,
    /// The own slot, which chooses the vector.
    index: u16,
    /// Where the peer was when it was connected to, as its slot says it.
    address: u32,
    /// What to ring, if the peer listens: where it was when it was connected to.
    bell: Option<Bell>,
    /// Whether the peer can ring this member.
    is_rung: bool,
    doorbell: D,
    broken: Option<Broken>,
}

impl<D> Link<'_, D> {
    /// Returns the incarnation of the peer.
    pub(super) const fn incarnation(&self) -> u32 {
        self.peer.state.incarnation
    }
}

impl<'m, D: Doorbell> Link<'m, D> {
    /// Links the member in slot `index`, which is `own`, to `peer`, as they have introduced themselves.
    pub(super) fn new(
        region: Region<'m>,
        (index, own, own_identity): (u16, Holder<'m>, &Identity),
        (peer, peer_identity): (Holder<'m>, &Identity),
        doorbell: D,
    ) -> Self {
        Self {
            region,
            geometry: Expected {
                word: region.geometry(),
                value: region.geometry.word(),
            },
            own,
            peer,
            index,
            address: peer_identity.address(),
            bell: bell(index, (peer_identity.device, peer_identity.vectors)),
            // Whoever has no device can neither be rung nor ring.
            is_rung: own_identity.vectors > 0
                && own_identity.device.is_some()
                && peer_identity.device.is_some(),
            doorbell,
            broken: None,
        }
    }

    /// Returns whether the peer can ring this member.
    pub(super) const fn is_rung(&self) -> bool {
        self.is_rung
    }

    /// Rings if asked for, and if the peer listens.
    #[inline]
    pub(super) fn ring_if(&self, asked: bool) {
        if asked {
            self.ring();
        }
    }

    #[cold]
    fn ring(&self) {
        let Some((peer, vector)) = self.bell else {
            return;
        };
        self.doorbell.ring(peer, vector);
        match self.peer.slot.address(self.peer.state) {
            Some(address) if address != self.address => self.ring_at(address),
            _ => {}
        }
    }

    /// Rings where the peer has moved to since: only some can reach it there, and others only where it was.
    fn ring_at(&self, address: u32) {
        let bell = bell(self.index, device_and_vectors(address));
        if let Some((peer, vector)) = bell.filter(|_| bell != self.bell) {
            self.doorbell.ring(peer, vector);
        }
    }

    /// Checks, before anything is written to a ring, that this is still its connection. `is_current` says whether it
    /// still has the session that this half has begun; it has not when the peer's next incarnation was connected to.
    #[inline(always)]
    pub(super) fn check(&mut self, is_current: bool) -> Result<(), Broken> {
        if self.is_intact(is_current) {
            Ok(())
        } else {
            Err(self.give_up())
        }
    }

    /// Returns what [`Link::check`] checks.
    #[inline(always)]
    pub(super) fn is_intact(&self, is_current: bool) -> bool {
        // A new geometry leaves the slot's word as it is, so that is looked at too.
        is_current && self.broken.is_none() && self.own.is_there() && self.geometry.holds()
    }

    /// Returns whether the peer is what it was.
    #[inline]
    pub(super) fn is_peer_there(&self) -> bool {
        self.peer.is_there()
    }

    /// Returns an error if the peer is not what it was.
    #[inline]
    pub(super) fn check_peer(&mut self) -> Result<(), Broken> {
        if self.is_peer_there() {
            Ok(())
        } else {
            Err(self.give_up())
        }
    }

    /// Breaks the connection for what its ring has found.
    pub(super) fn fail(&mut self, error: RingError) -> Broken {
        match error {
            RingError::Restarted => self.give_up(),
            RingError::Corrupt => *self.broken.insert(Broken::Corrupt),
        }
    }

    /// Breaks the connection, for the reason that the slots tell.
    #[cold]
    pub(super) fn give_up(&mut self) -> Broken {
        if let Some(broken) = self.broken {
            return broken;
        }
        let (state, _) = self.peer.slot.look();
        let broken = if !self.own.is_there() || !self.region.is_current() {
            Broken::Evicted
        } else if state.incarnation != self.peer.state.incarnation {
            Broken::PeerRestarted
        } else if state != self.peer.state {
            Broken::PeerGone
        } else {
            // Both are what they were, so nobody had a reason to change a session.
            Broken::Corrupt
        };
        *self.broken.insert(broken)
    }
}
