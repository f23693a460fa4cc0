// SPDX-License-Identifier: MIT OR Apache-2.0
//! Tasks of `tokio` on several threads, woken by eventfds.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use ivshmem::channel::{Broken, Doorbell, Endpoint, EventKind, Member, RecvError, Signal};
use ivshmem::{PeerId, VectorIndex};
use rustix::event::{eventfd, EventfdFlags};
use tokio::io::unix::AsyncFd;
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::executor::region;
use crate::support::{fill, join_as, map, Numbers, DEADLINE};

/// The interrupts of two devices.
#[derive(Clone, Debug)]
struct Interrupts(Arc<[OwnedFd; 2]>);

impl Interrupts {
    fn new() -> Self {
        let flags = EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC;
        Self(Arc::new([(); 2].map(|()| eventfd(0, flags).unwrap())))
    }

    /// Notifies whenever the device is interrupted.
    async fn handle(self, device: usize, signals: Arc<[Signal; 2]>) {
        let fd = self.0[device].try_clone().unwrap();
        // SAFETY: an `OwnedFd` has one descriptor, which is open until it is dropped.
        let fd = unsafe { AsyncFd::register(fd) }.unwrap();
        loop {
            let mut ready = fd.readable().await.unwrap();
            let read = ready.try_io(|fd| Ok(rustix::io::read(fd, &mut [0; 8])?));
            if read.is_ok() {
                signals.iter().for_each(Signal::notify);
            }
        }
    }
}

impl Doorbell for Interrupts {
    fn ring(&self, peer: PeerId, _: VectorIndex) {
        rustix::io::write(&self.0[usize::from(peer.0)], &1_u64.to_ne_bytes()).unwrap();
    }
}

type End = (
    Member<'static>,
    Endpoint<'static, Interrupts>,
    Arc<[Signal; 2]>,
);

/// Connects two members whose interrupts are handled by tasks.
fn ends(handlers: &mut JoinSet<()>) -> (End, End) {
    let mapping = Box::leak(Box::new(map(1 << 16)));
    let region = region(mapping.memory(), 10);
    let interrupts = Interrupts::new();
    let mut one = join_as(region, "one", Some(0), 1, 0);
    let mut other = join_as(region, "other", Some(1), 1, 0);
    let here = one.connect(other.slot(), interrupts.clone()).unwrap();
    let there = other.connect(one.slot(), interrupts.clone()).unwrap();
    let mut signals = [(); 2].map(|()| Arc::new([(); 2].map(|()| Signal::new())));
    for (device, signals) in signals.iter_mut().enumerate() {
        handlers.spawn(interrupts.clone().handle(device, Arc::clone(signals)));
    }
    let [of_one, of_other] = signals;
    ((one, here, of_one), (other, there, of_other))
}

fn runtime() -> Runtime {
    Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap()
}

#[test]
fn tasks_of_tokio_pass_messages_of_any_length_to_and_fro() {
    const ROUNDS: u64 = 300;
    const MOST: usize = 5000;
    runtime().block_on(async {
        let mut handlers = JoinSet::new();
        let ((_one, here, here_signals), (_other, there, there_signals)) = ends(&mut handlers);
        let ((mut ask, mut answers), (mut answer, mut asked)) = (here.split(), there.split());
        let echo = tokio::spawn(async move {
            let [sending, receiving] = &*there_signals;
            let mut buffer = vec![0; MOST];
            for _ in 0..ROUNDS {
                let len = asked.recv(receiving, &mut buffer).await.unwrap();
                answer.send(sending, &buffer[..len]).await.unwrap();
            }
        });
        let asking = tokio::spawn(async move {
            let [sending, receiving] = &*here_signals;
            let mut lengths = Numbers(7);
            let (mut message, mut buffer) = (vec![0; MOST], vec![0; MOST]);
            for number in 0..ROUNDS {
                let message = &mut message[..lengths.len(MOST)];
                fill(message, number);
                ask.send(sending, message).await.unwrap();
                let len = answers.recv(receiving, &mut buffer).await;
                assert_eq!(len, Ok(message.len()), "message {number}");
                assert!(buffer[..message.len()] == *message, "message {number}");
            }
        });
        timeout(DEADLINE, asking).await.expect("stuck").unwrap();
        timeout(DEADLINE, echo).await.expect("stuck").unwrap();
    });
}

#[test]
fn what_select_drops_is_neither_lost_nor_doubled() {
    const NUMBERS: u64 = 20_000;
    runtime().block_on(async {
        let mut handlers = JoinSet::new();
        let ((_one, here, here_signals), (_other, there, there_signals)) = ends(&mut handlers);
        let (mut sender, mut receiver) = (here.split().0, there.split().1);
        let sending = tokio::spawn(async move {
            for number in 0..NUMBERS {
                let message = number.to_le_bytes();
                loop {
                    tokio::select! {
                        sent = sender.send(&here_signals[0], &message) => break sent.unwrap(),
                        () = tokio::task::yield_now() => {}
                    }
                }
            }
        });
        let receiving = tokio::spawn(async move {
            let (mut number, mut dropped) = (0_u64, 0_u32);
            while number < NUMBERS {
                let mut buffer = [0; 8];
                tokio::select! {
                    len = receiver.recv(&there_signals[1], &mut buffer) => {
                        assert_eq!((len, buffer), (Ok(8), number.to_le_bytes()));
                        number += 1;
                    }
                    () = tokio::task::yield_now() => dropped += 1,
                }
            }
            dropped
        });
        timeout(DEADLINE, sending).await.expect("stuck").unwrap();
        let dropped = timeout(DEADLINE, receiving).await.expect("stuck").unwrap();
        assert!(dropped > 0);
    });
}

#[test]
fn a_task_that_hears_events_wakes_those_who_wait_for_who_has_gone() {
    const TICK: Duration = Duration::from_millis(1);
    runtime().block_on(async {
        let mut handlers = JoinSet::new();
        let ((mut one, mut here, signals), (other, _there, _)) = ends(&mut handlers);
        let ticks = Arc::new(Signal::ticking());
        handlers.spawn({
            let ticks = Arc::clone(&ticks);
            async move {
                loop {
                    sleep(TICK).await;
                    ticks.notify();
                }
            }
        });
        let hearing = tokio::spawn({
            let signals = Arc::clone(&signals);
            async move {
                // Time stands still, so that nobody is taken for dead.
                let now = || 0;
                let mut kinds = Vec::new();
                while kinds.last() != Some(&EventKind::Left) {
                    kinds.push(one.next_event(&ticks, now).await.unwrap().kind);
                    signals.iter().for_each(Signal::notify);
                }
                kinds
            }
        });
        let waiting = tokio::spawn(async move {
            let mut buffer = [0; 8];
            here.receiver().recv(&signals[1], &mut buffer).await
        });
        sleep(10 * TICK).await;
        assert!(!waiting.is_finished());
        other.leave();
        let kinds = timeout(DEADLINE, hearing).await.expect("stuck").unwrap();
        assert_eq!(kinds, [EventKind::Joined, EventKind::Left]);
        let waited = timeout(DEADLINE, waiting).await.expect("stuck").unwrap();
        assert_eq!(waited, Err(RecvError::Broken(Broken::PeerGone)));
    });
}
