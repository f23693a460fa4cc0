// SPDX-License-Identifier: MIT OR Apache-2.0
//! All interleavings of a task that waits at a signal and a peer that publishes.

extern crate std;

use core::sync::atomic::Ordering;
use core::task::{Context, Poll};
use std::sync::Arc;
use std::task::{Wake, Waker};

use super::operation::{poll, Operation};
use super::{Broken, Wait};
use crate::channel::notify::{Places, Publisher, Waiter};
use crate::channel::signal::Signal;
use crate::channel::words::doubles::{Model, Orders};
use crate::channel::words::{Loads, Words};

const PLACES: Places = Places {
    wish: 0,
    promise: 8,
};
const POSITION: usize = 16;
const NOTHING: usize = 24;

/// Waits for a position.
struct Waiting<'a> {
    words: &'a Model,
    waiter: &'a mut Waiter,
    position: u64,
}

impl Operation for Waiting<'_> {
    type Output = ();
    type Error = Broken;

    fn advance(&mut self) -> Poll<Result<(), Broken>> {
        if self.words.load(POSITION, Ordering::Acquire) >= self.position {
            Poll::Ready(Ok(()))
        } else {
            Poll::Pending
        }
    }

    fn arm(&mut self) -> Result<Wait, Broken> {
        let sleep = self.waiter.arm(self.words, self.position);
        let wait = match self.advance() {
            Poll::Ready(_) => Wait::Ready,
            Poll::Pending => sleep.into(),
        };
        // The peer may do anything between this look and what the task does next.
        self.words.load(NOTHING, Ordering::Relaxed);
        Ok(wait)
    }
}

struct Executor(loom::sync::Notify);

impl Wake for Executor {
    fn wake(self: Arc<Self>) {
        self.0.notify();
        // A task that wakes itself lets others run.
        loom::thread::yield_now();
    }
}

/// What the task does between two waits.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Habit {
    /// Nothing.
    Sleeps,
    /// It counts as polling, so that it cannot rely on being rung for what is next.
    Polls,
}

/// Waits for two positions that are published meanwhile. The model checker calls it a deadlock if the task is not woken.
fn wait_for_two(orders: Orders, habit: Habit) {
    let mut builder = loom::model::Builder::new();
    // More switches from one thread to the other take minutes.
    builder.preemption_bound = Some(4);
    builder.check(move || {
        let words = Model::with_orders(32, orders);
        let mut publisher = Publisher::begin(PLACES, &words, 0);
        let mut waiter = Waiter::begin(PLACES, &words, 0);
        let signal = Arc::new(Signal::new());
        let publishing = {
            let (words, signal) = (words.clone(), Arc::clone(&signal));
            loom::thread::spawn(move || {
                for position in 1..3 {
                    words.store(POSITION, position, Ordering::Release);
                    if publisher.published(&words, position) {
                        signal.notify();
                    }
                }
            })
        };
        let executor = Arc::new(Executor(loom::sync::Notify::new()));
        let waker = Waker::from(Arc::clone(&executor));
        let context = Context::from_waker(&waker);
        for position in 1..3 {
            let mut waiting = Waiting {
                words: &words,
                waiter: &mut waiter,
                position,
            };
            let mut looks = 0;
            while poll(&mut waiting, &mut looks, &signal, &context).is_pending() {
                executor.0.wait();
            }
            if habit == Habit::Polls {
                waiter.poll(&words);
            }
        }
        publishing.join().unwrap();
    });
}

#[test]
fn no_notification_of_a_task_that_sleeps_is_lost() {
    wait_for_two(Orders::AsAsked, Habit::Sleeps);
}

#[test]
fn no_notification_of_a_task_that_polled_is_lost() {
    wait_for_two(Orders::AsAsked, Habit::Polls);
}

#[test]
#[should_panic(expected = "deadlock")]
fn the_model_loses_a_notification_without_the_fences() {
    wait_for_two(Orders::WeakFences, Habit::Sleeps);
}

#[test]
#[should_panic(expected = "deadlock")]
fn the_model_loses_a_notification_without_the_fences_of_a_promise_taken_back() {
    wait_for_two(Orders::WeakFences, Habit::Polls);
}
