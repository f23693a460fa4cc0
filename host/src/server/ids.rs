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
//! 4. Clients of a server that was killed may live on in the same way. So IDs start above
//!    all that it gave out, which the [`Ledger`] knows.
//!
//! Starting at 0 matters to `master=on`, which QEMU grants to ID 0 alone.

use ivshmem::PeerId;
use serde::{Deserialize, Serialize};

use super::ledger::Ledger;

/// The number of IDs. QEMU composes `(peer << 16) | vector` in a signed int, so IDs from
/// 32768 up may miss the fast path of the doorbell.
pub(super) const COUNT: u16 = 1 << 15;

/// The source of IDs.
#[derive(Debug)]
pub(super) struct Ids {
    given: Given,
    ledger: Ledger,
}

/// How far IDs are given out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Given {
    next: u16,
    /// Where they start (rule 4).
    first: u16,
    /// Set once a client has been cut off (rule 3).
    ascending_only: bool,
}

impl Given {
    /// None, and the first one is `first`.
    pub(super) const fn none(first: u16) -> Self {
        Self {
            next: first,
            first,
            ascending_only: false,
        }
    }
}

impl Ids {
    pub(super) const fn new(given: Given, ledger: Ledger) -> Self {
        Self { given, ledger }
    }

    /// Returns how far they are given out.
    pub(super) const fn given(&self) -> Given {
        self.given
    }

    pub(super) const fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    pub(super) const fn ledger_mut(&mut self) -> &mut Ledger {
        &mut self.ledger
    }

    /// Takes the next ID; `None` if all have been used.
    pub(super) fn take(&mut self) -> Option<PeerId> {
        let id = self.next()?;
        self.ledger.note(id.0);
        self.given.next = id.0 + 1;
        Some(id)
    }

    /// Returns the ID that the next client gets; `None` if all have been used.
    pub(super) const fn next(&self) -> Option<PeerId> {
        if self.given.next < COUNT {
            Some(PeerId(self.given.next))
        } else {
            None
        }
    }

    /// Returns how many IDs are left.
    pub(super) const fn remaining(&self) -> u16 {
        COUNT.saturating_sub(self.given.next)
    }

    /// Notes that a client which knows its ID was cut off by the server.
    pub(super) fn note_cut_off(&mut self) {
        self.given.ascending_only = true;
    }

    /// Notes that nobody is connected.
    pub(super) fn note_empty(&mut self) {
        if !self.given.ascending_only {
            self.given.next = self.given.first;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fs::{fstat, memfd_create, MemfdFlags};

    fn ids_from(first: u16) -> Ids {
        let file = memfd_create("memory", MemfdFlags::CLOEXEC).unwrap();
        let ledger = Ledger::new(None, &fstat(file).unwrap(), first);
        Ids::new(Given::none(first), ledger)
    }

    #[test]
    fn ids_start_above_those_of_a_server_that_was_killed() {
        let mut ids = ids_from(64);
        assert_eq!(ids.take(), Some(PeerId(64)));
        assert_eq!(ids.take(), Some(PeerId(65)));
        ids.note_empty();
        assert_eq!(ids.take(), Some(PeerId(64)));
        assert_eq!(ids_from(COUNT).take(), None);
    }

    #[test]
    fn ids_ascend_and_end_before_32768() {
        let mut ids = ids_from(0);
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
        let mut ids = ids_from(0);
        ids.take();
        ids.note_cut_off();
        ids.note_empty();
        assert_eq!(ids.take(), Some(PeerId(1)));
        ids.note_empty();
        assert_eq!(ids.take(), Some(PeerId(2)));
    }
}
