// SPDX-License-Identifier: MIT OR Apache-2.0
//! Both ends of a ring in every interleaving, and with every value of each word, that the memory model allows.

use super::*;
use crate::channel::words::doubles::Model;

/// The smallest ring that holds two frames with payload.
const PLACE: Place = Place::new(6);

/// Checks a model with all switches from one thread to the other.
fn check(model: impl Fn() + Sync + Send + 'static) {
    loom::model::Builder::new().check(model);
}

/// Checks a model that is too long for [`check`], with as many switches as take seconds.
fn check_briefly(model: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(2);
    builder.check(model);
}

/// Receives `count` messages.
fn receive<W: Words>(consumer: &mut Consumer<W>, count: usize) -> Vec<Vec<u8>> {
    let mut received = Vec::new();
    while received.len() < count {
        match try_receive(consumer).unwrap().0 {
            Some(message) => received.push(message),
            None => loom::thread::yield_now(),
        }
    }
    received
}

/// A ring whose both ends are at 48 of 64, with what looks like headers of what comes next in the data.
fn at_the_end() -> (Producer<Model>, Consumer<Model>) {
    let memory = memory(PLACE);
    let (mut producer, mut consumer) = ends(&memory, PLACE);
    for position in [72, 88, 104] {
        let trap = Header::message(0, Start::Behind, false, mark(position))
            .word()
            .to_le_bytes();
        try_send(&mut producer, &trap).unwrap().unwrap();
        try_receive(&mut consumer).unwrap();
    }
    consumer.publish();
    producer.refresh().unwrap();
    (producer, consumer)
}

#[test]
fn frames_pass_the_end_of_the_ring() {
    check(|| {
        let (mut producer, mut consumer) = at_the_end();
        // The first does not fit before the end; headers come where traps are.
        let sending = loom::thread::spawn(move || {
            assert!(try_send(&mut producer, &[1; 16]).unwrap().is_some());
            assert!(try_send(&mut producer, &[2; 8]).unwrap().is_some());
        });
        assert_eq!(receive(&mut consumer, 2), [vec![1; 16], vec![2; 8]]);
        sending.join().unwrap();
        assert_eq!(try_receive(&mut consumer).unwrap().0, None);
    });
}

#[test]
fn frames_announced_together_pass_the_end_of_the_ring() {
    check(|| {
        let (mut producer, mut consumer) = at_the_end();
        let sending = loom::thread::spawn(move || {
            for message in [&[1; 16][..], &[2; 8]] {
                write(&mut producer, message).unwrap().unwrap();
            }
            producer.announce();
        });
        assert_eq!(receive(&mut consumer, 2), [vec![1; 16], vec![2; 8]]);
        sending.join().unwrap();
        assert_eq!(try_receive(&mut consumer).unwrap().0, None);
    });
}

#[test]
fn a_full_ring_is_not_written_over() {
    check(|| {
        let memory = memory(PLACE);
        let (mut producer, mut consumer) = ends::<Model>(&memory, PLACE);
        for i in 1..=3 {
            try_send(&mut producer, &[i; 8]).unwrap().unwrap();
        }
        let sending = loom::thread::spawn(move || {
            while try_send(&mut producer, &[4; 8]).unwrap().is_none() {
                loom::thread::yield_now();
            }
        });
        let expected: Vec<_> = (1..=4).map(|i| vec![i; 8]).collect();
        assert_eq!(receive(&mut consumer, 4), expected);
        sending.join().unwrap();
    });
}

#[test]
fn a_consumer_never_takes_a_later_session_for_its_own() {
    check_briefly(|| {
        let memory = memory(PLACE);
        let (mut producer, mut consumer) = ends::<Model>(&memory, PLACE);
        // They have met, so that the consumer relies on the session.
        assert!(consumer.peek().unwrap().is_none());
        let ring = memory.clone();
        let sending = loom::thread::spawn(move || {
            try_send(&mut producer, &[1; 8]).unwrap().unwrap();
            // It dies, and its successor sends something else to the same place.
            let mut producer = Producer::begin(ring_in(ring, PLACE), Session::new(2, 1));
            try_send(&mut producer, &[2; 8]).unwrap().unwrap();
        });
        for _ in 0..2 {
            match try_receive(&mut consumer) {
                Ok((message, _)) => assert!(message.is_none() || message == Some(vec![1; 8])),
                Err(error) => assert_eq!(error, RingError::Restarted),
            }
        }
        sending.join().unwrap();
        // What has happened is known at last.
        assert_eq!(try_receive(&mut consumer), Err(RingError::Restarted));
    });
}

#[test]
fn a_consumer_reads_nothing_of_an_earlier_session() {
    check(|| {
        let memory = memory(PLACE);
        let (mut old, _) = ends::<Model>(&memory, PLACE);
        try_send(&mut old, &[1; 8]).unwrap().unwrap();
        let session = Session::new(2, 2);
        let ring = memory.clone();
        let sending = loom::thread::spawn(move || {
            let mut producer = Producer::begin(ring_in(ring, PLACE), session);
            try_send(&mut producer, &[2; 8]).unwrap().unwrap();
        });
        let mut consumer = Consumer::begin(ring_in(memory, PLACE), session);
        assert_eq!(receive(&mut consumer, 1), [vec![2; 8]]);
        sending.join().unwrap();
    });
}

#[test]
fn a_producer_never_takes_the_tail_of_another_session() {
    check_briefly(|| {
        let memory = memory(PLACE);
        let (mut old, mut consumer) = ends::<Model>(&memory, PLACE);
        try_send(&mut old, &[1; 8]).unwrap().unwrap();
        try_send(&mut old, &[1; 8]).unwrap().unwrap();
        let session = Session::new(2, 2);
        let ring = memory.clone();
        let receiving = loom::thread::spawn(move || {
            // As far as it comes in the old session; its successor consumes nothing.
            for _ in 0..2 {
                let _ = try_receive(&mut consumer);
            }
            consumer.publish();
            Consumer::begin(ring_in(ring, PLACE), session);
        });
        let mut producer = Producer::begin(ring_in(memory, PLACE), session);
        for _ in 0..2 {
            try_send(&mut producer, &[2; 8]).unwrap().unwrap();
        }
        producer.refresh().unwrap();
        assert_eq!(producer.free(), PLACE.size() - 32);
        receiving.join().unwrap();
        producer.refresh().unwrap();
        assert_eq!(producer.free(), PLACE.size() - 32);
    });
}

#[test]
fn a_producer_learns_that_the_consumer_has_begun_anew() {
    check(|| {
        let memory = memory(PLACE);
        let (mut producer, mut consumer) = ends::<Model>(&memory, PLACE);
        for _ in 0..2 {
            try_send(&mut producer, &[1; 8]).unwrap().unwrap();
        }
        producer.refresh().unwrap();
        let ring = memory.clone();
        let receiving = loom::thread::spawn(move || {
            try_receive(&mut consumer).unwrap();
            consumer.publish();
            Consumer::begin(ring_in(ring, PLACE), Session::new(1, 2));
        });
        match producer.refresh() {
            Ok(()) => assert!([32, 48].contains(&producer.free())),
            Err(error) => assert_eq!(error, RingError::Restarted),
        }
        receiving.join().unwrap();
        assert_eq!(producer.refresh(), Err(RingError::Restarted));
    });
}
