// SPDX-License-Identifier: MIT OR Apache-2.0
//! The connections of a world: each half writes its own part of its own ring, and receives what lay there.

use std::cell::RefCell;
use std::rc::Rc;

use ivshmem::channel::{Doorbell, Member, SlotIndex};
use ivshmem::{PeerId, SharedMemory, VectorIndex};

use super::halves::{split, Incoming, Outgoing, Received};
use super::layout::Layout;
use super::patch::Patch;
use super::shadow::Shadow;
use crate::device::shown;
use crate::input::Input;

/// How many there are of each kind at most.
const MOST: usize = 4;

/// Adds one, in the place of another if there are enough.
pub fn add<T>(all: &mut Vec<T>, one: T) {
    if all.len() == MOST {
        all.remove(0);
    }
    all.push(one);
}

/// Returns the one that a number stands for, if there is any.
pub fn pick<T>(all: &mut [T], number: u8) -> Option<&mut T> {
    let len = all.len().max(1);
    all.get_mut(usize::from(number) % len)
}

/// A doorbell at which somebody waits with damage, in the middle of the call that rings.
#[derive(Clone)]
struct Trap<'m> {
    memory: SharedMemory<'m>,
    patch: Rc<RefCell<Option<(Patch, usize)>>>,
    meddled: Rc<RefCell<Vec<usize>>>,
}

impl Trap<'_> {
    fn spring(&self) {
        if let Some((patch, offset)) = self.patch.take() {
            patch.apply(&self.memory, offset);
            self.meddled.borrow_mut().push(offset);
        }
    }
}

impl Doorbell for Trap<'_> {
    fn ring(&self, _: PeerId, _: VectorIndex) {
        self.spring();
    }
}

/// A half of a connection and where it is.
struct Placed<H> {
    half: H,
    layout: Layout,
    from: u16,
    to: u16,
}

impl<H> Placed<H> {
    const fn new(half: H, layout: Layout, from: u16, to: u16) -> Self {
        Self {
            half,
            layout,
            from,
            to,
        }
    }
}

/// All connections there are.
pub struct Connections<'m> {
    trap: Trap<'m>,
    senders: Vec<Placed<Outgoing<'m, Trap<'m>>>>,
    receivers: Vec<Placed<Incoming<'m, Trap<'m>>>>,
}

impl<'m> Connections<'m> {
    pub fn new(memory: SharedMemory<'m>, shadow: &Shadow<'m>) -> Self {
        let trap = Trap {
            memory,
            patch: Rc::default(),
            meddled: Rc::clone(&shadow.meddled),
        };
        Self {
            trap,
            senders: Vec::new(),
            receivers: Vec::new(),
        }
    }

    /// Lets damage wait for the middle of a call, at the offset of a word.
    pub fn trap(&mut self, damage: Option<(Patch, usize)>) {
        *self.trap.patch.borrow_mut() = damage;
    }

    /// Returns how many halves are broken.
    pub fn broken(&self) -> usize {
        let senders = self.senders.iter().map(|placed| placed.half.broken());
        let receivers = self.receivers.iter().map(|placed| placed.half.broken());
        senders.chain(receivers).flatten().count()
    }

    /// Connects a member to a slot, and returns whether that was possible.
    pub fn connect(
        &mut self,
        member: &mut Member<'m>,
        layout: Layout,
        peer: u16,
        shadow: &mut Shadow<'m>,
    ) -> bool {
        let own = member.slot().0;
        shadow.begin();
        let Ok(endpoint) = shown(member.connect(SlotIndex(peer), self.trap.clone())) else {
            shadow.check(&[]);
            return false;
        };
        let producers = layout.producers(own, peer);
        let consumers = layout.consumers(peer, own);
        let may_write: Vec<_> = producers.into_iter().chain(consumers).collect();
        shadow.check(&may_write);
        let (outgoing, incoming) = split(endpoint, layout.data(own, peer).len());
        add(&mut self.senders, Placed::new(outgoing, layout, own, peer));
        add(
            &mut self.receivers,
            Placed::new(incoming, layout, peer, own),
        );
        true
    }

    /// Lets a half send, and returns whether it has.
    pub fn send(&mut self, input: &mut Input<'_>, shadow: &mut Shadow<'m>) -> bool {
        let Some(placed) = pick(&mut self.senders, input.take()) else {
            return false;
        };
        shadow.begin();
        let sent = placed.half.act(input, || self.trap.spring());
        shadow.check(&placed.layout.producers(placed.from, placed.to));
        sent
    }

    /// Lets a half receive, and returns whether it has.
    pub fn receive(&mut self, input: &mut Input<'_>, shadow: &mut Shadow<'m>) -> bool {
        let Some(placed) = pick(&mut self.receivers, input.take()) else {
            return false;
        };
        shadow.begin();
        let received = placed.half.act(input, || self.trap.spring());
        let (from, to) = (placed.from, placed.to);
        if let Received::Message(message) = received {
            let ring = &shadow.before()[placed.layout.data(from, to)];
            let lay_there = (0..ring.len())
                .step_by(8)
                .any(|start| ring[start..].starts_with(message));
            assert!(lay_there || shadow.is_meddled(), "{message:x?}");
        }
        let has_received = !matches!(received, Received::Nothing);
        shadow.check(&placed.layout.consumers(from, to));
        has_received
    }
}
