// SPDX-License-Identifier: MIT OR Apache-2.0
//! The loop around embassy's executor: it halts while no task has been woken.

use core::{
    future::{poll_fn, Future},
    ptr,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    task::{Poll, Waker},
};

use embassy_executor::{raw::Executor, Spawner};
use spin::Mutex;
use x86_64::instructions::interrupts;

use crate::arch::time;

/// Whether a task has been woken since tasks were polled last.
static WOKEN: AtomicBool = AtomicBool::new(false);

static HALTS: AtomicU64 = AtomicU64::new(0);

/// When to wake the one task that waits for a time. No interrupt handler touches it.
static ALARM: Mutex<Option<(u64, Waker)>> = Mutex::new(None);

/// What the executor calls when a task is woken, which may be in an interrupt handler.
#[unsafe(export_name = "__pender")]
fn pend(_context: *mut ()) {
    WOKEN.store(true, Ordering::Release);
}

/// Runs tasks for ever, beginning with those that `spawn` spawns.
pub fn run(spawn: impl FnOnce(Spawner)) -> ! {
    let executor = Executor::new(ptr::null_mut());
    // SAFETY: this function never returns, so what lies on its stack stays there.
    let executor: &'static Executor = unsafe { &*ptr::from_ref(&executor) };
    spawn(executor.spawner());
    loop {
        WOKEN.store(false, Ordering::Relaxed);
        // SAFETY: no task and no handler gets here, so the call is not within another.
        unsafe { executor.poll() };
        // An interrupt that comes from here on waits until the processor halts, and ends that.
        interrupts::disable();
        if WOKEN.load(Ordering::Acquire) {
            interrupts::enable();
        } else {
            HALTS.fetch_add(1, Ordering::Relaxed);
            interrupts::enable_and_hlt();
        }
        let mut alarm = ALARM.lock();
        if let Some((_, waker)) = alarm.take_if(|(due_ns, _)| time::now_ns() >= *due_ns) {
            waker.wake();
        }
    }
}

/// Returns how often there was nothing to do.
pub fn halts() -> u64 {
    HALTS.load(Ordering::Relaxed)
}

/// Waits until a time on the clock [`time::now_ns`], to about a tick. For one task.
pub fn until(due_ns: u64) -> impl Future<Output = ()> {
    poll_fn(move |context| {
        if time::now_ns() >= due_ns {
            return Poll::Ready(());
        }
        *ALARM.lock() = Some((due_ns, context.waker().clone()));
        Poll::Pending
    })
}
