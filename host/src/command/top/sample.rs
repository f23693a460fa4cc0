// SPDX-License-Identifier: MIT OR Apache-2.0
//! What has moved in a region between two looks: [`Sample`].

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use ivshmem::channel::inspect::{
    Contents, FrameKind, Inspection, Presence, RingLook, RingState, Standing, Wish,
};
use serde::Serialize;

use crate::command::region::{Memory, Opened};

/// The version of the JSON document: another number when a field gets another meaning or goes.
const FORMAT: u32 = 1;

/// How long the server may take to tell of its doorbells.
const SERVER_LIMIT: Duration = Duration::from_millis(500);

/// Frames that are counted in each ring; more are reckoned.
const FRAMES: usize = 1024;
/// How often the newest frames are looked at until some are found.
const TRIES: usize = 16;

/// Positions are known modulo this.
const POSITIONS: u64 = 1 << 35;

/// What was seen. Rates are of the time since the look before.
#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct Sample {
    pub(super) format: u32,
    pub(super) place: String,
    /// `blank`, `region` or `unreadable`.
    pub(super) contents: &'static str,
    pub(super) slots: u16,
    pub(super) interval_ms: u64,
    pub(super) members: Vec<Member>,
    /// All that are in use.
    pub(super) rings: Vec<Ring>,
}

#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct Member {
    pub(super) slot: u16,
    pub(super) name: String,
    pub(super) incarnation: u32,
    pub(super) id: Option<u16>,
    /// Since the heartbeat was seen to move, or since the first look.
    pub(super) beat_age_ms: u64,
    pub(super) in_bytes_per_second: u64,
    pub(super) out_bytes_per_second: u64,
    pub(super) in_messages_per_second: u64,
    pub(super) out_messages_per_second: u64,
    /// Of the fullest ring that it reads.
    pub(super) fill_percent: u64,
    /// `sleeps`, `polls`, `awake` or `-`, as the receiver of its rings.
    pub(super) waits: &'static str,
    /// Doorbells that it has not taken, where the server tells.
    pub(super) pending: Option<u64>,
}

#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct Ring {
    pub(super) from: u16,
    pub(super) to: u16,
    /// Whether both sides are connected.
    pub(super) connected: bool,
    pub(super) bytes: usize,
    pub(super) used_bytes: usize,
    pub(super) bytes_per_second: u64,
    pub(super) messages_per_second: u64,
    /// As of a member.
    pub(super) receiver: &'static str,
}

/// When something was seen to be another.
#[derive(Clone, Copy, Debug)]
struct Pulse {
    incarnation: u32,
    heartbeat: Option<u32>,
    since: Instant,
}

/// One who looks again and again.
#[derive(Debug)]
pub(super) struct Sampler<'o> {
    opened: &'o Opened,
    inspection: Inspection<&'o Memory>,
    pulses: BTreeMap<u16, Pulse>,
    /// Session and head of each ring.
    heads: BTreeMap<(u16, u16), (u64, u64)>,
    last: Option<Instant>,
}

impl<'o> Sampler<'o> {
    pub(super) fn new(opened: &'o Opened) -> Self {
        Self {
            opened,
            inspection: Inspection::of(&opened.memory),
            pulses: BTreeMap::new(),
            heads: BTreeMap::new(),
            last: None,
        }
    }

    /// Looks at everything.
    pub(super) fn look(&mut self) -> Sample {
        let now = Instant::now();
        let passed = self.last.map_or(Duration::ZERO, |last| now - last);
        self.last = Some(now);
        if !self.inspection.is_current() {
            self.inspection = Inspection::of(&self.opened.memory);
        }
        let (contents, slots) = match self.inspection.header().contents {
            Contents::Blank => ("blank", 0),
            Contents::Region(division) => ("region", division.slots),
            Contents::Unreadable => ("unreadable", 0),
        };
        let looks: Vec<_> = self.inspection.rings().collect();
        let rings: Vec<_> = looks
            .iter()
            .filter(|ring| ring.producer.standing == Standing::Current)
            .map(|ring| self.ring(ring, passed))
            .collect();
        let pending = self.pending();
        let members = self.members(now, &rings, &pending);
        Sample {
            format: FORMAT,
            place: self.opened.place.clone(),
            contents,
            slots,
            interval_ms: u64::try_from(passed.as_millis()).unwrap_or(u64::MAX),
            members,
            rings,
        }
    }

    /// Returns the doorbells of each client that it has not taken; none where nobody tells.
    fn pending(&self) -> BTreeMap<u16, u64> {
        let server = self.opened.server.clone();
        let status = server.and_then(|server| server.within(SERVER_LIMIT).status().ok());
        let peers = status.into_iter().flat_map(|status| status.peers);
        peers
            .filter_map(|peer| Some((peer.id, peer.doorbells?.pending)))
            .collect()
    }

    fn members(
        &mut self,
        now: Instant,
        rings: &[Ring],
        pending: &BTreeMap<u16, u64>,
    ) -> Vec<Member> {
        let mut members = Vec::new();
        for slot in self.inspection.slots() {
            let index = slot.slot.0;
            if slot.presence == Presence::Free {
                self.pulses.remove(&index);
                continue;
            }
            let seen = Pulse {
                incarnation: slot.incarnation,
                heartbeat: slot.heartbeat,
                since: now,
            };
            let pulse = self.pulses.entry(index).or_insert(seen);
            if (pulse.incarnation, pulse.heartbeat) != (seen.incarnation, seen.heartbeat) {
                *pulse = seen;
            }
            let age = now - pulse.since;
            let inward = || rings.iter().filter(move |ring| ring.to == index);
            let outward = || rings.iter().filter(move |ring| ring.from == index);
            let id = slot.identity.and_then(|identity| identity.device);
            members.push(Member {
                slot: index,
                name: slot
                    .identity
                    .map_or_else(|| "?".to_owned(), |identity| identity.name.to_string()),
                incarnation: slot.incarnation,
                id: id.map(|id| id.0),
                beat_age_ms: u64::try_from(age.as_millis()).unwrap_or(u64::MAX),
                in_bytes_per_second: inward().map(|ring| ring.bytes_per_second).sum(),
                out_bytes_per_second: outward().map(|ring| ring.bytes_per_second).sum(),
                in_messages_per_second: inward().map(|ring| ring.messages_per_second).sum(),
                out_messages_per_second: outward().map(|ring| ring.messages_per_second).sum(),
                fill_percent: inward().map(Ring::percent).max().unwrap_or(0),
                waits: ["polls", "awake", "sleeps"]
                    .into_iter()
                    .find(|&how| inward().any(|ring| ring.receiver == how))
                    .unwrap_or("-"),
                pending: id.and_then(|id| pending.get(&id.0).copied()),
            });
        }
        members
    }

    /// Returns what has moved in a ring in the time that has `passed`.
    fn ring(&mut self, ring: &RingLook, passed: Duration) -> Ring {
        let key = (ring.from.0, ring.to.0);
        let session = ring.producer.session;
        let head = ring.head.unwrap_or(0);
        let before = self.heads.insert(key, (session, head));
        let start = match before {
            Some((known, position)) if known == session => position,
            // A session that has begun since began at 0.
            _ if passed > Duration::ZERO => 0,
            _ => head,
        };
        let moved = head.wrapping_sub(start) % POSITIONS;
        Ring {
            from: key.0,
            to: key.1,
            connected: ring.state() == RingState::Connected,
            bytes: ring.size,
            used_bytes: ring.used().unwrap_or(0),
            bytes_per_second: rate(moved, passed),
            messages_per_second: rate(self.messages(ring, start, moved), passed),
            receiver: receiver(ring),
        }
    }

    /// Returns how many messages were sent in `moved` bytes from a position on.
    fn messages(&self, ring: &RingLook, start: u64, moved: u64) -> u64 {
        if moved == 0 {
            return 0;
        }
        // If few have come, they are still there. Of many the newest say how long a message is; a fast sender overtakes
        // who looks at these now and then.
        let all = (moved <= ring.size as u64 / 2).then(|| self.count(ring, start, moved));
        let newest = || {
            let ring = self.inspection.ring(ring.from, ring.to)?;
            self.count(&ring, self.inspection.recent(&ring)?, moved)
        };
        let mut tries = (0..TRIES).map(|_| newest());
        all.flatten()
            .or_else(|| tries.find_map(|found| found))
            .unwrap_or(0)
    }

    /// Returns how many messages are in `moved` bytes if they are like those behind `first`; nothing if none are found there.
    fn count(&self, ring: &RingLook, first: u64, moved: u64) -> Option<u64> {
        let mut frames = self.inspection.frames_from(ring, first);
        let ends = |kind| matches!(kind, FrameKind::Message { more: false, .. });
        let counted = frames
            .by_ref()
            .take(FRAMES)
            .filter(|frame| ends(frame.kind));
        let counted = counted.count() as u64;
        let bytes = frames.position().wrapping_sub(first) % POSITIONS;
        counted
            .saturating_mul(moved)
            .checked_div(bytes)
            .filter(|_| counted > 0)
    }
}

impl Ring {
    /// Returns how full it is.
    pub(super) fn percent(&self) -> u64 {
        (self.used_bytes as u64 * 100)
            .checked_div(self.bytes as u64)
            .unwrap_or(0)
    }
}

/// Returns how a receiver waits, as far as it says.
fn receiver(ring: &RingLook) -> &'static str {
    match (ring.consumer.standing, ring.consumer.wish) {
        (Standing::Current, _) if ring.consumer_sleeps() => "sleeps",
        (Standing::Current, Wish::Never) => "polls",
        (Standing::Current, Wish::At(_)) => "awake",
        _ => "-",
    }
}

fn rate(count: u64, passed: Duration) -> u64 {
    let millis = u64::try_from(passed.as_millis()).unwrap_or(u64::MAX);
    count.saturating_mul(1000).checked_div(millis).unwrap_or(0)
}
