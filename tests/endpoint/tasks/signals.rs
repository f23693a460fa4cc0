// SPDX-License-Identifier: MIT OR Apache-2.0
//! When a task is woken, and when it wakes itself.

use std::future::poll_fn;
use std::pin::pin;
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::task::{Context, Poll, RawWaker, RawWakerVTable, Waker};

use ivshmem::channel::Signal;

use super::executor::{connected, Task};
use crate::support::{connect, format, join, map};

/// Compiles: what a handler can reach, and a task on any thread.
static IN_A_STATIC: Signal = Signal::ticking().spinning(3);

#[test]
fn a_task_that_cannot_be_rung_looks_again_by_itself_or_at_each_tick() {
    let mapping = map(4096);
    let region = format(mapping.memory(), 2, 8);
    let (mut one, mut other) = (join(region, "one"), join(region, "other"));
    let (mut here, mut there) = connect(&mut one, &mut other);
    let (task, mut buffer) = (Task::default(), [0; 8]);

    let signal = Signal::new();
    let mut recv = Box::pin(here.receiver().recv(&signal, &mut buffer));
    for _ in 0..100 {
        assert!(task.poll(recv.as_mut()).is_pending());
        assert!(task.is_woken());
    }
    drop(recv);

    let signal = Signal::ticking();
    let mut recv = Box::pin(here.receiver().recv(&signal, &mut buffer));
    for _ in 0..100 {
        assert!(task.poll(recv.as_mut()).is_pending());
        assert!(!task.is_woken());
        signal.notify();
        assert!(task.is_woken());
    }
    there.sender().try_send(b"now").unwrap();
    assert_eq!(task.poll(recv.as_mut()), Poll::Ready(Ok(3)));
}

#[test]
fn a_task_that_spins_is_not_rung_and_then_sleeps() {
    connected(8, |mut here, mut there, lines| {
        let (signal, task, mut buffer) = (&IN_A_STATIC, Task::default(), [0; 8]);
        let mut recv = Box::pin(here.receiver().recv(signal, &mut buffer));
        for _ in 0..3 {
            assert!(task.poll(recv.as_mut()).is_pending());
            assert!(task.is_woken(), "it looks again");
            there.sender().try_send(b"").unwrap();
            assert_eq!(lines.rung(), 0);
            assert_eq!(task.poll(recv.as_mut()), Poll::Ready(Ok(0)));
            drop(recv);
            recv = Box::pin(here.receiver().recv(signal, &mut buffer));
        }
        for look in 0..4 {
            assert!(task.poll(recv.as_mut()).is_pending());
            assert_eq!(task.is_woken(), look < 3);
        }
        there.sender().try_send(b"").unwrap();
        assert_eq!(lines.rung(), 1);
    });
}

#[test]
fn notifications_are_remembered_and_those_for_nobody_do_no_harm() {
    connected(8, |mut here, mut there, lines| {
        let [tasks, _] = &lines.devices;
        tasks.receiving.notify();
        let (task, mut buffer) = (Task::default(), [0; 8]);
        let mut recv = Box::pin(here.receiver().recv(&tasks.receiving, &mut buffer));
        assert!(task.poll(recv.as_mut()).is_pending());
        there.sender().try_send(b"one").unwrap();
        tasks.receiving.notify();
        assert!(task.is_woken());
        assert_eq!(task.poll(recv.as_mut()), Poll::Ready(Ok(3)));
    });
}

#[test]
fn parts_of_a_task_with_wakers_of_their_own_share_a_signal() {
    connected(8, |here, there, _| {
        let ((mut sender, mut receiver), mut peer) = (here.split(), there);
        while sender.try_send(&[0; 64]).is_ok() {}
        let (signal, mut buffer) = (Signal::new(), [0; 64]);
        let (sending, receiving) = (Task::default(), Task::default());
        let mut send = pin!(sender.send(&signal, &[1; 64]));
        let mut recv = pin!(receiver.recv(&signal, &mut buffer));
        assert!(sending.poll(send.as_mut()).is_pending());
        assert!(receiving.poll(recv.as_mut()).is_pending());
        assert!(sending.is_woken(), "its place was taken");
        peer.sender().try_send(b"one").unwrap();
        signal.notify();
        assert!(receiving.is_woken());
        assert_eq!(receiving.poll(recv.as_mut()), Poll::Ready(Ok(3)));
    });
}

/// Is notified when a waker that a signal has given up is dropped: it has none then.
static WITHOUT_WAKER: Signal = Signal::new();
/// Whether the next drop of a waker notifies.
static NOTIFIES: AtomicBool = AtomicBool::new(false);
static WOKEN: AtomicU32 = AtomicU32::new(0);
static NOTIFIER: RawWakerVTable = RawWakerVTable::new(
    |_| RawWaker::new(ptr::null(), &NOTIFIER),
    |_| count_wake(),
    |_| count_wake(),
    |_| {
        if NOTIFIES.swap(false, Ordering::Relaxed) {
            WITHOUT_WAKER.notify();
        }
    },
);

fn count_wake() {
    WOKEN.fetch_add(1, Ordering::Relaxed);
}

#[test]
fn an_interrupt_while_another_part_of_the_task_registers_is_not_lost() {
    connected(8, |here, mut there, _| {
        let (mut sender, mut receiver) = here.split();
        while sender.try_send(&[0; 64]).is_ok() {}
        // SAFETY: 1. the functions of the table may be called from anywhere; 2. there are no data.
        let waker = unsafe { Waker::from_raw(RawWaker::new(ptr::null(), &NOTIFIER)) };
        let context = Context::from_waker(&waker);
        assert!(receiver.poll_ready(&context, &WITHOUT_WAKER).is_pending());
        // The message has come, and its interrupt does in the middle of what the task does next.
        there.sender().try_send(b"one").unwrap();
        NOTIFIES.store(true, Ordering::Relaxed);
        assert!(sender.poll_ready(&context, &WITHOUT_WAKER, 64).is_pending());
        assert!(!NOTIFIES.load(Ordering::Relaxed), "it has come");
        assert_eq!(WOKEN.load(Ordering::Relaxed), 1);
        assert!(receiver.poll_ready(&context, &WITHOUT_WAKER).is_ready());
    });
}

#[test]
fn one_task_waits_for_any_of_its_peers() {
    let mapping = map(1 << 16);
    let region = format(mapping.memory(), 4, 8);
    let mut center = join(region, "center");
    let mut peers = ["one", "two", "three"].map(|name| join(region, name));
    let mut pairs = peers.each_mut().map(|peer| connect(&mut center, peer));
    let (signal, task) = (Signal::ticking(), Task::default());
    for turn in [2, 0, 1, 1, 2, 0] {
        let mut any = Box::pin(poll_fn(|context| {
            for (i, (here, _)) in pairs.iter_mut().enumerate() {
                if let Poll::Ready(ready) = here.receiver().poll_ready(context, &signal) {
                    ready.unwrap();
                    return Poll::Ready(i);
                }
            }
            Poll::Pending
        }));
        assert!(task.poll(any.as_mut()).is_pending());
        drop(any);
        assert!(!task.is_woken());
        pairs[turn].1.sender().try_send(b"you").unwrap();
        signal.notify();
        assert!(task.is_woken());
        let mut found = Vec::new();
        for (i, (here, _)) in pairs.iter_mut().enumerate() {
            let ready = task.poll_once(poll_fn(|context| {
                here.receiver().poll_ready(context, &signal)
            }));
            if ready.is_ready() {
                found.push(i);
                assert_eq!(here.receiver().try_recv(&mut [0; 8]), Ok(Some(3)));
            }
        }
        assert_eq!(found, [turn]);
    }
}

#[test]
fn room_is_ready_when_it_is_there() {
    connected(8, |mut here, mut there, lines| {
        let (task, tasks) = (Task::default(), &lines.devices[0]);
        let sender = here.sender();
        let ready = |sender: &mut ivshmem::channel::Sender<'_, _>, len| {
            task.poll_once(poll_fn(|context| {
                sender.poll_ready(context, &tasks.sending, len)
            }))
        };
        assert_eq!(ready(sender, 64), Poll::Ready(Ok(())));
        let too_long = sender.longest() + 1;
        assert!(matches!(ready(sender, too_long), Poll::Ready(Err(_))));
        while sender.try_send(&[0; 64]).is_ok() {}
        assert_eq!(ready(sender, 64), Poll::Pending);
        assert!(!task.is_woken());
        while there.receiver().try_recv(&mut [0; 64]).unwrap().is_some() {}
        assert!(task.is_woken(), "by the ring");
        assert_eq!(ready(sender, 64), Poll::Ready(Ok(())));
    });
}
