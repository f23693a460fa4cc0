// SPDX-License-Identifier: MIT OR Apache-2.0
//! This process as the side of a party in a region of channels.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::time::{Duration, Instant};

use ivshmem::channel::Doorbell;
use ivshmem::{PeerId, VectorIndex};
use ivshmem_host::peer::Peer;
use ivshmem_scenarios::party::Side;
use ivshmem_scenarios::Failure;

use super::interrupt::Interrupt;

/// How often an interrupt is looked for by one who sleeps.
const GLANCE: Duration = Duration::from_millis(50);

/// A client of a server.
#[derive(Debug)]
pub struct HostSide<'p> {
    peer: &'p RefCell<Peer>,
    interrupt: &'p Interrupt,
    start: Instant,
    doorbells: Cell<u64>,
    /// Lines for [`HostSide::take_shown`].
    shown: RefCell<Vec<String>>,
}

impl<'p> HostSide<'p> {
    /// Makes a side of `peer` that wants to end when `interrupt` has come.
    #[must_use]
    pub fn new(peer: &'p RefCell<Peer>, interrupt: &'p Interrupt) -> Self {
        Self {
            peer,
            interrupt,
            start: Instant::now(),
            doorbells: Cell::new(0),
            shown: RefCell::default(),
        }
    }

    /// Returns what there is to show, and forgets it.
    pub fn take_shown(&self) -> Vec<String> {
        self.shown.take()
    }
}

impl<'p> Side for &HostSide<'p> {
    type Bell = HostBell<'p>;

    fn bell(&self) -> HostBell<'p> {
        HostBell(self.peer)
    }

    fn device(&self) -> Option<(PeerId, u16)> {
        let peer = self.peer.borrow();
        peer.id().zip(u16::try_from(peer.vectors()).ok())
    }

    fn doorbells(&self) -> u64 {
        self.doorbells.get()
    }

    fn sleep(&self, heard: u64, until_ns: u64) -> Result<(), Failure> {
        while self.doorbells.get() == heard && self.now_ns() < until_ns {
            self.check()?;
            let left = Duration::from_nanos(until_ns.saturating_sub(self.now_ns()));
            let rung = self.peer.borrow().wait_any(left.min(GLANCE))?;
            self.doorbells.set(heard + rung.len() as u64);
        }
        Ok(())
    }

    fn now_ns(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    fn check(&self) -> Result<(), Failure> {
        if self.interrupt.came() {
            return Err(Failure::from("interrupted"));
        }
        Ok(())
    }

    fn show(&self, line: fmt::Arguments<'_>) {
        self.shown.borrow_mut().push(line.to_string());
    }
}

/// The doorbell of a [`HostSide`].
#[derive(Clone, Copy, Debug)]
pub struct HostBell<'p>(&'p RefCell<Peer>);

impl Doorbell for HostBell<'_> {
    fn ring(&self, peer: PeerId, vector: VectorIndex) {
        let known = |own: &Peer| own.vectors_of(peer) > Some(usize::from(vector.0));
        if !known(&self.0.borrow()) {
            // Somebody new, of whom the server has told meanwhile. Without a server there is no news.
            let _ = self
                .0
                .borrow_mut()
                .wait_until(Duration::ZERO, |own| known(own));
        }
        // A doorbell is a hint: whoever has left does not hear it.
        let _ = self.0.borrow().ring(peer, vector);
    }
}
