// SPDX-License-Identifier: MIT OR Apache-2.0
//! Arbitrary contents of header and slots.

use proptest::prelude::*;

use super::stepped::{Stepped, LEN};
use super::*;
use crate::channel::layout::{Geometry, GEOMETRY_AT, MAGIC, MAGIC_AT, SLOTS_AT};
use crate::channel::region::{format_anew, open};
use crate::channel::OpenError;
use core::sync::atomic::Ordering;

/// Words that a slot might have, and any others.
fn word() -> impl Strategy<Value = u64> {
    prop_oneof![
        any::<u64>(),
        Just(0),
        (0..4_u64, 0..2_u64, 0..3_u64, 0..3_u64).prop_map(|(phase, origin, epoch, incarnation)| {
            phase | origin << 8 | epoch << 16 | incarnation << 32
        }),
        any::<u64>().prop_map(|word| word | 0xffff_ffff << 32),
    ]
}

/// Stores that a peer does, each at a word of the slots.
fn scribble(words: &Stepped, stores: &[(usize, u64)]) {
    for &(at, word) in stores {
        words.store(SLOTS_AT + at % 0x200 / 8 * 8, word, Ordering::Relaxed);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn arbitrary_headers(magic in prop_oneof![Just(0), Just(MAGIC), any::<u64>()], geometry in prop_oneof![
        any::<u64>(),
        (0..3_u64, 10..15_u64, 6..12_u64, 0..9_u64, 0..2_u64, 0..3_u64).prop_map(|(version, size, ring, slots, odd, epoch)| {
            version | size << 8 | ring << 16 | slots << 24 | odd << 40 | epoch << 48
        }),
    ], rest in word()) {
        let words = Stepped::new();
        words.store(MAGIC_AT, magic, Ordering::Relaxed);
        words.store(GEOMETRY_AT, geometry, Ordering::Relaxed);
        words.store(GEOMETRY_AT + 8, rest, Ordering::Relaxed);
        match open(&words, LEN) {
            Ok(found) => {
                prop_assert_eq!(found.word(), geometry);
                prop_assert_eq!(found.size(), LEN);
                let last = found.slots - 1;
                prop_assert!(found.ring(last, last - 1) + found.ring_len() <= LEN);
            }
            Err(OpenError::NotFormatted) => prop_assert_eq!((magic, geometry, rest), (0, 0, 0)),
            Err(OpenError::Foreign { magic: found }) => prop_assert_eq!(found, magic),
            Err(OpenError::UnknownVersion { found }) => {
                prop_assert_eq!(magic, MAGIC);
                prop_assert!(found != 1 && found == geometry as u8);
            }
            Err(OpenError::WrongSize { formatted, mapped }) => prop_assert!(formatted != LEN && mapped == LEN),
            Err(error) => return Err(TestCaseError::fail(std::format!("{error:?}"))),
        }
        // Whatever it was, it can be formatted when that is asked for.
        let anew = format_anew(&words, LEN, &format(2)).unwrap();
        prop_assert_eq!(open(&words, LEN), Ok(anew));
        prop_assert!(anew.word() != geometry);
    }

    #[test]
    fn arbitrary_slots(before in prop::collection::vec((any::<usize>(), word()), 0..40),
        meanwhile in prop::collection::vec(prop::collection::vec((any::<usize>(), word()), 0..6), 30)) {
        let words = Stepped::new();
        let geometry = Geometry::divide(LEN, 4, None, 1).unwrap();
        words.store(GEOMETRY_AT, geometry.word(), Ordering::Relaxed);
        words.store(MAGIC_AT, MAGIC, Ordering::Relaxed);
        scribble(&words, &before);
        let table = table(&words, 4);
        let mut candidate = Candidate::new(introduction("a"));
        let mut seat = None;
        for (stores, now) in meanwhile.iter().zip((0..).step_by(STEP as usize)) {
            scribble(&words, stores);
            if let Some(member) = &mut seat {
                let mut events = 0;
                while let Ok(Some(_)) = Seat::poll_event(member, &table, now) {
                    // The peer is at it in between, too.
                    scribble(&words, stores);
                    events += 1;
                }
                prop_assert!(events <= 3, "one for each other slot");
            } else if let Poll::Ready(joined) = candidate.poll(&table, now) {
                seat = joined.ok();
            }
        }
        // When the peer has stopped, there is a way in for another within two limits.
        prop_assert!(join(&table, "b", 10_000).is_ok());
    }
}
