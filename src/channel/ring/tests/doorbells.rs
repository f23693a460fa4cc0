// SPDX-License-Identifier: MIT OR Apache-2.0
//! Tests of how often one side rings the other.

use std::thread;

use super::*;
use crate::channel::words::doubles::Heap;

const BURST: usize = 1000;
const PLACE: Place = Place::new(17);

/// Sends a burst of 64-byte messages, calls `between` after each, and returns how many of them rang.
fn burst(producer: &mut Producer<Heap>, mut between: impl FnMut(usize)) -> usize {
    let mut rings = 0;
    for i in 0..BURST {
        let sent = try_send(producer, &message(i, 64)).unwrap();
        rings += usize::from(sent.expect("the ring holds a burst"));
        between(i);
    }
    rings
}

#[test]
fn a_polling_consumer_is_never_rung() {
    let memory: Heap = memory(PLACE);
    let (mut producer, mut consumer) = ends(&memory, PLACE);
    consumer.poll();
    let mut received = 0;
    let rings = burst(&mut producer, |i| {
        // It looks now and then, and finds nothing in between.
        for _ in 0..i % 3 {
            consumer.poll();
            received += usize::from(try_receive(&mut consumer).unwrap().0.is_some());
        }
    });
    assert_eq!(rings, 0);
    assert!(received > BURST / 2);
}

#[test]
fn a_consumer_that_was_asleep_is_rung_once_while_it_is_busy() {
    let memory: Heap = memory(PLACE);
    let (mut producer, mut consumer) = ends(&memory, PLACE);
    consumer.arm();
    assert_eq!(consumer.peek().unwrap().map(|peeked| peeked.len), None);
    let mut behind = 0;
    let rings = burst(&mut producer, |_| {
        // Behind from the start, it never comes to an end.
        behind += 1;
        if behind > 2 {
            assert!(try_receive(&mut consumer).unwrap().0.is_some());
        }
    });
    assert_eq!(rings, 1);
}

#[test]
fn a_consumer_that_sleeps_after_each_message_is_rung_for_each() {
    let memory: Heap = memory(PLACE);
    let (mut producer, mut consumer) = ends(&memory, PLACE);
    consumer.arm();
    let rings = burst(&mut producer, |_| {
        assert!(try_receive(&mut consumer).unwrap().0.is_some());
        assert!(try_receive(&mut consumer).unwrap().0.is_none());
        consumer.arm();
    });
    assert_eq!(rings, BURST);
}

#[test]
fn one_announcement_of_many_frames_rings_once() {
    let memory: Heap = memory(PLACE);
    let (mut producer, mut consumer) = ends(&memory, PLACE);
    consumer.arm();
    for i in 0..100 {
        write(&mut producer, &message(i, 64)).unwrap().unwrap();
    }
    assert!(producer.announce());
    assert!(!producer.announce());
}

#[test]
fn a_producer_that_polls_for_room_is_never_rung() {
    let place = Place::new(8);
    let memory: Heap = memory(place);
    let (mut producer, mut consumer) = ends(&memory, place);
    for i in 0..BURST {
        while try_send(&mut producer, &message(i, 40)).unwrap().is_none() {
            let (received, rung) = try_receive(&mut consumer).unwrap();
            assert!(received.is_some() || !rung);
            assert!(!rung);
        }
    }
    // One that sleeps is rung, once, when there is room.
    assert!(producer.grant(place.longest()).unwrap().is_none());
    producer.arm(place.longest());
    let mut rings = 0;
    loop {
        let (received, rung) = try_receive(&mut consumer).unwrap();
        rings += usize::from(rung);
        if received.is_none() {
            break;
        }
    }
    assert_eq!(rings, 1);
    assert!(producer.grant(place.longest()).unwrap().is_some());
}

#[test]
fn a_burst_rings_a_polling_consumer_on_another_thread_never() {
    let memory: Heap = memory(PLACE);
    let (mut producer, mut consumer) = ends(&memory, PLACE);
    consumer.poll();
    let receiver = thread::spawn(move || {
        let mut received = 0;
        while received < BURST {
            match try_receive(&mut consumer).unwrap().0 {
                Some(bytes) => {
                    assert_eq!(bytes, message(received, 64));
                    received += 1;
                }
                None => thread::yield_now(),
            }
        }
    });
    assert_eq!(burst(&mut producer, |_| {}), 0);
    receiver.join().unwrap();
}
