// SPDX-License-Identifier: MIT OR Apache-2.0
//! Which ID a client gets.
//!
//! QEMU frees what belongs to a peer that leaves and uses it again when the same
//! ID joins once more (seen in 7.2: "double free or corruption" after six
//! rounds). So no client may hear of two peers with one ID:
//!
//! 1. IDs ascend. While they do, no two clients have the same one.
//! 2. They start at 0 again only when nobody is connected, and only while every client so
//!    far has closed its connection itself. Whoever has heard of an ID was
//!    a client then, and has left: it will hear of no other.
//! 3. A client that the server has cut off may live on, using its ID in the shared
//!    memory and ringing those it knows. From then on IDs only ascend.
//!
//! Starting at 0 matters to `master=on`, which QEMU grants to ID 0 alone.

use ivshmem::PeerId;

/// The number of IDs. QEMU composes `(peer << 16) | vector` in a signed int, so IDs from
/// 32768 up may miss the fast path of the doorbell.
const COUNT: u16 = 1 << 15;

/// The source of IDs.
#[derive(Debug)]
pub(super) struct Ids {
    next: u16,
    /// Set once a client has been cut off (rule 3).
    ascending_only: bool,
}

impl Ids {
    pub(super) const fn new() -> Self {
        Self {
            next: 0,
            ascending_only: false,
        }
    }

    /// Takes the next ID; `None` if all have been used.
    pub(super) fn take(&mut self) -> Option<PeerId> {
        let id = self.next()?;
        self.next = id.0 + 1;
        Some(id)
    }

    /// Returns the ID that the next client gets; `None` if all have been used.
    pub(super) const fn next(&self) -> Option<PeerId> {
        if self.next < COUNT {
            Some(PeerId(self.next))
        } else {
            None
        }
    }

    /// Returns how many IDs are left.
    pub(super) const fn remaining(&self) -> u16 {
        COUNT - self.next
    }

    /// Notes that a client which knows its ID was cut off by the server.
    pub(super) fn note_cut_off(&mut self) {
        self.ascending_only = true;
    }

    /// Notes that nobody is connected.
    pub(super) fn note_empty(&mut self) {
        if !self.ascending_only {
            self.next = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_ascend_and_end_before_32768() {
        let mut ids = Ids::new();
        for id in 0..32768 {
            assert_eq!(ids.next(), Some(PeerId(id)));
            assert_eq!(ids.remaining(), 32768 - id);
            assert_eq!(ids.take(), Some(PeerId(id)));
        }
        assert_eq!((ids.next(), ids.remaining()), (None, 0));
        assert_eq!(ids.take(), None);
        assert_eq!(ids.take(), None);
        ids.note_empty();
        assert_eq!(ids.take(), Some(PeerId(0)));
    }

    #[test]
    fn after_a_cut_off_nothing_is_used_again() {
        let mut ids = Ids::new();
        ids.take();
        ids.note_cut_off();
        ids.note_empty();
        assert_eq!(ids.take(), Some(PeerId(1)));
        ids.note_empty();
        assert_eq!(ids.take(), Some(PeerId(2)));
    }
}
