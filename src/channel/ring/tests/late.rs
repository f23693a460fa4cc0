// SPDX-License-Identifier: MIT OR Apache-2.0
//! One end is held up before each access there is, is taken for dead, and ends its call when its successor is at work.
//!
//! With its next call it would find out that it is not there any more.

use core::cell::{Cell, RefCell};
use std::rc::Rc;

use super::crash::{receive, send_all, Announced, Case, CASES};
use super::*;
use crate::channel::tests::stepped::Stepped;

/// The connection of a successor, which is in the middle of its messages when the late call goes on.
struct Next {
    case: Case,
    producer: Producer<Stepped>,
    consumer: Consumer<Stepped>,
    received: Vec<Vec<u8>>,
}

impl Next {
    fn begin(case: Case, memory: &Stepped, source: u32, destination: u32) -> Self {
        let mut next = Self {
            case,
            producer: case.begin_producer(memory, source, destination),
            consumer: case.begin_consumer(memory, source, destination),
            received: Vec::new(),
        };
        let messages = case.messages(5);
        for message in &messages[..2] {
            try_send(&mut next.producer, message).unwrap().unwrap();
        }
        let (first, _) = try_receive(&mut next.consumer).unwrap();
        next.received.extend(first);
        next
    }

    /// Goes on after the late call, and returns how many messages were altered.
    fn end(mut self) -> Result<usize, RingError> {
        let messages = self.case.messages(5);
        let Self {
            producer,
            consumer,
            received,
            ..
        } = &mut self;
        // It finds out at once what the late call has spoilt.
        receive(consumer, received)?;
        consumer.arm();
        receive(consumer, received)?;
        let counts = Announced::default();
        let mut ended = Ok(());
        send_all(producer, &messages[2..], &counts, || {
            ended = receive(consumer, received);
            ended.is_ok()
        })?;
        ended?;
        receive(consumer, received)?;
        assert_eq!(received.len(), messages.len());
        let pairs = received.iter().zip(&messages);
        let altered = pairs.filter(|(received, sent)| {
            assert_eq!(received.len(), sent.len());
            received != sent
        });
        Ok(altered.count())
    }
}

/// How the connections of successors have ended.
#[derive(Debug, Default)]
struct Ended {
    well: usize,
    altered: usize,
    broken: usize,
}

impl Ended {
    fn count(&mut self, result: Result<usize, RingError>) {
        match result {
            Ok(0) => self.well += 1,
            Ok(_) => self.altered += 1,
            Err(_) => self.broken += 1,
        }
    }
}

/// Lets a member be held up at each access of what it does, and counts what becomes of its successor. `does` has the
/// member's side of the memory, and a flag that it looks at before each call.
fn late(
    case: Case,
    (source, destination): (u32, u32),
    does: impl Fn(&Stepped, &Stepped, &Cell<bool>),
) -> Ended {
    let mut ended = Ended::default();
    for at in 0.. {
        let memory = Stepped::new();
        let own = memory.side();
        let gone = Rc::new(Cell::new(false));
        let next = Rc::new(RefCell::new(None));
        let (robbed, begun, other) = (Rc::clone(&gone), Rc::clone(&next), memory.clone());
        own.pauses_at(at, move || {
            robbed.set(true);
            *begun.borrow_mut() = Some(Next::begin(case, &other, source, destination));
        });
        does(&own, &memory, &gone);
        if own.is_planned() {
            return ended;
        }
        let next = next.borrow_mut().take();
        ended.count(next.expect("it was begun").end());
    }
    unreachable!("there are fewer accesses");
}

/// The worst that a producer does so is a message that is altered, or a connection that ends with an error; no message
/// is lost, doubled or made up.
#[test]
fn a_producer_is_late_with_each_access() {
    for case in CASES {
        let ended = late(case, (2, 1), |own, memory, gone| {
            let mut consumer = case.begin_consumer(memory, 1, 1);
            let mut producer = Producer::begin(ring_in(own.clone(), case.place), FIRST);
            for message in case.messages(1) {
                while !gone.get() && try_send(&mut producer, &message) == Ok(None) && !gone.get() {
                    producer.arm(message.len());
                    let _ = receive(&mut consumer, &mut Vec::new());
                }
            }
        });
        assert!(ended.well > 10 && ended.broken > 0, "{ended:?}");
    }
}

/// A consumer does no harm so to any message.
#[test]
fn a_consumer_is_late_with_each_access() {
    for case in CASES {
        let ended = late(case, (1, 2), |own, memory, gone| {
            let mut producer = case.begin_producer(memory, 1, 1);
            let mut consumer = Consumer::begin(ring_in(own.clone(), case.place), FIRST);
            for message in case.messages(1) {
                if gone.get() {
                    return;
                }
                let _ = try_send(&mut producer, &message);
                let _ = try_receive(&mut consumer);
                if !gone.get() {
                    consumer.arm();
                }
            }
        });
        assert!(ended.well > 40 && ended.altered == 0, "{ended:?}");
    }
}
