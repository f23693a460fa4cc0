// SPDX-License-Identifier: MIT OR Apache-2.0
//! The references: messages in bare memory, among friends who never die.
//!
//! | offset | bytes | |
//! | --- | --- | --- |
//! | 0x000 | 64 | line to the serving side: 56 bytes of text, and a number that counts the lines |
//! | 0x100 | 64 | line to the asking side |
//! | 0x200 | 8 | head: slots written |
//! | 0x300 | 8 | tail: slots read |
//! | 0x1000 | as a channel's ring | slots of one length |

use core::sync::atomic::{AtomicU64, Ordering};

use ivshmem::channel::Doorbell;
use ivshmem::{PeerId, SharedMemory, VectorIndex};

use super::ground::Ground;
use crate::party::{Manner, Party, Side};
use crate::Failure;

const TO_SERVING: usize = 0x000;
const TO_ASKING: usize = 0x100;
const HEAD: usize = 0x200;
const TAIL: usize = 0x300;
const SLOTS: usize = 0x1000;

/// Bytes of text in a line.
const TEXT: usize = 56;

/// The number that ends a series of lines.
const END: u64 = u64::MAX;

/// Which side one is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Asking,
    Serving,
}

/// A line and its number, by address once and for all.
struct Line<'m> {
    text: SharedMemory<'m>,
    number: &'m AtomicU64,
}

impl<'m> Line<'m> {
    fn at(memory: &SharedMemory<'m>, offset: usize) -> Result<Self, Failure> {
        Ok(Self {
            text: memory.region(offset, TEXT)?,
            number: memory.atomic_u64(offset + TEXT)?,
        })
    }
}

/// One side's view.
pub(super) struct Bare<'m, B> {
    out: Line<'m>,
    inward: Line<'m>,
    /// Lines sent, and lines received, since the first.
    sent: u64,
    received: u64,
    head: &'m AtomicU64,
    tail: &'m AtomicU64,
    slots: SharedMemory<'m>,
    /// Slots written or read, since the first.
    passed: u64,
    /// The other position as it was seen last.
    seen: u64,
    bell: B,
    other: Option<PeerId>,
}

impl<'m, B: Doorbell> Bare<'m, B> {
    pub(super) fn new(ground: &Ground<'m>, place: Place, bell: B) -> Result<Self, Failure> {
        let memory = &ground.bare;
        let (out, inward) = match place {
            Place::Asking => (TO_SERVING, TO_ASKING),
            Place::Serving => (TO_ASKING, TO_SERVING),
        };
        Ok(Self {
            out: Line::at(memory, out)?,
            inward: Line::at(memory, inward)?,
            sent: 0,
            received: 0,
            head: memory.atomic_u64(HEAD)?,
            tail: memory.atomic_u64(TAIL)?,
            slots: memory.region(SLOTS, ground.region.ring_len())?,
            passed: 0,
            seen: 0,
            bell,
            other: None,
        })
    }

    /// Begins anew. Only the serving side writes, before it says that it has understood an order.
    pub(super) fn begin(&mut self) {
        for word in [self.out.number, self.inward.number, self.head, self.tail] {
            word.store(0, Ordering::Relaxed);
        }
        self.forget();
    }

    /// Takes it that the other side has begun anew.
    pub(super) fn forget(&mut self) {
        (self.sent, self.received, self.passed, self.seen) = (0, 0, 0, 0);
    }

    pub(super) fn set_other(&mut self, other: Option<PeerId>) {
        self.other = other;
    }

    pub(super) fn send_line(&mut self, text: &[u8]) {
        // A line's length, so there is nothing to refuse.
        let _ = self.out.text.write(0, &text[..TEXT]);
        self.sent += 1;
        self.out.number.store(self.sent.to_le(), Ordering::Release);
    }

    /// Says that no more lines come.
    pub(super) fn end_lines(&mut self) {
        self.out.number.store(END, Ordering::Release);
    }

    /// Rings the other side, if it sleeps.
    pub(super) fn ring_if(&self, manner: Manner) {
        if let (Manner::Doorbell, Some(other)) = (manner, self.other) {
            self.bell.ring(other, VectorIndex(0));
        }
    }

    /// Waits for the next line, and returns whether there is one.
    pub(super) fn receive_line<S: Side>(
        &mut self,
        party: &mut Party<'_, S>,
        text: &mut [u8],
        manner: Manner,
    ) -> Result<bool, Failure> {
        self.received += 1;
        let (line, awaited) = (&self.inward, self.received);
        let number = party.look_until(manner, || {
            let number = u64::from_le(line.number.load(Ordering::Acquire));
            (number == awaited || number == END).then_some(number)
        })?;
        line.text.read(0, &mut text[..TEXT])?;
        Ok(number != END)
    }

    pub(super) fn send_slot<S: Side>(
        &mut self,
        party: &mut Party<'_, S>,
        text: &[u8],
    ) -> Result<(), Failure> {
        let slots = (self.slots.len() / text.len()) as u64;
        let (tail, passed) = (self.tail, self.passed);
        if passed - self.seen >= slots {
            self.seen = party.look_until(Manner::Polling, || {
                let seen = u64::from_le(tail.load(Ordering::Acquire));
                (passed - seen < slots).then_some(seen)
            })?;
        }
        self.slots
            .write((passed % slots) as usize * text.len(), text)?;
        self.passed += 1;
        self.head.store(self.passed.to_le(), Ordering::Release);
        Ok(())
    }

    pub(super) fn receive_slot<S: Side>(
        &mut self,
        party: &mut Party<'_, S>,
        text: &mut [u8],
    ) -> Result<(), Failure> {
        let slots = (self.slots.len() / text.len()) as u64;
        let (head, passed) = (self.head, self.passed);
        if self.seen == passed {
            self.seen = party.look_until(Manner::Polling, || {
                let seen = u64::from_le(head.load(Ordering::Acquire));
                (seen != passed).then_some(seen)
            })?;
        }
        self.slots
            .read((passed % slots) as usize * text.len(), text)?;
        self.passed += 1;
        // As seldom as a channel does.
        if self.passed.is_multiple_of((slots / 8).max(1)) || self.passed == self.seen {
            self.tail.store(self.passed.to_le(), Ordering::Release);
        }
        Ok(())
    }
}
