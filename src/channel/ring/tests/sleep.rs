// SPDX-License-Identifier: MIT OR Apache-2.0
//! Tests of the sleep protocol: all interleavings of a model, and many sleeps of real threads.

use core::time::Duration;
use std::sync::Arc;
use std::thread;

use super::*;
use crate::channel::notify::{Publisher, Sleep, Waiter};
use crate::channel::words::doubles::{Heap, Model, Orders};
use crate::channel::words::Loads;

const PLACES: Places = Places {
    wish: 0,
    promise: 8,
};
const POSITION: usize = 16;

/// How the waiter begins, and what it does between two waits.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Habit {
    /// It has always slept.
    Sleeps,
    /// It polled, so that the promise is taken back already.
    Polled,
    /// It says that it polls, and then sleeps all the same, so that the promise is taken back meanwhile.
    Wavers,
}

/// Waits for two positions that are published meanwhile. A wake-up that is lost leaves nobody awake, which the
/// model checker calls a deadlock.
fn wait_for_two(orders: Orders, habit: Habit) {
    let mut builder = loom::model::Builder::new();
    // More switches from one thread to the other take minutes.
    builder.preemption_bound = Some(4);
    builder.check(move || {
        let words = Model::with_orders(24, orders);
        let mut publisher = Publisher::begin(PLACES, &words, 0);
        let mut waiter = Waiter::begin(PLACES, &words, 0);
        let mut first = 1;
        if habit != Habit::Sleeps {
            waiter.poll(&words);
        }
        if habit == Habit::Polled {
            words.store(POSITION, 1, Ordering::Release);
            assert!(!publisher.published(&words, 1));
            first = 2;
        }
        let bell = Arc::new(loom::sync::Notify::new());
        let publishing = {
            let (words, bell) = (words.clone(), Arc::clone(&bell));
            loom::thread::spawn(move || {
                for position in first..first + 2 {
                    words.store(POSITION, position, Ordering::Release);
                    if publisher.published(&words, position) {
                        bell.notify();
                    }
                }
            })
        };
        for position in first..first + 2 {
            let published = || words.load(POSITION, Ordering::Acquire) >= position;
            while !published() {
                let sleep = waiter.arm(&words, position);
                if published() {
                    break;
                }
                match sleep {
                    Sleep::Rung => bell.wait(),
                    Sleep::Bounded => loom::thread::yield_now(),
                }
            }
            if habit == Habit::Wavers {
                waiter.poll(&words);
            }
        }
        publishing.join().unwrap();
    });
}

#[test]
fn no_wake_up_is_lost_by_one_who_sleeps() {
    wait_for_two(Orders::AsAsked, Habit::Sleeps);
}

#[test]
fn no_wake_up_is_lost_by_one_who_polled() {
    wait_for_two(Orders::AsAsked, Habit::Polled);
}

#[test]
fn no_wake_up_is_lost_by_one_who_wavers() {
    wait_for_two(Orders::AsAsked, Habit::Wavers);
}

#[test]
#[should_panic(expected = "deadlock")]
fn the_model_loses_a_wake_up_without_the_fences() {
    wait_for_two(Orders::WeakFences, Habit::Sleeps);
}

#[test]
#[should_panic(expected = "deadlock")]
fn the_model_loses_a_wake_up_without_the_fences_of_a_promise_taken_back() {
    wait_for_two(Orders::WeakFences, Habit::Wavers);
}

/// Sleeps as told. Whoever was promised a ring and gets none for so long has lost it.
fn rest(sleep: Sleep) {
    match sleep {
        Sleep::Rung => {
            let begin = std::time::Instant::now();
            thread::park_timeout(Duration::from_secs(30));
            assert!(begin.elapsed() < Duration::from_secs(30), "no ring");
        }
        Sleep::Bounded => thread::park_timeout(Duration::from_micros(100)),
    }
}

#[test]
fn two_threads_that_sleep_for_messages_and_for_room_wake_each_other() {
    const MESSAGES: usize = 50_000;
    let place = Place::new(9);
    let memory: Heap = memory(place);
    let (mut producer, mut consumer) = ends(&memory, place);
    let len = move |i: usize| (i * 7) % place.longest();
    let sender = thread::current();
    let receiver = thread::spawn(move || {
        for i in 0..MESSAGES {
            // Now and then one that polls, so that promises are taken back.
            if i % 64 < 8 {
                consumer.poll();
            }
            loop {
                let mut got = try_receive(&mut consumer).unwrap();
                let mut sleep = None;
                if got.0.is_none() && i % 64 >= 8 {
                    sleep = Some(consumer.arm());
                    let again = try_receive(&mut consumer).unwrap();
                    got = (again.0, again.1 || got.1);
                }
                if got.1 {
                    sender.unpark();
                }
                match (got.0, sleep) {
                    (Some(bytes), _) => {
                        assert_eq!(bytes, message(i, len(i)));
                        break;
                    }
                    (None, Some(sleep)) => rest(sleep),
                    (None, None) => thread::yield_now(),
                }
            }
        }
        // The last room that was made.
        if consumer.publish() {
            sender.unpark();
        }
    });
    for i in 0..MESSAGES {
        let bytes = message(i, len(i));
        if i % 96 < 8 {
            producer.poll();
        }
        let rung = loop {
            if let Some(rung) = try_send(&mut producer, &bytes).unwrap() {
                break rung;
            }
            let sleep = producer.arm(bytes.len());
            if let Some(rung) = try_send(&mut producer, &bytes).unwrap() {
                break rung;
            }
            rest(sleep);
        };
        if rung {
            receiver.thread().unpark();
        }
    }
    receiver.join().unwrap();
}
