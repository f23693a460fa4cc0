// SPDX-License-Identifier: MIT OR Apache-2.0
//! The least executors: one that parks its thread, and one that polls when the test says so. Doorbells that notify.

use std::future::Future;
use std::pin::{pin, Pin};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::Instant;

use ivshmem::channel::{Doorbell, Endpoint, Region, Signal};
use ivshmem::{PeerId, SharedMemory, VectorIndex};

use crate::support::{format, join_as, map, DEADLINE};

/// Runs a future on this thread. Whoever is not woken for so long has lost a wake-up.
pub fn block_on<F: Future>(future: F) -> F::Output {
    struct Parked {
        thread: Thread,
        woken: AtomicBool,
    }

    impl Wake for Parked {
        fn wake(self: Arc<Self>) {
            self.woken.store(true, Ordering::Release);
            self.thread.unpark();
        }
    }

    let parked = Arc::new(Parked {
        thread: thread::current(),
        woken: AtomicBool::new(false),
    });
    let waker = Waker::from(Arc::clone(&parked));
    let mut future = pin!(future);
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            return output;
        }
        let start = Instant::now();
        while !parked.woken.swap(false, Ordering::Acquire) {
            assert!(start.elapsed() < DEADLINE, "a wake-up was lost");
            thread::park_timeout(DEADLINE);
        }
    }
}

/// A task that is polled by hand.
#[derive(Default)]
pub struct Task(Arc<Wakes>);

#[derive(Default)]
struct Wakes(AtomicU32);

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

impl Task {
    pub fn poll<F: Future>(&self, future: Pin<&mut F>) -> Poll<F::Output> {
        let waker = Waker::from(Arc::clone(&self.0));
        future.poll(&mut Context::from_waker(&waker))
    }

    /// Polls once, and drops the future.
    pub fn poll_once<F: Future>(&self, future: F) -> Poll<F::Output> {
        self.poll(pin!(future))
    }

    /// Returns whether it was woken since this was called last.
    pub fn is_woken(&self) -> bool {
        self.0 .0.swap(0, Ordering::Relaxed) > 0
    }
}

/// What a device's interrupt notifies: the task that sends and the one that receives.
#[derive(Default)]
pub struct Tasks {
    pub sending: Signal,
    pub receiving: Signal,
}

/// Two devices whose doorbells notify at once, as a handler on another CPU would.
#[derive(Default)]
pub struct Lines {
    pub devices: [Tasks; 2],
    rung: AtomicU32,
}

impl Lines {
    /// Returns how often anybody was rung.
    pub fn rung(&self) -> u32 {
        self.rung.load(Ordering::Relaxed)
    }
}

impl Doorbell for Lines {
    fn ring(&self, peer: PeerId, _: VectorIndex) {
        self.rung.fetch_add(1, Ordering::Relaxed);
        let tasks = &self.devices[usize::from(peer.0)];
        tasks.sending.notify();
        tasks.receiving.notify();
    }
}

/// Connects two members that ring each other, by rings of such a size, and runs something with them.
pub fn connected<R>(
    ring_log2: u32,
    run: impl FnOnce(Endpoint<'_, &Lines>, Endpoint<'_, &Lines>, &Lines) -> R,
) -> R {
    let mapping = map(1 << 16);
    let lines = Lines::default();
    let region = region(mapping.memory(), ring_log2);
    let mut one = join_as(region, "one", Some(0), 1, 0);
    let mut other = join_as(region, "other", Some(1), 1, 0);
    let here = one.connect(other.slot(), &lines).unwrap();
    let there = other.connect(one.slot(), &lines).unwrap();
    run(here, there, &lines)
}

/// Formats memory for two members.
pub fn region(memory: SharedMemory<'_>, ring_log2: u32) -> Region<'_> {
    format(memory, 2, ring_log2)
}
