// SPDX-License-Identifier: MIT OR Apache-2.0
//! What is wrong with a ring, by one look at it.
//!
//! What is tested for holds at every moment, whichever of the two members is stopped before whichever store. Only the parts of one
//! look are not of one moment, so what it finds counts when a second look finds the same.

use super::finding::{Finding, Findings, Part, Problem};
use super::frames::Frames;
use super::rings::{ahead, RingLook, Side, Standing, FAR};
use super::source::{Source, View};
use crate::channel::ring::{
    CONSUMER_PROMISE, CONSUMER_SESSION, HEAD, PRODUCER_PROMISE, PRODUCER_SESSION, TAIL,
};

/// Returns what is wrong with a ring.
pub(super) fn ring<S: Source + ?Sized>(
    words: View<'_, S>,
    epoch: u16,
    ring: &RingLook,
) -> Findings {
    let mut findings = Findings::default();
    // Without incarnations there is nothing to go by.
    if ring.is_in_doubt {
        return findings;
    }
    let problem = |place, problem| Finding {
        part: Part::Ring {
            from: ring.from,
            to: ring.to,
        },
        offset: ring.offset + place,
        problem,
    };
    let key = ring.key();
    // Who has given back room has received something, so the producer was there.
    let has_sent = ring.head.is_some_and(|head| head > 0) || ring.tail.is_some_and(|tail| tail > 0);
    let has_received = ring.tail.is_some_and(|tail| tail > 0);
    let sides = [
        (
            ring.producer,
            (ring.head, has_sent),
            PRODUCER_SESSION,
            PRODUCER_PROMISE,
            (HEAD, ring.words.head),
        ),
        (
            ring.consumer,
            (ring.tail, has_received),
            CONSUMER_SESSION,
            CONSUMER_PROMISE,
            (TAIL, ring.words.tail),
        ),
    ];
    for (side, (position, has_moved), session_at, promise_at, (position_at, word)) in sides {
        let began = has_moved || (position.is_some() && side.standing != Standing::None);
        let lost = side.standing != Standing::Current && began;
        if lost || (epoch == 1 && is_impossible(side, ring, epoch)) {
            let found = side.session;
            let expected = ring.session.word();
            findings.add(Some(problem(
                session_at,
                Problem::WrongSession { found, expected },
            )));
        }
        if side.standing != Standing::Current {
            continue;
        }
        let found = side.promise;
        let bad = (found > 1).then(|| problem(promise_at, Problem::BadPromise { found }));
        findings.add(bad);
        let strange = position.is_none().then(|| {
            let found = (word >> 32) as u32;
            let expected = key.0;
            problem(
                position_at,
                Problem::KeyOfAnotherSession { found, expected },
            )
        });
        findings.add(strange);
    }
    if let (Some(head), Some(tail)) = (ring.head, ring.first()) {
        match distance(words, ring, head, tail) {
            Ok(()) => {
                let mut frames = Frames::new(words, *ring, tail, ring.used().unwrap_or(0) as u64);
                frames.by_ref().for_each(drop);
                findings.add(frames.problem());
            }
            Err((place, wrong)) => findings.add(Some(problem(place, wrong))),
        }
    }
    findings
}

/// Returns whether a session cannot be one of the first epoch: it is of an incarnation that has not been yet, or of none.
fn is_impossible(side: Side, ring: &RingLook, epoch: u16) -> bool {
    let halves = [
        (side.session >> 32) as u32 ^ u32::from(epoch) << 16,
        side.session as u32,
    ];
    let was =
        |(half, incarnation): (u32, u32)| half != 0 && incarnation.wrapping_sub(half) as i32 >= 0;
    let incarnations = ring.slots.map(|state| state.incarnation);
    side.standing == Standing::Other && !halves.into_iter().zip(incarnations).all(was)
}

/// Checks that head and tail are where they can be, seen from each other.
fn distance<S: Source + ?Sized>(
    words: View<'_, S>,
    ring: &RingLook,
    head: u64,
    tail: u64,
) -> Result<(), (usize, Problem)> {
    let size = ring.size as u64;
    let used = ahead(head, tail);
    if used <= size {
        return Ok(());
    }
    if used < FAR {
        return Err((HEAD, Problem::HeadBeyondRing { head, tail }));
    }
    // The tail was read after the head, and before.
    let Some(before) = ring.key().advance(ring.words.tail_before, 0) else {
        return Ok(());
    };
    let early = ahead(before, head);
    if early == 0 || early >= FAR {
        return Ok(());
    }
    // A producer that is stopped between the header and the head has told the consumer, but nobody else: then the frames
    // are still there.
    let mut frames = Frames::new(words, *ring, head, early);
    frames.by_ref().for_each(drop);
    if frames.is_done() && early <= size {
        return Ok(());
    }
    let tail = before;
    Err((TAIL, Problem::TailAheadOfHead { head, tail }))
}
