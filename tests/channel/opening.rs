// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a region may hold, and which formats fit.

use std::sync::atomic::Ordering;

use ivshmem::channel::{EventKind, Evicted, Format, OpenError, Region};

use crate::lab::{format, join, map, memory};

const LEN: u64 = 1 << 20;

/// Every error of opening, for its reason, with nothing written.
pub fn refusals() {
    let fd = memory(LEN);
    let mapping = map(&fd);
    let memory = mapping.memory();
    let word = |offset: usize| memory.atomic_u64(offset).expect("inside");
    assert_eq!(Region::open(memory).map(drop), Err(OpenError::NotFormatted));
    let half = memory.region(0, LEN as usize / 2).expect("inside");
    let odd = memory.region(4, 4096).expect("inside");
    let three = memory.region(0, 3 * 4096).expect("inside");
    for (bad, len) in [
        (odd, 4096),
        (three, 3 * 4096),
        (memory.region(0, 2048).expect("inside"), 2048),
    ] {
        assert_eq!(
            Region::open(bad).map(drop),
            Err(OpenError::BadMemory { len })
        );
        assert_eq!(
            Region::format_anew(bad, &format(2)).map(drop),
            Err(OpenError::BadMemory { len })
        );
    }
    for offset in [0x10, 0x80, 0x1078] {
        word(offset).store(1, Ordering::Relaxed);
        for result in [
            Region::open(memory),
            Region::open_or_format(memory, &format(2)),
        ] {
            assert_eq!(
                result.map(drop),
                Err(OpenError::Foreign { magic: 0 }),
                "something at {offset:#x}"
            );
        }
        word(offset).store(0, Ordering::Relaxed);
    }

    word(0).store(7, Ordering::Relaxed);
    assert_eq!(
        Region::open_or_format(memory, &format(2)).map(drop),
        Err(OpenError::Foreign { magic: 7 })
    );
    word(0).store(0, Ordering::Relaxed);

    Region::open_or_format(memory, &format(2)).expect("it is blank");
    let wrong = OpenError::WrongSize {
        formatted: LEN as usize,
        mapped: LEN as usize / 2,
    };
    assert_eq!(Region::open(half).map(drop), Err(wrong));
    let geometry = word(8).load(Ordering::Relaxed);
    word(8).store(geometry + 1, Ordering::Relaxed);
    assert_eq!(
        Region::open(memory).map(drop),
        Err(OpenError::UnknownVersion { found: 2 })
    );
    assert_eq!(
        word(8).load(Ordering::Relaxed),
        geometry + 1,
        "nothing is overwritten"
    );
    Region::format_anew(memory, &format(2)).expect("that was asked for");
    assert!(Region::open(memory).is_ok());
}

/// All numbers of slots and sizes of rings: what fits can be opened, and its last byte is inside.
pub fn formats() {
    for log2 in [12, 16, 20, 24] {
        let len = 1_u64 << log2;
        let fd = memory(len);
        let mapping = map(&fd);
        for slots in [0, 1, 2, 3, 5, 16, 64, 255, 256, 257] {
            for ring_log2 in [
                None,
                Some(0),
                Some(7),
                Some(8),
                Some(12),
                Some(16),
                Some(30),
                Some(31),
                Some(64),
            ] {
                let format = Format { slots, ring_log2 };
                let pairs = u64::from(slots) * u64::from(slots).saturating_sub(1);
                let least = ring_log2.unwrap_or(8);
                let need =
                    |log2: u32| 0x80 + u64::from(slots) * 0x80 + pairs * ((1_u64 << log2) + 0x180);
                let fits =
                    (2..=256).contains(&slots) && (8..=30).contains(&least) && need(least) <= len;
                match Region::format_anew(mapping.memory(), &format) {
                    Ok(region) => {
                        assert!(fits, "{format:?} in {len}");
                        let ring = region.ring_len().trailing_zeros();
                        assert!(
                            need(ring) <= len
                                && (ring == 22 || ring_log2.is_some() || need(ring + 1) > len)
                        );
                        assert_eq!(
                            Region::open(mapping.memory()).map(|region| region.slots()),
                            Ok(slots)
                        );
                    }
                    Err(error) => {
                        assert!(!fits, "{format:?} in {len}");
                        assert_eq!(
                            error,
                            OpenError::DoesNotFit {
                                len: len as usize,
                                format
                            }
                        );
                    }
                }
            }
        }
    }
}

/// Members of before are told, and nobody takes them for members.
pub fn reformatting_evicts() {
    let fd = memory(LEN);
    let mapping = map(&fd);
    let mut old = join(mapping.memory(), 4, "old");
    let region = Region::format_anew(mapping.memory(), &format(4)).expect("that was asked for");
    assert_eq!(old.poll_event(0), Err(Evicted));
    // Slots that nobody has used are taken first.
    let others = ["a", "b", "c"].map(|name| join(mapping.memory(), 4, name));
    let mut new = join(mapping.memory(), 4, "new");
    assert_eq!((region.slots(), new.slot()), (4, old.slot()));
    assert_eq!(
        new.incarnation(),
        old.incarnation() + 1,
        "incarnations count on"
    );
    for other in others {
        let event = new.poll_event(0).expect("it is there").expect("another");
        assert_eq!((event.slot, event.kind), (other.slot(), EventKind::Joined));
    }
    assert_eq!(new.poll_event(0), Ok(None));
    old.leave();
    assert_eq!(new.poll_event(0), Ok(None), "the old one has no say");
}
