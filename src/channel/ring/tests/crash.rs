// SPDX-License-Identifier: MIT OR Apache-2.0
//! One end stops for ever, or is held up while a successor comes, at each access there is.

use core::cell::RefCell;
use std::rc::Rc;

use super::*;
use crate::channel::notify::Sleep;
use crate::channel::tests::stepped::Stepped;

/// A ring, and the messages of a life, of which every third or so goes round the end.
#[derive(Clone, Copy)]
pub(super) struct Case {
    pub(super) place: Place,
    lengths: [usize; 9],
}

/// Short messages, and long ones that begin at lines.
pub(super) const CASES: [Case; 2] = [
    Case {
        place: Place::new(7),
        lengths: [5, 40, 0, 24, 16, 33, 48, 8, 17],
    },
    Case {
        place: Place::new(11),
        lengths: [600, 80, 512, 0, 777, 9, 900, 64, 520],
    },
];

impl Case {
    /// Returns the messages of a life.
    pub(super) fn messages(self, life: usize) -> Vec<Vec<u8>> {
        let lengths = self.lengths.iter().enumerate();
        lengths
            .map(|(i, &len)| message(100 * life + i, len))
            .collect()
    }

    pub(super) fn begin_producer(
        self,
        memory: &Stepped,
        source: u32,
        destination: u32,
    ) -> Producer<Stepped> {
        Producer::begin(
            ring_in(memory.side(), self.place),
            Session::new(source, destination),
        )
    }

    pub(super) fn begin_consumer(
        self,
        memory: &Stepped,
        source: u32,
        destination: u32,
    ) -> Consumer<Stepped> {
        Consumer::begin(
            ring_in(memory.side(), self.place),
            Session::new(source, destination),
        )
    }
}

/// Receives what is there.
pub(super) fn receive(
    consumer: &mut Consumer<Stepped>,
    received: &mut Vec<Vec<u8>>,
) -> Result<(), RingError> {
    while let (Some(message), _) = try_receive(consumer)? {
        received.push(message);
    }
    Ok(())
}

/// How many messages may have been announced, and how many surely are.
pub(super) type Announced = RefCell<(usize, usize)>;

/// Announces what was written of the first `sent` messages.
fn announce(producer: &mut Producer<Stepped>, announced: &Announced, sent: usize) {
    announced.borrow_mut().0 = sent;
    producer.announce();
    announced.borrow_mut().1 = sent;
}

/// Sends messages, one by one and two at once by turns, sleeping for room. `make_room` is asked to receive, and says whether to
/// go on.
pub(super) fn send_all(
    producer: &mut Producer<Stepped>,
    messages: &[Vec<u8>],
    announced: &Announced,
    mut make_room: impl FnMut() -> bool,
) -> Result<(), RingError> {
    for (sent, message) in messages.iter().enumerate() {
        while write(producer, message)?.is_none() {
            // As in use: nothing is kept back by one who waits.
            announce(producer, announced, sent);
            producer.arm(message.len());
            if !make_room() {
                return Ok(());
            }
        }
        if sent % 4 != 2 {
            announce(producer, announced, sent + 1);
        }
    }
    announce(producer, announced, messages.len());
    Ok(())
}

/// Checks that both ends work as if nothing had been before, and wake each other.
fn goes_on(case: Case, memory: &Stepped, source: u32, destination: u32) {
    let mut producer = case.begin_producer(memory, source, destination);
    let mut consumer = case.begin_consumer(memory, source, destination);
    assert_eq!(try_receive(&mut consumer), Ok((None, false)));
    assert_eq!(consumer.arm(), Sleep::Rung);
    let expected = case.messages(9);
    assert_eq!(try_send(&mut producer, &expected[0]), Ok(Some(true)));
    let mut received = Vec::new();
    receive(&mut consumer, &mut received).unwrap();
    let counts = Announced::default();
    send_all(&mut producer, &expected[1..], &counts, || {
        receive(&mut consumer, &mut received).is_ok()
    })
    .unwrap();
    receive(&mut consumer, &mut received).unwrap();
    assert_eq!(received, expected);
}

/// The producer dies at each access of its life, and its successor at each access of its beginning: what was announced
/// is received, what was not is not, and the third one's connection knows nothing of it.
#[test]
fn a_producer_dies_at_each_access() {
    CASES.into_iter().for_each(producer_dies);
}

fn producer_dies(case: Case) {
    for at in 0.. {
        let memory = Stepped::new();
        let all = case.messages(1);
        let counts = Announced::default();
        let mut consumer = case.begin_consumer(&memory, 1, 1);
        let mut received = Vec::new();
        let own = memory.side();
        let died = own.dies_at(at, || {
            let mut producer = Producer::begin(ring_in(own.clone(), case.place), FIRST);
            let make_room = || receive(&mut consumer, &mut received).is_ok();
            send_all(&mut producer, &all, &counts, make_room).unwrap();
        });
        receive(&mut consumer, &mut received).unwrap();
        let (perhaps, surely) = *counts.borrow();
        assert!((surely..=perhaps).contains(&received.len()), "access {at}");
        assert_eq!(received, all[..received.len()], "access {at}");
        consumer.arm();
        assert_eq!(try_receive(&mut consumer), Ok((None, false)), "access {at}");

        let second = memory.side();
        let session = Session::new(2, 1);
        for at_start in 0.. {
            let died = second.dies_at(at_start, || {
                let mut producer = Producer::begin(ring_in(second.clone(), case.place), session);
                try_send(&mut producer, &all[0]).unwrap();
            });
            let seen = try_receive(&mut consumer);
            // As soon as it has touched anything; but who had not met the first one does not know of a change.
            let told = (at_start == 0 && died) || surely == 0 || seen == Err(RingError::Restarted);
            assert!(seen.as_ref().map_or(true, |(message, _)| message.is_none()));
            assert!(told, "access {at}, {at_start}: {seen:?}");
            if !died {
                break;
            }
        }
        goes_on(case, &memory, 3, 1);
        if !died {
            assert!(at > 60, "{at} accesses were stepped through");
            return;
        }
    }
}

/// The consumer dies at each access of its life: the producer finds no room at last, or learns that a successor has
/// come, which is sent only what is meant for it.
#[test]
fn a_consumer_dies_at_each_access() {
    CASES.into_iter().for_each(consumer_dies);
}

fn consumer_dies(case: Case) {
    for at in 0.. {
        let memory = Stepped::new();
        let all = case.messages(1);
        let mut producer = case.begin_producer(&memory, 1, 1);
        let mut sent = 0;
        let mut send = || {
            for message in &all[sent..] {
                match try_send(&mut producer, message) {
                    Ok(Some(_)) => sent += 1,
                    result => return result,
                }
            }
            Ok(Some(false))
        };
        let own = memory.side();
        let mut received = Vec::new();
        let died = own.dies_at(at, || {
            let mut consumer = Consumer::begin(ring_in(own.clone(), case.place), FIRST);
            while received.len() < all.len() {
                assert!(send().is_ok());
                receive(&mut consumer, &mut received).unwrap();
                consumer.arm();
                consumer.poll();
            }
        });
        assert_eq!(received, all[..received.len()], "access {at}");
        // It goes on for as long as there is room.
        assert!(send().is_ok(), "access {at}");
        let mut next = case.begin_consumer(&memory, 1, 2);
        assert_eq!(try_receive(&mut next), Ok((None, false)), "access {at}");
        let later = send();
        let told = [Ok(None), Ok(Some(false)), Err(RingError::Restarted)];
        assert!(told.contains(&later), "access {at}: {later:?}");
        goes_on(case, &memory, 1, 3);
        if !died {
            assert!(at > 60, "{at} accesses were stepped through");
            return;
        }
    }
}

/// The consumer is held up at each access while the producer's successor comes and sends: it receives messages of the one it
/// knows, and then learns that there is another.
#[test]
fn a_consumer_is_held_up_at_each_access_while_the_producer_restarts() {
    CASES.into_iter().for_each(consumer_is_held_up);
}

fn consumer_is_held_up(case: Case) {
    for at in 0.. {
        let memory = Stepped::new();
        let all = case.messages(1);
        let mut producer = case.begin_producer(&memory, 1, 1);
        for message in &all[..3] {
            try_send(&mut producer, message).unwrap().unwrap();
        }
        let own = memory.side();
        let mut consumer = Consumer::begin(ring_in(own.clone(), case.place), FIRST);
        let other = memory.clone();
        own.pauses_at(at, move || {
            let mut successor = case.begin_producer(&other, 2, 1);
            for message in &case.messages(2)[..4] {
                let _ = try_send(&mut successor, message);
            }
        });
        let mut received = Vec::new();
        let ended = receive(&mut consumer, &mut received);
        consumer.arm();
        let ended = ended.and_then(|()| receive(&mut consumer, &mut received));
        assert_eq!(received, all[..received.len()], "access {at}");
        if own.is_planned() {
            assert_eq!((ended, received.len()), (Ok(()), 3));
            assert!(at > 20, "{at} accesses were stepped through");
            return;
        }
        // If it was held up behind its last look, it finds out at the next.
        let ended = ended.and_then(|()| receive(&mut consumer, &mut received));
        // But who had not met the first one does not know of a change.
        let told = ended == Err(RingError::Restarted) || (ended.is_ok() && received.is_empty());
        assert!(told, "access {at}: {ended:?}");
        goes_on(case, &memory, 3, 1);
    }
}

/// The producer is held up at each access while the consumer's successor comes: that one receives nothing of what was meant
/// for another, and the producer never takes it for the one it knows.
#[test]
fn a_producer_is_held_up_at_each_access_while_the_consumer_restarts() {
    CASES.into_iter().for_each(producer_is_held_up);
}

fn producer_is_held_up(case: Case) {
    for at in 0.. {
        let memory = Stepped::new();
        let all = case.messages(1);
        let consumer = Rc::new(RefCell::new(case.begin_consumer(&memory, 1, 1)));
        let own = memory.side();
        let mut producer = Producer::begin(ring_in(own.clone(), case.place), FIRST);
        let (old, other) = (Rc::clone(&consumer), memory.clone());
        own.pauses_at(at, move || {
            let _ = receive(&mut old.borrow_mut(), &mut Vec::new());
            let mut successor = case.begin_consumer(&other, 1, 2);
            assert_eq!(try_receive(&mut successor), Ok((None, false)));
            *old.borrow_mut() = successor;
        });
        let mut received = Vec::new();
        let mut tries = 0;
        let counts = Announced::default();
        let ended = send_all(&mut producer, &all, &counts, || {
            receive(&mut consumer.borrow_mut(), &mut received).unwrap();
            // The successor never makes room, which is no error as long as the one before was never met.
            tries += 1;
            tries < 20
        });
        if own.is_planned() {
            assert_eq!(ended, Ok(()));
            assert!(at > 60, "{at} accesses were stepped through");
            return;
        }
        assert_eq!(received, all[..received.len()], "access {at}");
        let expected = [Ok(()), Err(RingError::Restarted)];
        assert!(expected.contains(&ended), "access {at}: {ended:?}");
        goes_on(case, &memory, 2, 3);
    }
}
