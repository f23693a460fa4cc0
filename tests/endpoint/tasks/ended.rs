// SPDX-License-Identifier: MIT OR Apache-2.0
//! Tasks that wait for a peer when it leaves, restarts, or when they lose their own slot.

use std::future::Future;
use std::pin::Pin;
use std::task::Poll;

use ivshmem::channel::{Broken, EventKind, Evicted, Member, RecvError, SendError, Signal};

use super::executor::{region, Lines, Task};
use crate::support::{join_as, map, LIMIT};

/// Lets one task wait for a message and another for room, lets something `happen` to the two members, and returns what
/// becomes of the tasks.
fn wait_while(
    happen: impl for<'m> FnOnce(&mut Member<'m>, Member<'m>, &dyn Fn(&str) -> Member<'m>),
) -> (Broken, Broken) {
    let mapping = map(1 << 16);
    let lines = Lines::default();
    let region = region(mapping.memory(), 8);
    let mut one = join_as(region, "one", Some(0), 1, 0);
    let mut other = join_as(region, "other", Some(1), 1, 0);
    let _back = other.connect(one.slot(), &lines).unwrap();
    let (mut sender, mut receiver) = one.connect(other.slot(), &lines).unwrap().split();
    while sender.try_send(&[0; 64]).is_ok() {}

    let [tasks, _] = &lines.devices;
    let (sending, receiving) = (Task::default(), Task::default());
    let mut send = Box::pin(sender.send(&tasks.sending, &[0; 64]));
    let mut buffer = [0; 64];
    let mut recv = Box::pin(receiver.recv(&tasks.receiving, &mut buffer));
    sleep(&sending, send.as_mut());
    sleep(&receiving, recv.as_mut());

    happen(&mut one, other, &|name| {
        join_as(region, name, Some(1), 1, LIMIT)
    });
    assert!(!sending.is_woken() && !receiving.is_woken());
    tasks.sending.notify();
    tasks.receiving.notify();
    assert!(sending.is_woken() && receiving.is_woken());
    let Poll::Ready(Err(SendError::Broken(sent))) = sending.poll(send.as_mut()) else {
        panic!("the sender waits on");
    };
    let Poll::Ready(Err(RecvError::Broken(received))) = receiving.poll(recv.as_mut()) else {
        panic!("the receiver waits on");
    };
    (sent, received)
}

/// Polls until the task sleeps.
fn sleep<F: Future>(task: &Task, mut future: Pin<&mut F>) {
    for _ in 0..3 {
        assert!(task.poll(future.as_mut()).is_pending());
        if !task.is_woken() {
            return;
        }
    }
    panic!("it does not sleep");
}

#[test]
fn tasks_learn_that_their_peer_has_left() {
    let ends = wait_while(|_, other, _| other.leave());
    assert_eq!(ends, (Broken::PeerGone, Broken::PeerGone));
}

#[test]
fn tasks_learn_that_their_peer_has_restarted() {
    let ends = wait_while(|one, other, join| {
        other.leave();
        let other = join("other");
        assert_eq!(other.incarnation(), 2);
        assert!(one.poll_event(LIMIT).is_ok());
    });
    assert_eq!(ends, (Broken::PeerRestarted, Broken::PeerRestarted));
}

#[test]
fn tasks_learn_that_their_own_slot_was_taken_away() {
    let ends = wait_while(|one, _, join| {
        let successor = join("one");
        assert_eq!(successor.slot(), one.slot());
        let (signal, task) = (Signal::ticking(), Task::default());
        let event = task.poll_once(one.next_event(&signal, || LIMIT));
        assert_eq!(event, Poll::Ready(Err(Evicted)));
    });
    assert_eq!(ends, (Broken::Evicted, Broken::Evicted));
}

#[test]
fn a_member_waits_for_events_and_lives_meanwhile() {
    let mapping = map(1 << 16);
    let region = region(mapping.memory(), 8);
    let mut one = join_as(region, "one", None, 0, 0);
    let (signal, task) = (Signal::ticking(), Task::default());
    let now = std::cell::Cell::new(0);
    let clock = || now.get();
    let mut event = Box::pin(one.next_event(&signal, &clock));
    assert!(task.poll(event.as_mut()).is_pending());
    assert!(!task.is_woken(), "it ticks");

    let mut other = join_as(region, "other", None, 0, 0);
    for tick in 1..3 * LIMIT {
        now.set(tick);
        signal.notify();
        assert!(task.is_woken());
        let polled = task.poll(event.as_mut());
        if tick == 1 {
            let Poll::Ready(Ok(joined)) = polled else {
                panic!("{polled:?}");
            };
            assert_eq!(
                (joined.slot, joined.kind),
                (other.slot(), EventKind::Joined)
            );
            drop(event);
            event = Box::pin(one.next_event(&signal, &clock));
            assert!(task.poll(event.as_mut()).is_pending());
        } else {
            assert!(polled.is_pending(), "{polled:?}");
        }
        while let Some(event) = other.poll_event(tick).unwrap() {
            assert_eq!(event.kind, EventKind::Joined, "it lives");
        }
    }
}
