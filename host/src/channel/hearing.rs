// SPDX-License-Identifier: MIT OR Apache-2.0
//! Where a member is rung, and all of it that waits there: [`Hearing`].
//!
//! That changes when the member has joined another server. Those who knew it before ring its old vectors and those who come
//! later only the new ones, so whoever waits hears both.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use ivshmem::channel::SlotIndex;
use ivshmem::{PeerId, VectorIndex};
use rustix::io::Errno;

use super::rings::Rings;
use crate::peer::Doorbells;

/// The ID of a member's device, and how many vectors it has.
pub(super) type Address = (Option<PeerId>, u16);

/// How many addresses are remembered, the last ones, where others may still ring.
const MOST_ADDRESSES: usize = 16;

/// The address of a member, and those who wait for somebody to ring there.
#[derive(Debug)]
pub(super) struct Hearing {
    doorbells: Doorbells,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// Where others ring, the newest first; never empty.
    addresses: Vec<Address>,
    /// For whose rings they wait.
    listeners: Vec<(SlotIndex, Weak<OwnedFd>)>,
}

impl Hearing {
    /// `doorbells` are those of the member's own peer.
    pub(super) fn new(doorbells: Doorbells, address: Address) -> Self {
        Self {
            doorbells,
            state: Mutex::new(State {
                addresses: vec![address],
                listeners: Vec::new(),
            }),
        }
    }

    /// Begins to wait for the member in `slot` to ring, if it can, and for `more`.
    pub(super) fn listen<'f>(
        &self,
        slot: SlotIndex,
        more: impl IntoIterator<Item = BorrowedFd<'f>>,
    ) -> Result<Rings, Errno> {
        let mut state = self.lock();
        let rings = Rings::of(more)?;
        for &address in &state.addresses {
            if let Some(vector) = self.vector(address, slot) {
                rings.add(vector.as_fd())?;
            }
        }
        state
            .listeners
            .retain(|(_, rings)| rings.strong_count() > 0);
        state.listeners.push((slot, rings.downgrade()));
        Ok(rings)
    }

    /// Has everybody hear what is rung at `address` as well. Returns whether that is another one.
    pub(super) fn move_to(&self, address: Address) -> bool {
        let mut state = self.lock();
        if state.addresses.first() == Some(&address) {
            return false;
        }
        // IDs may come again when a server was ended.
        state.addresses.retain(|&known| known != address);
        state.addresses.insert(0, address);
        state.addresses.truncate(MOST_ADDRESSES);
        for (slot, rings) in &state.listeners {
            let vector = self.vector(address, *slot);
            if let (Some(rings), Some(vector)) = (Rings::upgrade(rings), vector) {
                // It fails for want of memory alone: then the next heartbeat ends the sleep.
                let _ = rings.add(vector.as_fd());
            }
        }
        true
    }

    /// Returns the eventfd that the member in `slot` rings; nothing if it cannot ring this one.
    fn vector(&self, (device, vectors): Address, slot: SlotIndex) -> Option<Arc<OwnedFd>> {
        let vector = slot.0.checked_rem(vectors)?;
        self.doorbells.find(device?, VectorIndex(vector))
    }

    /// Nothing panics while it holds the lock.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
