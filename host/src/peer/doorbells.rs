// SPDX-License-Identifier: MIT OR Apache-2.0
//! The doorbells of a peer, for channels that live on other threads: [`Doorbells`].

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use ivshmem::channel::Doorbell;
use ivshmem::{PeerId, VectorIndex};

use super::Peer;
use crate::eventfd;
use crate::pci::Device;
use crate::session::{Event, Session};

/// The doorbells of all peers that a [`Peer`] knows of, as [`Peer::doorbells`] returns them.
///
/// Clones share what they know, and it changes as the peer takes in what the server says: peers come and go while channels
/// hold this. It outlives the peer, and then changes no more.
///
/// Those of a guest's device ring whoever is asked for: nobody tells there who is known.
#[derive(Clone, Debug, Default)]
pub struct Doorbells {
    shared: Arc<RwLock<Known>>,
    /// What rings instead of the peers' eventfds.
    device: Option<Arc<Device>>,
    rung: Arc<AtomicU64>,
}

#[derive(Debug, Default)]
struct Known {
    vectors: BTreeMap<PeerId, Vec<Arc<OwnedFd>>>,
    /// Whether somebody was to be rung who was not known.
    missed: bool,
}

impl Doorbells {
    /// Returns those of a guest's device.
    pub(super) fn of_device(device: &Arc<Device>) -> Self {
        let doorbells = Self {
            device: Some(Arc::clone(device)),
            ..Self::default()
        };
        if let Some(own) = device.id() {
            doorbells.learn(own, device.vectors());
        }
        doorbells
    }

    /// Takes in what a change in `session` means.
    pub(super) fn follow(&self, session: &Session<Arc<OwnedFd>>, event: Event) {
        match event {
            Event::Joined(peer) => {
                // One that had the ID in the group of a server before is another.
                self.write().vectors.remove(&peer);
                self.learn(peer, session.vectors(peer).unwrap_or_default());
            }
            Event::VectorAdded { peer, .. } => {
                self.learn(peer, session.vectors(peer).unwrap_or_default());
            }
            Event::Left(peer) => {
                self.write().vectors.remove(&peer);
            }
            // The vectors stay usable.
            Event::ServerGone => {}
        }
    }

    /// Takes in a server that was joined as `id`. Those who are known from one before stay, but for those whose IDs
    /// others have now.
    pub(super) fn take_in(&self, id: PeerId, session: &Session<Arc<OwnedFd>>) {
        for (peer, vectors) in session.peers().chain([(id, session.own())]) {
            self.write().vectors.remove(&peer);
            self.learn(peer, vectors);
        }
    }

    /// Takes in all vectors of a peer.
    fn learn(&self, peer: PeerId, vectors: &[Arc<OwnedFd>]) {
        let mut known = self.write();
        let before = known.vectors.insert(peer, vectors.to_vec());
        let fresh = before.map_or(0, |before| before.len());
        let missed = known.missed;
        drop(known);
        if missed {
            // It may be the one that was to be rung: a member is seen in the memory before the server's word is.
            for vector in vectors.iter().skip(fresh) {
                let _ = eventfd::ring(vector);
            }
        }
    }

    /// Returns how many vectors of `peer` can be rung; `None` if it is not there.
    #[must_use]
    pub fn vectors_of(&self, peer: PeerId) -> Option<usize> {
        self.read().vectors.get(&peer).map(Vec::len)
    }

    /// Returns how often somebody was rung through these or a clone of them. Of a member of a region: the doorbells of all its
    /// connections together.
    #[must_use]
    pub fn rung(&self) -> u64 {
        self.rung.load(Ordering::Relaxed)
    }

    /// Returns the eventfd of a vector, if it is known.
    pub(crate) fn find(&self, peer: PeerId, vector: VectorIndex) -> Option<Arc<OwnedFd>> {
        let known = self.read();
        let vectors = known.vectors.get(&peer)?;
        vectors.get(usize::from(vector.0)).cloned()
    }

    // Nothing panics while it holds the lock, and the table is whole between any two statements.
    fn read(&self) -> RwLockReadGuard<'_, Known> {
        self.shared.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Known> {
        self.shared.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One system call, or one store to a device's register; none for a peer that is not known, which is rung if it becomes known later.
impl Doorbell for Doorbells {
    fn ring(&self, peer: PeerId, vector: VectorIndex) {
        if let Some(device) = &self.device {
            // A device that cannot ring is one whose doorbells nobody hears.
            let _ = device.ring(peer, vector);
            self.rung.fetch_add(1, Ordering::Relaxed);
            return;
        }
        let mut found = self.find(peer, vector);
        if found.is_none() {
            self.write().missed = true;
            // It may have become known just before.
            found = self.find(peer, vector);
        }
        if let Some(vector) = found {
            self.rung.fetch_add(1, Ordering::Relaxed);
            // Nobody could do anything about an eventfd that fails.
            let _ = eventfd::ring(&vector);
        }
    }
}

/// Only for channels that do not outlive a borrow of the peer; for others there is [`Peer::doorbells`].
impl Doorbell for Peer {
    fn ring(&self, peer: PeerId, vector: VectorIndex) {
        // One who is not there cannot hear it.
        let _ = Self::ring(self, peer, vector);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::event::{eventfd as new_eventfd, EventfdFlags};

    #[test]
    fn one_who_was_to_be_rung_before_it_was_known_is_rung_then() {
        let vector = || Arc::new(new_eventfd(0, EventfdFlags::NONBLOCK).unwrap());
        let (peer, first, second) = (PeerId(3), vector(), vector());
        let bells = Doorbells::default();
        bells.learn(peer, std::slice::from_ref(&first));
        assert_eq!(eventfd::take(&first), Ok(false), "nobody has rung");

        bells.ring(peer, VectorIndex(1));
        assert_eq!(eventfd::take(&first), Ok(false));
        bells.learn(peer, &[first.clone(), second.clone()]);
        assert_eq!(eventfd::take(&second), Ok(true));
        assert_eq!(
            eventfd::take(&first),
            Ok(false),
            "only what is new is made up for"
        );
        bells.clone().ring(peer, VectorIndex(0));
        assert_eq!(eventfd::take(&first), Ok(true), "clones know the same");
    }
}
