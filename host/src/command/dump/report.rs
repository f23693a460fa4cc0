// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a region holds, as a document: [`Report`].

use ivshmem::channel::inspect::{
    Contents, Finding, FrameKind, FrameLook, Inspection, Part, Presence, RingLook, RingState, Side,
    SlotLook, Source, Standing, Wish,
};
use ivshmem::channel::SlotIndex;
use serde::Serialize;

use super::Ring;
use crate::command::Failure;

/// The version of the document: another number when a field gets another meaning or goes.
const FORMAT: u32 = 1;

/// How much of a region is reported.
#[derive(Clone, Copy, Debug)]
pub(super) struct Detail {
    pub(super) ring: Option<Ring>,
    pub(super) all: bool,
    pub(super) frames: bool,
    pub(super) payload: bool,
}

/// What a memory holds. Offsets are bytes from its start, positions bytes since the start of a session, modulo 2^35.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    pub(super) format: u32,
    pub(super) place: String,
    pub(super) bytes: usize,
    /// `blank`, `region` or `unreadable`.
    pub(super) contents: &'static str,
    pub(super) region: Option<Region>,
    pub(super) slots: Vec<Slot>,
    pub(super) rings: Vec<RingReport>,
    pub(super) findings: Vec<Wrong>,
}

#[derive(Debug, Serialize)]
pub(super) struct Region {
    pub(super) version: u8,
    pub(super) epoch: u16,
    pub(super) formatted_bytes: usize,
    pub(super) slots: u16,
    pub(super) ring_bytes: usize,
    pub(super) rings_offset: usize,
    pub(super) end_offset: usize,
}

#[derive(Debug, Serialize)]
pub(super) struct Slot {
    pub(super) slot: u16,
    pub(super) offset: usize,
    /// `free`, `joining` or `member`; whether a member lives, `ivshmem peers` tells.
    pub(super) state: &'static str,
    pub(super) incarnation: u32,
    pub(super) heartbeat: Option<u32>,
    /// With what is no text escaped.
    pub(super) name: Option<String>,
    pub(super) id: Option<u16>,
    pub(super) vectors: Option<u16>,
}

#[derive(Debug, Serialize)]
pub(super) struct RingReport {
    pub(super) from: u16,
    pub(super) to: u16,
    pub(super) offset: usize,
    pub(super) bytes: usize,
    /// `blank`, `stale`, `producer only`, `consumer only`, `connected` or `over`.
    pub(super) state: &'static str,
    pub(super) head: Option<u64>,
    pub(super) tail: Option<u64>,
    pub(super) used_bytes: Option<usize>,
    /// Between tail and head, as far as they make sense.
    pub(super) frame_count: usize,
    pub(super) producer: SideReport,
    pub(super) consumer: SideReport,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) frames: Option<Vec<Frame>>,
}

#[derive(Debug, Serialize)]
pub(super) struct SideReport {
    /// In hexadecimal digits.
    pub(super) session: String,
    /// `none`, `current` or `other`.
    pub(super) standing: &'static str,
    pub(super) promise: u64,
    /// The position at which it wants to be rung; nothing if it looks by itself.
    pub(super) wish: Option<u64>,
    pub(super) sleeps: bool,
}

#[derive(Debug, Serialize)]
pub(super) struct Frame {
    pub(super) position: u64,
    pub(super) offset: usize,
    /// `message` or `skip`.
    pub(super) kind: &'static str,
    pub(super) bytes: usize,
    /// Whether the message goes on in the next frame.
    pub(super) more: bool,
    /// In hexadecimal digits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) payload: Option<String>,
}

#[derive(Debug, Serialize)]
pub(super) struct Wrong {
    /// `header`, `slot 3` or `ring 0:1`.
    pub(super) part: String,
    pub(super) offset: usize,
    /// The name of the problem, as in `ivshmem::channel::inspect::Problem`.
    pub(super) problem: &'static str,
    /// What was found and what was expected.
    pub(super) text: String,
}

impl Report {
    /// Reports on a region, of which this was `found`.
    pub(super) fn of<S: Source>(
        inspection: &Inspection<S>,
        place: &str,
        detail: &Detail,
        found: &[Finding],
    ) -> Result<Self, Failure> {
        let header = inspection.header();
        let (contents, region) = match header.contents {
            Contents::Blank => ("blank", None),
            Contents::Unreadable => ("unreadable", None),
            Contents::Region(division) => (
                "region",
                Some(Region {
                    version: header.geometry as u8,
                    epoch: division.epoch,
                    formatted_bytes: division.size,
                    slots: division.slots,
                    ring_bytes: division.ring_len,
                    rings_offset: division.rings_at,
                    end_offset: division.end,
                }),
            ),
        };
        let is_wrong = |part: Part| found.iter().any(|finding| finding.part == part);
        let slots = inspection
            .slots()
            .filter(|slot| {
                detail.all || slot.presence != Presence::Free || is_wrong(Part::Slot(slot.slot))
            })
            .map(Slot::from)
            .collect();
        let rings: Vec<_> = match detail.ring {
            Some(Ring { from, to }) => vec![ring(inspection, from, to)?],
            None => inspection
                .rings()
                .filter(|ring| {
                    let (from, to) = (ring.from, ring.to);
                    let is_used = ring.state() != RingState::Blank;
                    detail.all || is_used || is_wrong(Part::Ring { from, to })
                })
                .collect(),
        };
        let rings = rings
            .iter()
            .map(|ring| RingReport::of(inspection, ring, detail))
            .collect();
        Ok(Self {
            format: FORMAT,
            place: place.to_owned(),
            bytes: header.len,
            contents,
            region,
            slots,
            rings,
            findings: found.iter().map(Wrong::from).collect(),
        })
    }
}

/// Returns the ring that was asked for.
fn ring<S: Source>(
    inspection: &Inspection<S>,
    from: SlotIndex,
    to: SlotIndex,
) -> Result<RingLook, Failure> {
    // It is not seen while one of the slots changes hands.
    (0..100)
        .find_map(|_| inspection.ring(from, to))
        .ok_or_else(|| {
            let slots = match inspection.header().contents {
                Contents::Region(division) => division.slots,
                Contents::Blank | Contents::Unreadable => 0,
            };
            Failure::new(format!(
                "there is no ring {from}:{to}: the memory has {slots} slots, numbered from 0"
            ))
        })
}

impl From<SlotLook> for Slot {
    fn from(look: SlotLook) -> Self {
        Self {
            slot: look.slot.0,
            offset: look.offset,
            state: match look.presence {
                Presence::Free => "free",
                Presence::Joining => "joining",
                Presence::Member => "member",
            },
            incarnation: look.incarnation,
            heartbeat: look.heartbeat.filter(|_| look.presence != Presence::Free),
            name: look.identity.map(|identity| identity.name.to_string()),
            id: look
                .identity
                .and_then(|identity| identity.device)
                .map(|id| id.0),
            vectors: look.identity.map(|identity| identity.vectors),
        }
    }
}

impl RingReport {
    fn of<S: Source>(inspection: &Inspection<S>, ring: &RingLook, detail: &Detail) -> Self {
        let frames: Vec<_> = inspection.frames(ring).collect();
        Self {
            from: ring.from.0,
            to: ring.to.0,
            offset: ring.offset,
            bytes: ring.size,
            state: match ring.state() {
                RingState::Blank => "blank",
                RingState::Stale => "stale",
                RingState::ProducerOnly => "producer only",
                RingState::ConsumerOnly => "consumer only",
                RingState::Connected => "connected",
                RingState::Over => "over",
            },
            head: ring.head,
            tail: ring.tail,
            used_bytes: ring.used(),
            frame_count: frames
                .iter()
                .filter(|frame| frame.kind != FrameKind::Skip)
                .count(),
            producer: side(&ring.producer, ring.producer_sleeps()),
            consumer: side(&ring.consumer, ring.consumer_sleeps()),
            frames: detail.frames.then(|| {
                frames
                    .iter()
                    .map(|look| frame(inspection, look, detail))
                    .collect()
            }),
        }
    }
}

fn side(side: &Side, sleeps: bool) -> SideReport {
    SideReport {
        session: format!("{:016x}", side.session),
        standing: match side.standing {
            Standing::None => "none",
            Standing::Current => "current",
            Standing::Other => "other",
        },
        promise: side.promise,
        wish: match side.wish {
            Wish::Never => None,
            Wish::At(position) => Some(position),
        },
        sleeps,
    }
}

fn frame<S: Source>(inspection: &Inspection<S>, look: &FrameLook, detail: &Detail) -> Frame {
    let (kind, payload, bytes, more) = match look.kind {
        FrameKind::Message { payload, len, more } => ("message", payload, len, more),
        FrameKind::Skip => ("skip", 0, 0, false),
    };
    Frame {
        position: look.position,
        offset: look.offset,
        kind,
        bytes,
        more,
        payload: (detail.payload && kind == "message").then(|| {
            let mut copy = vec![0; bytes];
            inspection.read(payload, &mut copy);
            copy.iter().map(|byte| format!("{byte:02x}")).collect()
        }),
    }
}

impl From<&Finding> for Wrong {
    fn from(finding: &Finding) -> Self {
        Self {
            part: finding.part.to_string(),
            offset: finding.offset,
            problem: finding.problem.name(),
            text: finding.problem.to_string(),
        }
    }
}
