// SPDX-License-Identifier: MIT OR Apache-2.0
//! Looking into a region from outside: what its words say, and what is wrong with them.
//!
//! Whoever looks is no member and writes nothing; the memory may hold anything, and may change at any time. No call panics, and
//! none takes more steps than there are words in the memory.
//!
//! ```
//! use ivshmem::channel::inspect::{Contents, Inspection, Presence};
//!
//! # use core::ptr::NonNull;
//! # #[repr(align(4096))]
//! # struct Page([u8; 1 << 16]);
//! # let page = Box::leak(Box::new(Page([0; 1 << 16])));
//! # // SAFETY: leaked, and used by one thread only.
//! # let memory = unsafe { ivshmem::SharedMemory::new(NonNull::from(page).cast(), 1 << 16) };
//! # let format = ivshmem::channel::Format { slots: 4, ring_log2: None };
//! # ivshmem::channel::Region::open_or_format(memory, &format).unwrap();
//! let inspection = Inspection::of(memory); // or of a `&[u8]`, a copy
//! let Contents::Region(division) = inspection.header().contents else {
//!     panic!("no region");
//! };
//! let members = inspection.slots().filter(|slot| slot.presence == Presence::Member);
//! assert_eq!((division.slots, members.count()), (4, 0));
//! inspection.check(|finding| panic!("{finding}"));
//! ```
//!
//! # What is found, and what is not
//!
//! [`Inspection::check`] reports what the protocol does not allow at any moment, with whichever member stopped or dead. It looks
//! twice before it reports, so that what moves is not taken for wrong. Two things it cannot tell from what is right: a payload
//! that was altered, and in memory that was formatted anew what is left from before, of which it says nothing.
//!
//! One who was stopped in a call, has lost its slot and goes on may make one store that is none of its business (the end of
//! `docs/layout.md`). If it shows, it is reported, though nobody has broken the protocol: it costs its successor the same.

mod check;
mod finding;
mod frames;
mod header;
mod rings;
mod slots;
mod source;

pub use finding::{Finding, Part, Problem};
pub use frames::{FrameKind, FrameLook, Frames, Kept};
pub use header::{Contents, Division, Header};
pub use rings::{RingLook, RingState, Side, Standing, Wish};
pub use slots::{MemberIdentity, Presence, SlotLook};
pub use source::Source;

use super::layout::{Geometry, GEOMETRY_AT, SLOT_LEN};
use super::SlotIndex;
use finding::Findings;
use source::View;

/// A region that is looked at from outside.
#[derive(Clone, Copy, Debug)]
pub struct Inspection<S> {
    source: S,
    header: Header,
    geometry: Option<Geometry>,
}

impl<S: Source> Inspection<S> {
    /// Looks at the header of what is in `source`.
    #[must_use]
    pub fn of(source: S) -> Self {
        let (header, geometry) = Header::read(&source);
        Self {
            source,
            header,
            geometry,
        }
    }

    /// Returns the header as it was found at first.
    #[must_use]
    pub const fn header(&self) -> &Header {
        &self.header
    }

    /// Returns whether the region is still divided as it was found at first. If it is not, begin again.
    #[must_use]
    pub fn is_current(&self) -> bool {
        self.source.load(GEOMETRY_AT) == self.header.geometry
    }

    /// Looks at a slot; nothing if the memory does not have it.
    #[must_use]
    pub fn slot(&self, slot: SlotIndex) -> Option<SlotLook> {
        self.look_at_slot(slot).map(|(look, _)| look)
    }

    /// Looks at all slots, one after the other.
    pub fn slots(&self) -> impl Iterator<Item = SlotLook> + '_ {
        self.indices().filter_map(|slot| self.slot(slot))
    }

    /// Looks at the ring from one slot to another; nothing if the memory does not have it, or while one of the two slots changes
    /// hands.
    #[must_use]
    pub fn ring(&self, from: SlotIndex, to: SlotIndex) -> Option<RingLook> {
        let geometry = self.geometry?;
        if from == to || from.0 >= geometry.slots || to.0 >= geometry.slots {
            return None;
        }
        let end = geometry
            .ring(from.0, to.0)
            .checked_add(geometry.ring_len())?;
        if end > self.source.len() {
            return None;
        }
        rings::look(View(&self.source), geometry, from, to)
    }

    /// Looks at all rings, one after the other.
    pub fn rings(&self) -> impl Iterator<Item = RingLook> + '_ {
        self.pairs().filter_map(|(from, to)| self.ring(from, to))
    }

    /// Returns the frames of a ring whose room was not given back yet. They may have been received already.
    pub fn frames(&self, ring: &RingLook) -> Frames<'_, S> {
        let first = ring.first().unwrap_or(0);
        self.frames_from(ring, first)
    }

    /// Returns the frames of a ring from `position`, which must be the end of one that was looked at before, or 0. None if they have
    /// been overwritten.
    pub fn frames_from(&self, ring: &RingLook, position: u64) -> Frames<'_, S> {
        let is_there = ring.producer.standing == Standing::Current;
        let head = ring.head.filter(|_| is_there).unwrap_or(position);
        Frames::new(
            View(&self.source),
            *ring,
            position,
            rings::ahead(head, position),
        )
    }

    /// Returns a position from which frames can probably be read although they were received, for one who reads along and was left
    /// behind: that of a frame in the half of the ring before the head.
    #[must_use]
    pub fn recent(&self, ring: &RingLook) -> Option<u64> {
        frames::recent(View(&self.source), ring)
    }

    /// Copies out bytes, for the payload of a frame; those that the memory does not have are 0. What a member writes meanwhile
    /// may be seen in part: ask for [`Inspection::kept`] afterwards.
    pub fn read(&self, offset: usize, target: &mut [u8]) {
        let mut at = offset;
        let mut rest = target;
        while !rest.is_empty() {
            let word = self.source.load(at & !7).to_le_bytes();
            let from = at % 8;
            let len = rest.len().min(8 - from);
            let (now, later) = rest.split_at_mut(len);
            let bytes = word.iter().skip(from);
            now.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
            at = at.saturating_add(len);
            rest = later;
        }
    }

    /// Returns what is to be thought of a frame of `ring` whose payload has been read.
    #[must_use]
    pub fn kept(&self, ring: &RingLook, frame: &FrameLook) -> Kept {
        frames::kept(View(&self.source), ring, frame.position)
    }

    /// Looks at everything and reports what is wrong, in the order of the memory; of each ring only the first frame that is.
    pub fn check(&self, mut report: impl FnMut(Finding)) {
        if let Some(finding) = self.header.problem() {
            report(finding);
        }
        for slot in self.indices() {
            let look = || self.look_at_slot(slot).map(|(_, findings)| findings);
            self.confirm(look, &mut report);
        }
        for (from, to) in self.pairs() {
            self.confirm(|| self.check_ring(from, to), &mut report);
        }
    }

    /// Reports what two looks find.
    fn confirm(&self, look: impl Fn() -> Option<Findings>, report: &mut impl FnMut(Finding)) {
        let Some(first) = look().filter(|first| !first.is_empty()) else {
            return;
        };
        let Some(second) = look().filter(|_| self.is_current()) else {
            return;
        };
        first
            .iter()
            .filter(|finding| second.contains(finding))
            .for_each(report);
    }

    fn look_at_slot(&self, slot: SlotIndex) -> Option<(SlotLook, Findings)> {
        let geometry = self.geometry.filter(|geometry| slot.0 < geometry.slots)?;
        let end = geometry.slot(slot.0).checked_add(SLOT_LEN)?;
        (end <= self.source.len()).then(|| slots::look(View(&self.source), geometry, slot))
    }

    fn check_ring(&self, from: SlotIndex, to: SlotIndex) -> Option<Findings> {
        let geometry = self.geometry?;
        let ring = self.ring(from, to)?;
        Some(check::ring(View(&self.source), geometry.epoch, &ring))
    }

    fn indices(&self) -> impl Iterator<Item = SlotIndex> {
        let slots = self.geometry.map_or(0, |geometry| geometry.slots);
        (0..slots).map(SlotIndex)
    }

    fn pairs(&self) -> impl Iterator<Item = (SlotIndex, SlotIndex)> + '_ {
        self.indices().flat_map(move |from| {
            self.indices()
                .filter(move |&to| to != from)
                .map(move |to| (from, to))
        })
    }
}
