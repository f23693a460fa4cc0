// SPDX-License-Identifier: MIT OR Apache-2.0
//! Reading along: the frames of rings, in order, by one whom nobody waits for.

use std::collections::BTreeMap;

use ivshmem::channel::inspect::{
    Contents, FrameKind, FrameLook, Inspection, Kept, RingLook, Source, Standing,
};
use ivshmem::channel::SlotIndex;

use super::capture::LONGEST;
use super::Ring;

/// A frame that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Captured {
    /// Of the sender and of the receiver.
    pub(super) slots: [u16; 2],
    pub(super) incarnations: [u32; 2],
    pub(super) position: u64,
    /// Bytes of its payload.
    pub(super) len: usize,
    pub(super) more: bool,
    /// Whether the receiver had given back the room.
    pub(super) given_back: bool,
    /// Its payload, or the start of it.
    pub(super) payload: Vec<u8>,
}

/// Where a ring was left.
#[derive(Clone, Copy, Debug)]
struct Place {
    session: u64,
    position: u64,
}

/// One who reads along.
#[derive(Debug)]
pub(super) struct Tap {
    /// All if there is none.
    ring: Option<Ring>,
    places: BTreeMap<(SlotIndex, SlotIndex), Place>,
    missed: u64,
}

impl Tap {
    pub(super) const fn new(ring: Option<Ring>) -> Self {
        Self {
            ring,
            places: BTreeMap::new(),
            missed: 0,
        }
    }

    /// Returns in how many places frames were missed.
    pub(super) const fn missed(&self) -> u64 {
        self.missed
    }

    /// Returns whether there can be such rings: the memory may be blank as yet.
    pub(super) fn is_possible<S: Source>(&self, inspection: &Inspection<S>) -> bool {
        match (inspection.header().contents, self.ring) {
            (Contents::Unreadable, _) => false,
            (Contents::Region(division), Some(Ring { from, to })) => {
                from.0.max(to.0) < division.slots
            }
            _ => true,
        }
    }

    /// Tells of the frames that have come since the last look.
    pub(super) fn look<S: Source>(
        &mut self,
        inspection: &Inspection<S>,
        mut tell: impl FnMut(&Captured),
    ) {
        match self.ring {
            Some(Ring { from, to }) => {
                if let Some(ring) = inspection.ring(from, to) {
                    self.read(inspection, &ring, &mut tell);
                }
            }
            None => {
                for ring in inspection.rings() {
                    self.read(inspection, &ring, &mut tell);
                }
            }
        }
    }

    fn read<S: Source>(
        &mut self,
        inspection: &Inspection<S>,
        ring: &RingLook,
        tell: &mut impl FnMut(&Captured),
    ) {
        let (Standing::Current, Some(head), Some(first)) =
            (ring.producer.standing, ring.head, ring.first())
        else {
            return;
        };
        let session = ring.producer.session;
        let place = self.places.get(&(ring.from, ring.to)).copied();
        let start = match place {
            Some(place) if place.session == session => place.position,
            _ => first,
        };
        // Frames before the last half of the ring may be overwritten, and their headers be something else.
        let is_far = start > head || head - start > ring.size as u64 / 2;
        let is_kept = start == first || !is_far;
        let start = if is_kept {
            start
        } else {
            inspection.recent(ring).unwrap_or(head)
        };
        let mut lost = !is_kept;
        let mut frames = inspection.frames_from(ring, start);
        for frame in frames.by_ref() {
            match capture(inspection, ring, &frame) {
                Some(Ok(captured)) => tell(&captured),
                // Another one may have been written there meanwhile.
                Some(Err(Overwritten)) => lost = true,
                None => {}
            }
        }
        // Else overtaken on the way.
        let position = if frames.is_done() || frames.problem().is_some() {
            frames.position()
        } else {
            lost = true;
            head
        };
        self.missed += u64::from(lost);
        self.places
            .insert((ring.from, ring.to), Place { session, position });
    }
}

/// The frame was overwritten while it was read.
struct Overwritten;

/// Reads a frame; nothing if it is a skip.
fn capture<S: Source>(
    inspection: &Inspection<S>,
    ring: &RingLook,
    frame: &FrameLook,
) -> Option<Result<Captured, Overwritten>> {
    let FrameKind::Message { payload, len, more } = frame.kind else {
        return None;
    };
    let mut bytes = vec![0; len.min(LONGEST)];
    inspection.read(payload, &mut bytes);
    let given_back = match inspection.kept(ring, frame) {
        Kept::Certainly => false,
        Kept::Probably => true,
        Kept::Hardly => return Some(Err(Overwritten)),
    };
    Some(Ok(Captured {
        slots: [ring.from.0, ring.to.0],
        incarnations: ring.incarnations(),
        position: frame.position,
        len,
        more,
        given_back,
        payload: bytes,
    }))
}
