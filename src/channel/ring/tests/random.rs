// SPDX-License-Identifier: MIT OR Apache-2.0
//! Random tests of both ends of a ring, sleeping and restarting at will, against lists of messages.

use proptest::prelude::*;
use std::collections::BTreeMap;

use super::*;
use crate::channel::notify::Sleep;
use crate::channel::words::doubles::Heap;

#[derive(Clone, Copy, Debug)]
enum Step {
    /// Writes a message, of which a part may be given back, and announces it or leaves that for later.
    Send {
        len: usize,
        kept: usize,
        announce: bool,
    },
    Announce,
    Receive,
    Publish,
    /// The sender waits for room for so many bytes.
    AwaitRoom(usize),
    /// The receiver waits for a message.
    AwaitMessage,
    Poll,
    RestartSender,
    RestartReceiver,
    /// Both sides learn of each other's incarnation.
    Meet,
}

fn step(longest: usize) -> impl Strategy<Value = Step> {
    let len = prop_oneof![0..=longest, 0..=24.min(longest), Just(longest)];
    let send = (len.clone(), len.clone(), any::<bool>());
    prop_oneof![
        12 => send.prop_map(|(len, kept, announce)| Step::Send { len, kept, announce }),
        3 => Just(Step::Announce),
        12 => Just(Step::Receive),
        2 => Just(Step::Publish),
        3 => len.prop_map(Step::AwaitRoom),
        3 => Just(Step::AwaitMessage),
        1 => Just(Step::Poll),
        1 => Just(Step::RestartSender),
        1 => Just(Step::RestartReceiver),
        3 => Just(Step::Meet),
    ]
}

/// Source and destination.
type Incarnations = (u32, u32);

struct Pair {
    memory: Heap,
    place: Place,
    now: Incarnations,
    producer: Producer<Heap>,
    sending: Incarnations,
    consumer: Consumer<Heap>,
    receiving: Incarnations,
    announced: BTreeMap<Incarnations, Vec<Vec<u8>>>,
    staged: Vec<Vec<u8>>,
    received: usize,
    /// What each side sleeps for: the sender for room for so many bytes.
    sender_sleeps: Option<usize>,
    receiver_sleeps: bool,
    messages: usize,
}

impl Pair {
    fn new(size_log2: u32) -> Self {
        let place = Place::new(size_log2);
        let memory = memory(place);
        let (producer, consumer) = ends(&memory, place);
        Self {
            memory,
            place,
            now: (1, 1),
            producer,
            sending: (1, 1),
            consumer,
            receiving: (1, 1),
            announced: BTreeMap::new(),
            staged: Vec::new(),
            received: 0,
            sender_sleeps: None,
            receiver_sleeps: false,
            messages: 0,
        }
    }

    fn begin_sending(&mut self) {
        let session = Session::new(self.now.0, self.now.1);
        self.producer = Producer::begin(ring_in(self.memory.clone(), self.place), session);
        self.sending = self.now;
        self.staged.clear();
        self.sender_sleeps = None;
    }

    fn begin_receiving(&mut self) {
        let session = Session::new(self.now.0, self.now.1);
        self.consumer = Consumer::begin(ring_in(self.memory.clone(), self.place), session);
        self.receiving = self.now;
        self.received = 0;
        self.receiver_sleeps = false;
    }

    fn meet(&mut self) {
        if self.sending != self.now {
            self.begin_sending();
        }
        if self.receiving != self.now {
            self.begin_receiving();
        }
    }

    fn met(&self) -> bool {
        self.sending == self.receiving
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Send {
                len,
                kept,
                announce,
            } => self.send(len, kept, announce),
            Step::Announce => self.announce(),
            Step::Receive => self.receive(),
            Step::Publish => {
                let rung = self.consumer.publish();
                self.room_made(rung);
            }
            Step::AwaitRoom(len) => {
                // As in use: nothing that was staged is kept back by who waits.
                self.announce();
                self.producer.arm(len);
                let room = matches!(self.producer.grant(len), Ok(Some(_)) | Err(_));
                self.sender_sleeps = (!room).then_some(len);
            }
            Step::AwaitMessage => {
                let rung = self.consumer.publish();
                self.room_made(rung);
                self.consumer.arm();
                self.receiver_sleeps = matches!(self.consumer.peek(), Ok(None));
            }
            Step::Poll => {
                self.producer.poll();
                self.consumer.poll();
                (self.sender_sleeps, self.receiver_sleeps) = (None, false);
            }
            Step::RestartSender => {
                self.now.0 += 1;
                self.begin_sending();
            }
            Step::RestartReceiver => {
                self.now.1 += 1;
                self.begin_receiving();
            }
            Step::Meet => self.meet(),
        }
    }

    fn send(&mut self, len: usize, kept: usize, announce: bool) {
        self.messages += 1;
        let mut message = message(self.messages, len);
        let granted = match self.producer.grant(len) {
            Ok(Some(granted)) => granted,
            Ok(None) => return,
            Err(error) => {
                assert_eq!(error, RingError::Restarted);
                assert!(!self.met());
                return;
            }
        };
        if kept < len {
            self.producer.data().write(granted.payload, &message);
            message.truncate(kept);
            self.producer.finish(granted, kept, false);
        } else {
            self.producer.write(granted, &message, false);
        }
        self.staged.push(message);
        if announce {
            self.announce();
        }
    }

    fn announce(&mut self) {
        let rung = self.producer.announce();
        if self.met() && self.receiver_sleeps && !self.staged.is_empty() {
            assert!(rung, "the receiver sleeps on");
            self.receiver_sleeps = false;
        }
        let announced = self.announced.entry(self.sending).or_default();
        announced.append(&mut self.staged);
    }

    fn receive(&mut self) {
        let expected = self
            .announced
            .get(&self.receiving)
            .and_then(|announced| announced.get(self.received));
        match try_receive(&mut self.consumer) {
            Ok((Some(message), rung)) => {
                assert_eq!(Some(&message), expected);
                self.received += 1;
                self.room_made(rung);
            }
            Ok((None, rung)) => {
                assert!(!self.met() || expected.is_none(), "a message is missing");
                self.room_made(rung);
            }
            Err(error) => {
                assert_eq!(error, RingError::Restarted);
                assert!(!self.met());
            }
        }
    }

    /// Checks that a sender sleeps only while there is no room, when the receiver has perhaps made some.
    fn room_made(&mut self, rung: bool) {
        if rung {
            self.sender_sleeps = None;
        }
        if let (Some(len), true) = (self.sender_sleeps, self.met()) {
            let room = self.producer.grant(len).unwrap();
            assert!(room.is_none(), "the sender sleeps on");
        }
    }

    /// Checks that nothing is missing and that the ring goes on.
    fn end(mut self) {
        self.meet();
        self.announce();
        let sent = self.announced[&self.now].len();
        while self.received < sent {
            let before = self.received;
            self.receive();
            assert_eq!(self.received, before + 1);
        }
        self.receive();
        let longest = self.place.longest();
        assert!(self.producer.grant(longest).unwrap().is_some());
        assert_eq!(self.consumer.arm(), Sleep::Rung, "nobody has polled since");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn messages_come_once_and_in_order_or_the_session_is_over(
        (size_log2, steps) in (6_u32..=12).prop_flat_map(|size_log2| {
            let longest = Place::new(size_log2).longest();
            (Just(size_log2), proptest::collection::vec(step(longest), 1..400))
        }),
    ) {
        let mut pair = Pair::new(size_log2);
        for step in steps {
            pair.step(step);
        }
        // Ends what a poll took back.
        pair.step(Step::RestartSender);
        pair.step(Step::RestartReceiver);
        pair.step(Step::Meet);
        pair.step(Step::Send { len: 8, kept: 8, announce: true });
        pair.end();
    }
}
