// SPDX-License-Identifier: MIT OR Apache-2.0
//! What any channel is made of, without the channel: slots that are written, announced, seen and read.
//!
//! Both sides know the length and trust each other; the copies are made by the same routine as ours, on two mappings of one
//! memory as ours.

use std::sync::atomic::{AtomicU64, Ordering};

use ivshmem::SharedMemory;

use crate::case::{Contender, Rx, Tx};
use crate::{ours, RING_LEN};

/// Bytes from one slot to the next, besides the payload: the number that announces it.
const NUMBER: usize = 8;

/// One slot in each direction, with its number in front: the shortest way there is for a message of that length.
pub struct Slot;

/// One side of a [`Slot`].
pub struct SlotSide {
    memory: SharedMemory<'static>,
    number: &'static AtomicU64,
    turn: u64,
}

impl SlotSide {
    fn new(memory: SharedMemory<'static>) -> Self {
        let number = memory.atomic_u64(0).expect("the first word");
        Self {
            memory,
            number,
            turn: 0,
        }
    }
}

impl Contender for Slot {
    type Tx = SlotSide;
    type Rx = SlotSide;

    fn make(_: usize) -> [(SlotSide, SlotSide); 2] {
        [(); 2].map(|()| {
            let [tx, rx] = ours::memory(RING_LEN).map(|mapping| SlotSide::new(mapping.memory()));
            (tx, rx)
        })
    }
}

/// There is one message at a time, so there always is room.
impl Tx for SlotSide {
    fn try_send(&mut self, message: &[u8]) -> bool {
        self.turn += 1;
        let written = self.memory.write(NUMBER, message);
        self.number.store(self.turn, Ordering::Release);
        written.is_ok()
    }
}

impl Rx for SlotSide {
    fn try_recv(&mut self, buffer: &mut [u8]) -> bool {
        if self.number.load(Ordering::Acquire) == self.turn {
            return false;
        }
        self.turn += 1;
        self.memory.read(NUMBER, buffer).is_ok()
    }
}

/// Slots in a ring, as many as fit, with two counters, each of which the other side remembers.
pub struct Stream;

/// One side of a [`Stream`].
pub struct StreamSide {
    memory: SharedMemory<'static>,
    own: &'static AtomicU64,
    other: &'static AtomicU64,
    slots: u64,
    position: u64,
    seen: u64,
}

impl StreamSide {
    fn new(memory: SharedMemory<'static>, len: usize, [own, other]: [usize; 2]) -> Self {
        let word = |offset| memory.atomic_u64(RING_LEN + offset).expect("a word");
        Self {
            own: word(own),
            other: word(other),
            memory,
            slots: (RING_LEN / len) as u64,
            position: 0,
            seen: 0,
        }
    }

    fn offset(&self, len: usize) -> usize {
        (self.position % self.slots) as usize * len
    }
}

impl Contender for Stream {
    type Tx = StreamSide;
    type Rx = StreamSide;

    fn make(len: usize) -> [(StreamSide, StreamSide); 2] {
        [(); 2].map(|()| {
            let [tx, rx] = ours::memory(2 * RING_LEN).map(|mapping| mapping.memory());
            let (head, tail) = (0x100, 0x200);
            (
                StreamSide::new(tx, len, [head, tail]),
                StreamSide::new(rx, len, [tail, head]),
            )
        })
    }
}

impl Tx for StreamSide {
    fn try_send(&mut self, message: &[u8]) -> bool {
        if self.position - self.seen == self.slots {
            self.seen = self.other.load(Ordering::Acquire);
            if self.position - self.seen == self.slots {
                return false;
            }
        }
        let written = self.memory.write(self.offset(message.len()), message);
        self.position += 1;
        self.own.store(self.position, Ordering::Release);
        written.is_ok()
    }
}

impl Rx for StreamSide {
    fn try_recv(&mut self, buffer: &mut [u8]) -> bool {
        if self.position == self.seen {
            self.seen = self.other.load(Ordering::Acquire);
            if self.position == self.seen {
                return false;
            }
        }
        let read = self.memory.read(self.offset(buffer.len()), buffer);
        self.position += 1;
        self.own.store(self.position, Ordering::Release);
        read.is_ok()
    }
}
