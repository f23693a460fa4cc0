// SPDX-License-Identifier: MIT OR Apache-2.0
//! Tests of both ends against one who writes anything anywhere in the ring, at any time.

use core::cell::{Cell, RefCell};
use core::sync::atomic::AtomicBool;
use core::time::Duration;
use std::rc::Rc;
use std::sync::Arc;
use std::thread;
use std::time::Instant;

use super::*;
use crate::channel::notify::POLLING;
use crate::channel::words::doubles::{At, Heap, Turning};
use crate::channel::words::Loads;

const PLACE: Place = Place::new(8);
/// Calls of each end, at least.
const STEPS: usize = 200_000;
/// More accesses than any one call needs.
const BOUND: usize = 24;

/// Returns what a hostile peer may write, and where.
fn scribble(numbers: &mut Numbers, memory: &Heap) {
    let position = numbers.below(1 << 12) as u64 * 8;
    let len = numbers.below(PLACE.size()) as u32;
    let start = [Start::Behind, Start::Aligned][numbers.below(2)];
    // As often one of the control words as one of the data.
    let end = [CONTROL_LEN, memory.len()][numbers.below(2)];
    let offset = numbers.below(end / 8) * 8;
    let word = match numbers.below(10) {
        0 => numbers.next(),
        1 => POLLING,
        2 => FIRST.key().word(position),
        3 => Session::new(numbers.below(4) as u32, 1).0,
        4 => Header::skip(mark(position)).word(),
        5 => Header::message(u32::MAX - len, start, false, mark(position)).word(),
        6 => 0,
        // A header that is right but for its length.
        7 | 8 => memory.load(offset, Ordering::Relaxed) >> 29 << 29 | u64::from(len),
        _ => Header::message(len, start, len % 2 == 0, mark(position)).word(),
    };
    memory.store(offset, word, Ordering::Relaxed);
}

/// Memory whose accesses are counted, and in which one is at work who writes before each of them, if there is one.
#[derive(Clone)]
struct Watched {
    memory: Heap,
    accesses: Rc<Cell<usize>>,
    meddler: Option<Rc<RefCell<Numbers>>>,
}

impl Watched {
    fn new(memory: &Heap, meddler: Option<&Rc<RefCell<Numbers>>>) -> Self {
        Self {
            memory: memory.clone(),
            accesses: Rc::default(),
            meddler: meddler.cloned(),
        }
    }

    fn access(&self) -> &Heap {
        self.accesses.set(self.accesses.get() + 1);
        if let Some(meddler) = &self.meddler {
            let mut numbers = meddler.borrow_mut();
            // Seldom enough that something also succeeds.
            if numbers.below(24) == 0 {
                scribble(&mut numbers, &self.memory);
            }
        }
        &self.memory
    }

    /// Makes a call, which must come to its end.
    fn bounded<T>(&self, call: impl FnOnce() -> T) -> T {
        let before = self.accesses.get();
        let result = call();
        let made = self.accesses.get() - before;
        assert!(made <= BOUND, "{made} accesses");
        result
    }
}

impl Loads for Watched {
    fn load(&self, offset: usize, order: Ordering) -> u64 {
        self.access().load(offset, order)
    }
}

impl Words for Watched {
    type Word = At<Self>;
    type Circle = Turning<Self>;

    fn circle(&self, offset: usize, len_bytes: usize) -> Option<Turning<Self>> {
        Some(Turning::new(self, offset, len_bytes))
    }

    fn word(&self, offset: usize) -> At<Self> {
        At::new(self, offset)
    }

    fn store(&self, offset: usize, value: u64, order: Ordering) {
        self.access().store(offset, value, order);
    }

    fn compare_exchange(&self, offset: usize, current: u64, new: u64) -> Result<(), u64> {
        self.access().compare_exchange(offset, current, new)
    }

    fn fence(&self, order: Ordering) {
        self.memory.fence(order);
    }
}

/// What has come of the calls of one end.
#[derive(Debug, Default)]
struct Outcome {
    messages: usize,
    nothing: usize,
    corrupt: usize,
    restarted: usize,
}

impl Outcome {
    fn count(&mut self, error: RingError) {
        match error {
            RingError::Corrupt => self.corrupt += 1,
            RingError::Restarted => self.restarted += 1,
        }
    }
}

/// A sending end that begins anew after each error.
struct Sending {
    words: Watched,
    producer: Producer<Watched>,
    numbers: Numbers,
    outcome: Outcome,
}

impl Sending {
    fn new(words: Watched) -> Self {
        Self {
            producer: Producer::begin(ring_in(words.clone(), PLACE), FIRST),
            words,
            numbers: Numbers::new(1),
            outcome: Outcome::default(),
        }
    }

    fn step(&mut self) {
        let len = self.numbers.below(PLACE.longest() + 1);
        let words = self.words.clone();
        let sent = words.bounded(|| match self.numbers.below(16) {
            0 => {
                self.producer.arm(len);
                Ok(None)
            }
            1 => {
                self.producer.poll();
                Ok(None)
            }
            2..=5 => Ok(write(&mut self.producer, &message(len, len))?.map(|()| false)),
            6 => Ok(Some(self.producer.announce())),
            _ => try_send(&mut self.producer, &message(len, len)),
        });
        match sent {
            Ok(Some(_)) => self.outcome.messages += 1,
            Ok(None) => self.outcome.nothing += 1,
            Err(error) => {
                self.outcome.count(error);
                let begin = || Producer::begin(ring_in(words.clone(), PLACE), FIRST);
                self.producer = words.bounded(begin);
            }
        }
    }
}

/// A receiving end that begins anew after each error.
struct Receiving {
    words: Watched,
    consumer: Consumer<Watched>,
    numbers: Numbers,
    outcome: Outcome,
}

impl Receiving {
    fn new(words: Watched) -> Self {
        Self {
            consumer: Consumer::begin(ring_in(words.clone(), PLACE), FIRST),
            words,
            numbers: Numbers::new(2),
            outcome: Outcome::default(),
        }
    }

    fn step(&mut self) {
        let words = self.words.clone();
        let received = words.bounded(|| match self.numbers.below(16) {
            0 => {
                self.consumer.arm();
                Ok(None)
            }
            1 => {
                self.consumer.poll();
                Ok(None)
            }
            _ => try_receive(&mut self.consumer).map(|(message, _)| message),
        });
        match received {
            Ok(Some(message)) => {
                assert!(message.len() <= PLACE.longest());
                self.outcome.messages += 1;
            }
            Ok(None) => self.outcome.nothing += 1,
            Err(error) => {
                self.outcome.count(error);
                let begin = || Consumer::begin(ring_in(words.clone(), PLACE), FIRST);
                self.consumer = words.bounded(begin);
            }
        }
    }
}

/// Checks that each end met all that can happen: else the test has tested less than it says.
fn assert_met_all(outcomes: [Outcome; 2]) {
    for outcome in outcomes {
        assert!(outcome.messages > 100, "{outcome:?}");
        assert!(outcome.corrupt > 100, "{outcome:?}");
        assert!(outcome.restarted > 0, "{outcome:?}");
    }
}

#[test]
fn one_who_writes_between_any_two_accesses_gets_errors_and_garbage_only() {
    let memory: Heap = memory(PLACE);
    let meddler = Rc::new(RefCell::new(Numbers::new(3)));
    let mut sending = Sending::new(Watched::new(&memory, Some(&meddler)));
    let mut receiving = Receiving::new(Watched::new(&memory, Some(&meddler)));
    for _ in 0..STEPS {
        sending.step();
        receiving.step();
    }
    assert_met_all([sending.outcome, receiving.outcome]);
}

#[test]
fn one_who_writes_from_another_thread_gets_errors_and_garbage_only() {
    let memory: Heap = memory(PLACE);
    let done = Arc::new(AtomicBool::new(false));
    let scribbler = {
        let (memory, done) = (memory.clone(), Arc::clone(&done));
        thread::spawn(move || {
            let mut numbers = Numbers::new(4);
            while !done.load(Ordering::Relaxed) {
                scribble(&mut numbers, &memory);
                // So that something also succeeds, and that the ends are scheduled.
                if numbers.below(8) == 0 {
                    thread::yield_now();
                }
            }
        })
    };
    // Counts of accesses stay on a thread; both ends run on their own.
    let sender = {
        let (memory, done) = (memory.clone(), Arc::clone(&done));
        thread::spawn(move || {
            let mut sending = Sending::new(Watched::new(&memory, None));
            let mut steps = 0;
            while steps < STEPS || !done.load(Ordering::Relaxed) {
                sending.step();
                steps += 1;
            }
        })
    };
    let mut receiving = Receiving::new(Watched::new(&memory, None));
    // Until the scheduler has let the other one in often enough.
    let deadline = Instant::now() + Duration::from_secs(60);
    let mut steps = 0;
    while steps < STEPS || (receiving.outcome.corrupt < 100 && Instant::now() < deadline) {
        receiving.step();
        steps += 1;
    }
    done.store(true, Ordering::Relaxed);
    sender.join().unwrap();
    scribbler.join().unwrap();
    assert!(receiving.outcome.corrupt >= 100, "{:?}", receiving.outcome);
}
