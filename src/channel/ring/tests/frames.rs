// SPDX-License-Identifier: MIT OR Apache-2.0
//! Tests of frames in a ring, both ends in one thread.

use super::*;
use crate::channel::words::doubles::Heap;

const PLACE: Place = Place::new(8);

fn fresh() -> (Heap, Producer<Heap>, Consumer<Heap>) {
    let memory = memory(PLACE);
    let (producer, consumer) = ends(&memory, PLACE);
    (memory, producer, consumer)
}

#[test]
fn every_length_passes_at_every_position() {
    for start in (0..PLACE.size()).step_by(8) {
        for len in 0..=PLACE.longest() {
            let (_, mut producer, mut consumer) = fresh();
            // Frames of 8 bytes, which have no payload, lead to the position.
            for _ in 0..start / 8 {
                try_send(&mut producer, &[]).unwrap().unwrap();
                assert_eq!(try_receive(&mut consumer).unwrap().0, Some(vec![]));
            }
            assert_eq!(try_receive(&mut consumer).unwrap().0, None);
            let sent = message(len, len);
            let sending = try_send(&mut producer, &sent).unwrap();
            assert!(sending.is_some(), "{len} bytes at {start}");
            let received = try_receive(&mut consumer).unwrap().0;
            assert_eq!(received, Some(sent), "{len} bytes at {start}");
            assert_eq!(try_receive(&mut consumer).unwrap().0, None);
        }
    }
}

#[test]
fn a_full_ring_takes_more_when_the_consumer_has_made_room() {
    let (_, mut producer, mut consumer) = fresh();
    let mut sent = 0;
    while try_send(&mut producer, &message(sent, 24))
        .unwrap()
        .is_some()
    {
        sent += 1;
    }
    // Each takes 32 bytes of the 256, and the last one's successor has no place for its header.
    assert_eq!(sent, 7);
    assert_eq!(producer.free(), 32);
    for i in 0..sent {
        assert_eq!(try_receive(&mut consumer).unwrap().0, Some(message(i, 24)));
    }
    assert_eq!(try_receive(&mut consumer).unwrap().0, None);
    producer.refresh().unwrap();
    assert_eq!(producer.free(), PLACE.size());
}

/// Writes a message in place.
fn in_place(producer: &mut Producer<Heap>, message: &[u8]) -> Granted {
    let granted = producer.grant(message.len()).unwrap().unwrap();
    producer.data().write(granted.payload, message);
    granted
}

#[test]
fn what_is_granted_may_be_dropped_or_made_shorter() {
    let (_, mut producer, mut consumer) = fresh();
    assert!(producer.grant(100).unwrap().is_some());
    assert_eq!(try_receive(&mut consumer).unwrap().0, None);
    let granted = in_place(&mut producer, b"hello");
    producer.finish(granted, 4, false);
    producer.announce();
    assert_eq!(
        try_receive(&mut consumer).unwrap().0,
        Some(b"hell".to_vec())
    );
    let granted = in_place(&mut producer, b"hello");
    // More than was granted is not announced.
    producer.finish(granted, 90, true);
    producer.announce();
    let peeked = consumer.peek().unwrap().unwrap();
    assert_eq!((peeked.len, peeked.more), (5, true));
}

#[test]
fn frames_announced_together_come_together() {
    // With a skip in every place: first, in between, last, and nowhere.
    for start in (0..PLACE.size()).step_by(8) {
        let (_, mut producer, mut consumer) = fresh();
        for _ in 0..start / 8 {
            try_send(&mut producer, &[]).unwrap().unwrap();
            try_receive(&mut consumer).unwrap();
        }
        consumer.publish();
        for i in 0..3 {
            write(&mut producer, &message(i, 40)).unwrap().unwrap();
            assert_eq!(try_receive(&mut consumer).unwrap().0, None);
        }
        producer.announce();
        for i in 0..3 {
            let received = try_receive(&mut consumer).unwrap().0;
            assert_eq!(received, Some(message(i, 40)), "message {i} from {start}");
        }
        assert_eq!(try_receive(&mut consumer).unwrap().0, None);
        assert!(!producer.announce(), "nothing is left to announce");
    }
}

#[test]
fn a_producer_may_send_before_the_consumer_comes_but_not_for_another_session() {
    let memory: Heap = memory(PLACE);
    // Of an earlier session: a tail that would be wrong, and messages.
    let (mut old_producer, mut old_consumer) = ends(&memory, PLACE);
    for i in 0..5 {
        try_send(&mut old_producer, &message(i, 16))
            .unwrap()
            .unwrap();
        try_receive(&mut old_consumer).unwrap();
    }
    try_send(&mut old_producer, b"left over").unwrap().unwrap();
    old_consumer.publish();

    let next = Session::new(1, 2);
    let mut early = Consumer::begin(ring_in(memory.clone(), PLACE), next);
    assert_eq!(
        try_receive(&mut early).unwrap().0,
        None,
        "the producer's session is another"
    );
    let later = Session::new(2, 2);
    let mut producer = Producer::begin(ring_in(memory.clone(), PLACE), later);
    assert_eq!(try_receive(&mut early).unwrap().0, None, "so is this one");
    try_send(&mut producer, b"early").unwrap().unwrap();
    producer.refresh().unwrap();
    assert_eq!(
        producer.free(),
        PLACE.size() - 16,
        "that tail is of another session"
    );
    let mut consumer = Consumer::begin(ring_in(memory, PLACE), later);
    assert_eq!(
        try_receive(&mut consumer).unwrap().0,
        Some(b"early".to_vec())
    );
}

#[test]
fn either_side_learns_that_the_other_has_begun_anew() {
    let (memory, mut producer, mut consumer) = fresh();
    try_send(&mut producer, b"first").unwrap().unwrap();
    producer.refresh().unwrap();
    let peeked = consumer.peek().unwrap().unwrap();
    Producer::begin(ring_in(memory.clone(), PLACE), Session::new(2, 1));
    assert_eq!(consumer.verify(), Err(RingError::Restarted));
    assert_eq!(consumer.peek().unwrap_err(), RingError::Restarted);
    consumer.pass(peeked);
    assert_eq!(consumer.peek().unwrap_err(), RingError::Restarted);
    Consumer::begin(ring_in(memory, PLACE), Session::new(1, 2));
    assert_eq!(producer.refresh(), Err(RingError::Restarted));
}

#[test]
fn what_the_protocol_does_not_allow_is_corrupt() {
    let long = PLACE.longest() as u32;
    for header in [
        Header::message(8, Start::Behind, false, mark(8)).word(),
        Header::message(8, Start::Behind, false, Session::new(2, 1).key().mark(0)).word(),
        Header::message(long + 1, Start::Behind, false, mark(0)).word(),
        Header::message(u32::MAX, Start::Behind, false, mark(0)).word(),
        Header::skip(mark(0)).word(),
        Header::message(8, Start::Behind, false, mark(0)).word() | 1 << 30,
        Header::message(8, Start::Behind, false, mark(0)).word() & !(1 << 31),
        1,
        u64::MAX,
    ] {
        let (memory, _producer, mut consumer) = fresh();
        memory.store(CONTROL_LEN, header, Ordering::Relaxed);
        let error = consumer.peek().unwrap_err();
        assert_eq!(error, RingError::Corrupt, "{header:#x}");
    }
    for position in [24, 32, u64::MAX, 1 << 31] {
        let (memory, mut producer, _consumer) = fresh();
        try_send(&mut producer, b"16 bytes").unwrap().unwrap();
        // Written, but not announced: nobody can have consumed it.
        write(&mut producer, b"16 bytes").unwrap().unwrap();
        memory.store(TAIL, FIRST.key().word(position), Ordering::Relaxed);
        let refused = Err(RingError::Corrupt);
        assert_eq!(producer.refresh(), refused, "{position:#x}");
    }
}

#[test]
fn a_late_store_of_a_predecessor_to_the_tail_does_no_harm() {
    let (memory, _, _) = fresh();
    let late = |position| memory.store(TAIL, FIRST.key().word(position), Ordering::Release);
    // Both have had a successor since, but the old consumer does not know yet.
    let session = Session::new(1, 2);
    let mut producer = Producer::begin(ring_in(memory.clone(), PLACE), session);
    let mut consumer = Consumer::begin(ring_in(memory.clone(), PLACE), session);
    for _ in 0..2 {
        try_send(&mut producer, b"16 bytes").unwrap().unwrap();
        try_receive(&mut consumer).unwrap();
    }
    consumer.publish();
    producer.refresh().unwrap();
    late(16);
    assert_eq!(producer.refresh(), Ok(()));
    assert_eq!(producer.free(), PLACE.size());

    try_send(&mut producer, b"16 bytes").unwrap().unwrap();
    try_receive(&mut consumer).unwrap();
    consumer.publish();
    late(32);
    // The room that was given back is not lost.
    assert_eq!(try_receive(&mut consumer).unwrap().0, None);
    producer.refresh().unwrap();
    assert_eq!(producer.free(), PLACE.size());
}

#[test]
fn a_late_store_of_a_predecessor_to_a_header_is_no_message() {
    let (memory, mut evicted, _) = fresh();
    let session = Session::new(2, 1);
    let mut producer = Producer::begin(ring_in(memory.clone(), PLACE), session);
    let mut consumer = Consumer::begin(ring_in(memory, PLACE), session);
    try_send(&mut producer, b"its own").unwrap().unwrap();
    try_send(&mut evicted, b"too late").unwrap().unwrap();
    assert_eq!(try_receive(&mut consumer), Err(RingError::Corrupt));
}

#[test]
fn a_header_that_a_late_store_has_taken_away_is_missed() {
    let (memory, mut producer, mut consumer) = fresh();
    try_send(&mut producer, b"message").unwrap().unwrap();
    memory.store(CONTROL_LEN, Header::NONE.word(), Ordering::Relaxed);
    consumer.arm();
    assert_eq!(try_receive(&mut consumer), Err(RingError::Corrupt));

    // Who polls finds out too.
    let (memory, mut producer, mut consumer) = fresh();
    try_send(&mut producer, b"message").unwrap().unwrap();
    memory.store(CONTROL_LEN, Header::NONE.word(), Ordering::Relaxed);
    let found = (0..100_000).find_map(|_| try_receive(&mut consumer).err());
    assert_eq!(found, Some(RingError::Corrupt));
}

#[test]
fn a_frame_beyond_the_end_is_corrupt() {
    let (memory, mut producer, mut consumer) = fresh();
    for _ in 0..PLACE.size() / 8 - 2 {
        try_send(&mut producer, &[]).unwrap().unwrap();
        try_receive(&mut consumer).unwrap();
    }
    let last = PLACE.size() - 16;
    let header = |len| Header::message(len, Start::Behind, false, mark(last as u64)).word();
    memory.store(CONTROL_LEN + last, header(8), Ordering::Relaxed);
    assert_eq!(consumer.peek().unwrap().unwrap().len, 8);
    memory.store(CONTROL_LEN + last, header(9), Ordering::Relaxed);
    assert_eq!(consumer.peek().unwrap_err(), RingError::Corrupt);
}
