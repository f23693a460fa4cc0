// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a channel stands on: the memory, which it keeps mapped, and how others are rung.
#![allow(unsafe_code)]

use std::sync::Arc;

use ivshmem::channel::{Doorbell, Format, OpenError, Region};
use ivshmem::{PeerId, VectorIndex};

use crate::mapping::Mapping;
use crate::peer::{Doorbells, Peer};

/// The doorbell of all connections of one member. It also keeps the memory mapped that these are in.
#[derive(Clone, Debug)]
pub struct Bell {
    doorbells: Doorbells,
    mapping: Arc<Mapping>,
}

impl Bell {
    /// Returns the doorbell of a peer, which rings nobody if it has only memory.
    pub(super) fn of(peer: &Peer) -> Self {
        Self {
            doorbells: peer.doorbells(),
            mapping: Arc::clone(peer.mapping()),
        }
    }

    /// Opens the region, formatting it before if it is blank and a format is given.
    ///
    /// Whoever keeps anything that is made of it has to keep a clone of this bell beside it.
    pub(super) fn region(&self, format: Option<&Format>) -> Result<Region<'static>, OpenError> {
        // SAFETY: the view goes into a `Region`, and from there into
        // 1. a `Joining`, a local variable of one who has a bell, and the `Member` made of it, which `Seat` keeps beside its bell;
        // 2. the `Sender`s and `Receiver`s that this member makes, each of which has a bell for its doorbell.
        // None of them gives the view away, or a part of it, but for the time of a borrow.
        let memory = unsafe { Mapping::lasting_memory(&self.mapping) };
        match format {
            Some(format) => Region::open_or_format(memory, format),
            None => Region::open(memory),
        }
    }

    pub(super) const fn doorbells(&self) -> &Doorbells {
        &self.doorbells
    }
}

impl Doorbell for Bell {
    fn ring(&self, peer: PeerId, vector: VectorIndex) {
        self.doorbells.ring(peer, vector);
    }
}
