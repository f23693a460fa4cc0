// SPDX-License-Identifier: MIT OR Apache-2.0
//! Looking into a region from outside, while it is used well, after it was damaged, and whatever it holds.

use std::cell::Cell;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use ivshmem::channel::inspect::{
    Contents, Finding, FrameKind, Inspection, Kept, Part, Presence, Problem, RingState, Source,
    Standing,
};
use ivshmem::channel::{Endpoint, Format, Member, NoDoorbell, Region, SlotIndex};
use ivshmem::SharedMemory;
use proptest::prelude::*;

use super::support::{connect, format, join, join_as, map, LIMIT};

const LEN: usize = 1 << 14;
const ONE: SlotIndex = SlotIndex(0);
const OTHER: SlotIndex = SlotIndex(1);
/// Offsets in the region that [`with_two`] makes: slots 0 and 1, and the ring from 0 to 1.
const SLOT: usize = 0x80;
const OTHER_SLOT: usize = 0x100;
const RING: usize = 0x80 + 3 * 0x80;
const DATA: usize = RING + 0x180;

fn findings(source: impl Source) -> Vec<Finding> {
    let mut findings = Vec::new();
    Inspection::of(source).check(|finding| findings.push(finding));
    findings
}

fn copy(memory: SharedMemory<'_>) -> Vec<u8> {
    let mut bytes = vec![0; memory.len()];
    memory.read(0, &mut bytes).unwrap();
    bytes
}

/// Makes a region of three slots with two members that are connected, and the first of which has sent three messages, of
/// which the second has received one.
fn with_two(run: impl FnOnce(SharedMemory<'_>)) {
    let mapping = map(LEN as u64);
    let region = format(mapping.memory(), 3, 10);
    let (mut one, mut other) = (join_as(region, "one", Some(7), 2, 0), join(region, "other"));
    let (mut here, mut there) = connect(&mut one, &mut other);
    for message in [&b"first"[..], b"second", b""] {
        here.sender().try_send(message).unwrap();
    }
    let mut buffer = [0; 16];
    assert_eq!(there.receiver().try_recv(&mut buffer), Ok(Some(5)));
    run(mapping.memory());
}

#[test]
fn everything_of_a_region_is_decoded() {
    with_two(|memory| {
        let inspection = Inspection::of(memory);
        let Contents::Region(division) = inspection.header().contents else {
            panic!("{:?}", inspection.header());
        };
        assert_eq!((division.size, division.slots), (LEN, 3));
        assert_eq!((division.ring_len, division.epoch), (1024, 1));
        assert_eq!(division.rings_at, RING);
        assert_eq!(division.end, RING + 6 * (1024 + 0x180));

        let slots: Vec<_> = inspection.slots().collect();
        let one = slots[0].identity.unwrap();
        assert_eq!(one.name.as_bytes(), b"one");
        assert_eq!((one.device.map(|id| id.0), one.vectors), (Some(7), 2));
        let other = slots[1].identity.unwrap();
        assert_eq!((other.device, other.vectors), (None, 0));
        assert_eq!((slots[1].incarnation, slots[1].offset), (1, OTHER_SLOT));
        assert_eq!(slots[1].heartbeat, Some(1));
        assert_eq!(slots[2].presence, Presence::Free);
        assert_eq!(slots[2].heartbeat, Some(0));
        assert!(inspection.slot(SlotIndex(3)).is_none());

        assert_eq!(inspection.rings().count(), 6);
        assert!(inspection.ring(ONE, ONE).is_none());
        let ring = inspection.ring(ONE, OTHER).unwrap();
        assert_eq!((ring.offset, ring.size), (RING, 1024));
        assert_eq!(ring.state(), RingState::Connected);
        assert_eq!(ring.producer.standing, Standing::Current);
        // Headers and payloads; the receiver gives room back later.
        assert_eq!((ring.head, ring.tail), (Some(40), Some(0)));
        assert_eq!(ring.used(), Some(40));
        let blank = inspection.ring(OTHER, SlotIndex(2)).unwrap();
        assert_eq!((blank.state(), blank.used()), (RingState::Blank, None));
        assert_eq!(inspection.frames(&blank).count(), 0);

        let frames: Vec<_> = inspection.frames(&ring).collect();
        let texts = frames.iter().map(|frame| {
            let FrameKind::Message { payload, len, more } = frame.kind else {
                panic!("{frame:?}");
            };
            assert!(!more);
            let mut bytes = vec![0; len];
            inspection.read(payload, &mut bytes);
            assert_eq!(inspection.kept(&ring, frame), Kept::Certainly);
            bytes
        });
        assert_eq!(texts.collect::<Vec<_>>(), [&b"first"[..], b"second", b""]);
        assert_eq!(findings(memory), []);
        // A copy says the same.
        let bytes = copy(memory);
        assert_eq!(findings(&bytes[..]), []);
        assert!(Inspection::of(&bytes[..]).slots().eq(slots));
    });
}

/// Returns what one word that is written there makes to be found.
fn after(offset: usize, value: u64) -> Vec<Finding> {
    let mut found = Vec::new();
    with_two(|memory| {
        let mut bytes = copy(memory);
        bytes[offset..offset + 8].copy_from_slice(&value.to_le_bytes());
        found = findings(&bytes[..]);
    });
    found
}

#[test]
fn each_kind_of_damage_is_named_with_its_place() {
    let mut words = [0; 6];
    with_two(|memory| {
        let offsets = [0x08, SLOT, RING, RING + 0x80, RING + 0x100, DATA];
        let inspection = [0; 6];
        words = inspection;
        for (word, offset) in words.iter_mut().zip(offsets) {
            *word = memory.load(offset);
        }
    });
    let [geometry, state, session, head, tail, header] = words;
    let key = head & !0xffff_ffff;
    let ring = Part::Ring {
        from: ONE,
        to: OTHER,
    };
    let slot = Part::Slot(ONE);
    let cases = [
        (Part::Header, 0x00, 0, "MagicMissing"),
        (Part::Header, 0x00, 5, "ForeignRegion"),
        (Part::Header, 0x08, geometry | 1 << 40, "UnsoundGeometry"),
        (Part::Header, 0x08, geometry + 1, "UnknownVersion"),
        (Part::Header, 0x08, geometry + (1 << 8), "SizeMismatch"),
        (slot, SLOT, state | 7, "BadState"),
        (slot, SLOT, state & !(u64::MAX << 32), "BadState"),
        (slot, SLOT + 0x08, 9 << 32, "StrangeWord"),
        (slot, SLOT + 0x10, u64::MAX, "StrangeWord"),
        (slot, SLOT + 0x50, 0, "StrangeWord"),
        (ring, RING, 0, "WrongSession"),
        (ring, RING, session + 1, "WrongSession"),
        (ring, RING, u64::MAX, "WrongSession"),
        (ring, RING + 0x40, session ^ 2, "WrongSession"),
        (ring, RING + 0x08, 2, "BadPromise"),
        (ring, RING + 0x48, u64::MAX, "BadPromise"),
        (ring, RING + 0x80, head ^ 1 << 40, "KeyOfAnotherSession"),
        (ring, RING + 0x100, 0, "KeyOfAnotherSession"),
        (ring, RING + 0x80, key | 129, "HeadBeyondRing"),
        (ring, RING + 0x100, tail + 6, "TailAheadOfHead"),
        (ring, RING + 0x100, tail + 500, "TailAheadOfHead"),
        (ring, DATA, 0, "MissingHeader"),
        (ring, DATA, header ^ 1 << 35, "WrongMark"),
        (ring, DATA, header & !(1 << 31), "BadFrameHeader"),
        // Longer than all that was announced, and empty although it goes on.
        (ring, DATA, header + 100, "BadFrameHeader"),
        (ring, DATA, header | 1 << 27, "BadFrameHeader"),
        (ring, DATA, header - 5 + (1 << 29), "BadFrameHeader"),
        // A skip at the start.
        (
            ring,
            DATA,
            (header & !0xffff_ffff) | 3 << 30,
            "BadFrameHeader",
        ),
    ];
    for (part, offset, value, name) in cases {
        let found = after(offset, value);
        assert_eq!(found.len(), 1, "{value:#x} at {offset:#x}: {found:?}");
        assert_eq!((found[0].part, found[0].offset), (part, offset), "{name}");
        assert_eq!(found[0].problem.name(), name, "{value:#x} at {offset:#x}");
    }
    // A wish may be anything, and so may a payload.
    for offset in [RING + 0x10, RING + 0x50, DATA + 8, 0x60] {
        assert_eq!(after(offset, 12345), [], "{offset:#x}");
    }
}

#[test]
fn what_is_no_region_is_named_and_a_part_of_one_is_looked_at() {
    let name = |bytes: &[u8]| {
        findings(bytes)
            .iter()
            .map(|f| f.problem.name())
            .collect::<Vec<_>>()
    };
    assert_eq!(name(&[]), ["BadSize"]);
    assert_eq!(name(&[0; 4097]), ["BadSize"]);
    assert_eq!(name(&[0; 8192]), [] as [&str; 0]);
    assert_eq!(
        Inspection::of(&[0; 8192][..]).header().contents,
        Contents::Blank
    );
    assert_eq!(name(&[7; 8192]), ["ForeignRegion"]);
    let mut used = [0; 8192];
    used[0x400] = 1;
    assert_eq!(name(&used), ["ForeignRegion"]);
    with_two(|memory| {
        let mut bytes = copy(memory);
        bytes[DATA] ^= 0x40;
        // Cut off behind that ring.
        bytes.truncate(DATA + 1024 + 100);
        assert_eq!(name(&bytes), ["SizeMismatch", "BadFrameHeader"]);
        let inspection = Inspection::of(&bytes[..]);
        assert_eq!(inspection.rings().count(), 1);
        bytes.truncate(OTHER_SLOT + 1);
        assert_eq!(Inspection::of(&bytes[..]).slots().count(), 1);
        assert_eq!(name(&bytes), ["SizeMismatch"]);
    });
}

#[test]
fn formatting_anew_leaves_nothing_to_find() {
    with_two(|memory| {
        let others = [2, 3, 5, 4].map(|slots| Format {
            slots,
            ring_log2: None,
        });
        for format in others.iter().chain(&others) {
            let region = Region::format_anew(memory, format).unwrap();
            assert_eq!(findings(memory), []);
            let (mut one, mut other) = (join(region, "one"), join(region, "other"));
            let (mut here, _) = connect(&mut one, &mut other);
            here.sender().try_send(b"hello").unwrap();
            assert_eq!(findings(memory), []);
        }
    });
}

#[test]
fn nothing_is_found_while_members_come_talk_and_go() {
    let mapping = map(LEN as u64);
    let region = format(mapping.memory(), 3, 8);
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            for life in 0..300 {
                let (mut one, mut other) = (join(region, "one"), join(region, "other"));
                let (mut here, mut there) = connect(&mut one, &mut other);
                for number in 0..200 {
                    // Of all lengths up to the longest.
                    let message = [number as u8; 112];
                    let _ = here.sender().try_send(&message[..number % 113]);
                    let mut buffer = [0; 112];
                    if (life + number) % 3 > 0 {
                        there.receiver().try_recv(&mut buffer).unwrap();
                    }
                }
                one.leave();
                other.leave();
            }
            done.store(true, Ordering::Release);
        });
        let mut looks = 0;
        while !done.load(Ordering::Acquire) {
            assert_eq!(findings(mapping.memory()), []);
            looks += 1;
        }
        assert!(looks > 0);
    });
}

/// Counts how often it is read.
struct Counting<'b>(&'b [u8], Cell<usize>);

impl Source for Counting<'_> {
    fn len(&self) -> usize {
        self.0.len()
    }

    fn load(&self, offset: usize) -> u64 {
        assert!(offset % 8 == 0);
        self.1.set(self.1.get() + 1);
        self.0.load(offset)
    }
}

/// Looks at all there is, within bounds.
fn look_at_all(bytes: &[u8]) {
    let source = Counting(bytes, Cell::new(0));
    let inspection = Inspection::of(&source);
    inspection.check(|finding| assert!(!finding.to_string().is_empty()));
    for ring in inspection.rings() {
        inspection.frames(&ring).for_each(drop);
        inspection.frames_from(&ring, 72).for_each(drop);
        let _ = (ring.state(), ring.used(), ring.first());
    }
    assert_eq!(
        inspection.slots().count() > 0,
        inspection.slot(ONE).is_some()
    );
    // Each word of data three times, and the control blocks and slots a few times for each ring.
    let loads = source.1.get();
    assert!(
        loads < 16 * bytes.len() + 10_000,
        "{loads} of {}",
        bytes.len()
    );
}

/// Something that a member does well.
#[derive(Clone, Debug)]
enum Step {
    Join(usize),
    Leave(usize),
    Die(usize),
    Connect(usize, usize),
    Send(usize, usize, usize),
    Receive(usize, usize),
    Beat(usize),
}

fn step() -> impl Strategy<Value = Step> {
    let who = || 0..3_usize;
    prop_oneof![
        who().prop_map(Step::Join),
        who().prop_map(Step::Leave),
        who().prop_map(Step::Die),
        (who(), who()).prop_map(|(one, other)| Step::Connect(one, other)),
        (who(), who(), 0..300_usize).prop_map(|(one, other, len)| Step::Send(one, other, len)),
        (who(), who(), 0..300_usize).prop_map(|(one, other, len)| Step::Send(one, other, len)),
        (who(), who()).prop_map(|(one, other)| Step::Receive(one, other)),
        who().prop_map(Step::Beat),
    ]
}

/// Up to three members and what they are connected by.
#[derive(Default)]
struct Party<'m> {
    members: [Option<Member<'m>>; 3],
    endpoints: [[Option<Endpoint<'m, NoDoorbell>>; 3]; 3],
    now: u64,
}

impl<'m> Party<'m> {
    fn does(&mut self, region: Region<'m>, step: &Step) {
        match *step {
            Step::Join(who) if self.members[who].is_none() => {
                self.now += 3 * LIMIT;
                let name = ["one", "two", "three"][who];
                self.members[who] = Some(join_as(region, name, Some(0), 1, self.now));
                self.now += 3 * LIMIT;
            }
            Step::Leave(who) => {
                self.endpoints[who] = Default::default();
                if let Some(member) = self.members[who].take() {
                    member.leave();
                }
            }
            // What it was connected by goes with it, and nobody is told.
            Step::Die(who) => {
                self.endpoints[who] = Default::default();
                self.members[who] = None;
            }
            Step::Connect(who, whom) => {
                let to = self.members[whom].as_ref().map(Member::slot);
                if let (Some(member), Some(slot)) = (&mut self.members[who], to) {
                    if let Ok(endpoint) = member.connect(slot, NoDoorbell) {
                        self.endpoints[who][whom] = Some(endpoint);
                    }
                }
            }
            Step::Send(who, whom, len) => {
                if let Some(endpoint) = &mut self.endpoints[who][whom] {
                    let _ = endpoint.sender().try_send(&[0xff; 300][..len]);
                }
            }
            Step::Receive(who, whom) => {
                if let Some(endpoint) = &mut self.endpoints[who][whom] {
                    let _ = endpoint.receiver().try_recv(&mut [0; 300]);
                }
            }
            Step::Beat(who) => {
                if let Some(member) = &mut self.members[who] {
                    let _ = member.poll_event(self.now);
                }
            }
            Step::Join(_) => {}
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn nothing_is_found_whatever_members_do_well(steps in prop::collection::vec(step(), 1..80)) {
        let mapping = map(LEN as u64);
        let region = format(mapping.memory(), 3, 10);
        let mut party = Party::default();
        for step in &steps {
            party.does(region, step);
            prop_assert_eq!(findings(mapping.memory()), [], "after {:?}", step);
        }
    }

    #[test]
    fn any_bytes_are_looked_at_within_bounds(mut bytes in prop::collection::vec(any::<u8>(), 0..9000)) {
        look_at_all(&bytes);
        if bytes.len() >= 16 {
            bytes[..8].copy_from_slice(b"IVSHMCH1");
            let size = bytes.len().next_power_of_two().ilog2() as u8;
            for (slots, ring) in [(1, 8), (2, 9), (3, 8), (1, 11)] {
                bytes[8..16].copy_from_slice(&[1, size, ring, slots, 0, 0, 1, 0]);
                look_at_all(&bytes);
            }
        }
    }

    #[test]
    fn a_region_with_any_words_in_it_is_looked_at_within_bounds(
        words in prop::collection::vec((0..LEN / 8, prop_oneof![any::<u64>(), 0..100_u64]), 1..30)
    ) {
        with_two(|memory| {
            let mut bytes = copy(memory);
            for (word, value) in words {
                let old = bytes[word * 8..].load(0);
                let value = if value < 50 { old ^ 1 << value } else { value };
                bytes[word * 8..word * 8 + 8].copy_from_slice(&value.to_le_bytes());
                look_at_all(&bytes);
            }
        });
    }
}

#[test]
fn problems_say_what_was_found_and_what_was_expected() {
    let problem = Problem::WrongMark {
        found: 1,
        expected: 2,
    };
    let finding = Finding {
        part: Part::Ring {
            from: ONE,
            to: OTHER,
        },
        offset: 0x380,
        problem,
    };
    assert_eq!(
        finding.to_string(),
        "ring 0:1 at 0x380: WrongMark: header with mark 0x00000001, expected 0x00000002"
    );
}
