// SPDX-License-Identifier: MIT OR Apache-2.0
//! A peer's vectors: ringing those of others, and waiting for its own.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use ivshmem::{PeerId, VectorIndex};
use rustix::event::{PollFd, PollFlags};

use super::error::RingError;
use super::former::numbered;
use super::Peer;
use crate::deadline::Deadline;
use crate::eventfd;

impl Peer {
    /// Rings `vector` of `peer`, which may be this peer itself.
    ///
    /// What was written to the memory before is seen by the peer that wakes up from it. A guest's device does not say whether
    /// there is such a peer.
    ///
    /// # Errors
    ///
    /// - [`RingError::UnknownPeer`]: it has not joined, or has left.
    /// - [`RingError::UnknownVector`]: it has fewer vectors.
    /// - [`RingError::Device`]: a guest's device cannot.
    /// - [`RingError::System`]: the system refused.
    pub fn ring(&self, peer: PeerId, vector: VectorIndex) -> Result<(), RingError> {
        if let Some(device) = &self.device {
            return device.ring(peer, vector).map_err(RingError::Device);
        }
        eventfd::ring(self.eventfd(peer, vector)?).map_err(RingError::System)
    }

    /// Waits for at most `limit` until `vector` of this peer is rung, and returns whether it was.
    ///
    /// All rings up to now are used up by it.
    ///
    /// # Errors
    ///
    /// - [`RingError::NoVector`]: this peer has fewer vectors.
    /// - [`RingError::System`]: the system refused.
    pub fn wait(&self, vector: VectorIndex, limit: Duration) -> Result<bool, RingError> {
        self.own_eventfd(vector)?;
        let rung = self.wait_for(|own| own == vector, Deadline::after(limit))?;
        Ok(!rung.is_empty())
    }

    /// Waits for at most `limit` until any vector of this peer is rung, and returns those that were, ascending.
    ///
    /// All their rings up to now are used up by it. None are returned if the time has passed.
    ///
    /// # Errors
    ///
    /// - [`RingError::System`]: the system refused.
    pub fn wait_any(&self, limit: Duration) -> Result<Vec<VectorIndex>, RingError> {
        let mut rung = self.wait_for(|_| true, Deadline::after(limit))?;
        rung.sort_unstable();
        rung.dedup();
        Ok(rung)
    }

    /// Waits until one of the own vectors that are `wanted` is rung, and returns those that were, in any order.
    fn wait_for(
        &self,
        wanted: impl Fn(VectorIndex) -> bool,
        deadline: Deadline,
    ) -> Result<Vec<VectorIndex>, RingError> {
        let own: Vec<_> = self
            .everywhere()
            .filter(|&(vector, _)| wanted(vector))
            .collect();
        let mut fds: Vec<PollFd<'_>> = own
            .iter()
            .map(|(_, eventfd)| PollFd::new(eventfd, PollFlags::IN))
            .collect();
        let mut rung = Vec::new();
        while rung.is_empty() && deadline.poll(&mut fds).map_err(RingError::System)? > 0 {
            for ((vector, eventfd), fd) in own.iter().zip(&fds) {
                if !fd.revents().is_empty() && eventfd::take(eventfd).map_err(RingError::System)? {
                    rung.push(*vector);
                }
            }
        }
        Ok(rung)
    }

    /// Returns the descriptor that is readable while `vector` of this peer is rung.
    #[must_use]
    pub fn vector_fd(&self, vector: VectorIndex) -> Option<BorrowedFd<'_>> {
        let eventfd = self.own().get(usize::from(vector.0));
        eventfd.map(AsFd::as_fd)
    }

    /// Empties the counters of its own, and returns whether any was rung. Others who wait for the same vector may miss that ring by
    /// it, and have to be woken otherwise.
    ///
    /// A counter that only grows says to whoever looks at it that nobody hears; and one that somebody has filled, which only harm
    /// does, loses rings or makes those wait who ring.
    pub(crate) fn relieve(&self) -> bool {
        let mut fds: Vec<PollFd<'_>> = self
            .everywhere()
            .map(|(_, eventfd)| PollFd::new(eventfd, PollFlags::IN))
            .collect();
        if Deadline::after(Duration::ZERO).poll(&mut fds).is_err() {
            return false;
        }
        let rung = self.everywhere().zip(&fds);
        rung.filter(|(_, fd)| fd.revents().contains(PollFlags::IN))
            .filter(|((_, eventfd), _)| eventfd::take(eventfd) == Ok(true))
            .count()
            > 0
    }

    /// Returns all vectors at which this peer is rung, in the groups of servers before too.
    fn everywhere(&self) -> impl Iterator<Item = (VectorIndex, &Arc<OwnedFd>)> {
        numbered(self.own()).chain(self.former.own())
    }

    /// Returns the eventfd of `vector` of this peer.
    pub(super) fn own_eventfd(&self, vector: VectorIndex) -> Result<&Arc<OwnedFd>, RingError> {
        let own = self.own();
        own.get(usize::from(vector.0)).ok_or(RingError::NoVector {
            vector,
            vectors: own.len(),
        })
    }

    /// Returns the eventfd of `vector` of `peer`.
    fn eventfd(&self, peer: PeerId, vector: VectorIndex) -> Result<&Arc<OwnedFd>, RingError> {
        let eventfds = self.eventfds(peer).ok_or(RingError::UnknownPeer { peer })?;
        eventfds
            .get(usize::from(vector.0))
            .ok_or(RingError::UnknownVector {
                peer,
                vector,
                vectors: eventfds.len(),
            })
    }
}
