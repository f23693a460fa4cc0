// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a peer keeps of a server that is gone: [`Former`].

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use ivshmem::{PeerId, VectorIndex};

use crate::server::MAX_CLIENTS;
use crate::session::Session;

/// How many servers are remembered, the last ones, in whose groups others may still ring this peer.
const MOST_SERVERS: usize = 16;

/// The vectors that the groups of servers before had: others there live on, and ring and are rung as before.
#[derive(Debug, Default)]
pub(super) struct Former {
    peers: BTreeMap<PeerId, Vec<Arc<OwnedFd>>>,
    /// The peer's own, those of the last server first.
    own: Vec<Vec<Arc<OwnedFd>>>,
}

impl Former {
    /// Adds what was known from a server that is gone.
    pub(super) fn keep(&mut self, session: &Session<Arc<OwnedFd>>) {
        for (peer, vectors) in session.peers() {
            self.peers.insert(peer, vectors.to_vec());
        }
        // Servers that come and go for ever must not use up the descriptors.
        while self.peers.len() > MAX_CLIENTS {
            self.peers.pop_first();
        }
        self.own.insert(0, session.own().to_vec());
        self.own.truncate(MOST_SERVERS);
    }

    /// Takes in that another has the ID of `peer` now.
    pub(super) fn forget(&mut self, peer: PeerId) {
        self.peers.remove(&peer);
    }

    /// Returns the vectors of a peer that a server before had announced.
    pub(super) fn vectors(&self, peer: PeerId) -> Option<&[Arc<OwnedFd>]> {
        self.peers.get(&peer).map(|vectors| &vectors[..])
    }

    /// Returns the peer's own vectors.
    pub(super) fn own(&self) -> impl Iterator<Item = (VectorIndex, &Arc<OwnedFd>)> {
        self.own.iter().flat_map(|own| numbered(own))
    }
}

/// Returns vectors with their numbers.
pub(super) fn numbered(
    vectors: &[Arc<OwnedFd>],
) -> impl Iterator<Item = (VectorIndex, &Arc<OwnedFd>)> {
    (0..).map(VectorIndex).zip(vectors)
}
