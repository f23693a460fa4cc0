// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a half can wait for, and the two ways to wait: for an executor and for none.
//!
//! The order is the same in both: try; while there is time to spin, only that, so that nobody has to ring. Then
//! arm, which looks once more behind the wish to be rung, and sleep. A task registers its waker before it arms: whatever
//! happens before that is seen by the look, and whatever happens later wakes it.

use core::future::Future;
use core::hint;
use core::pin::Pin;
use core::task::{Context, Poll};

use super::error::{Broken, RecvError, SendError};
use super::idle::Idle;
use super::message::Progress;
use super::receiver::Receiver;
use super::sender::Sender;
use super::Wait;
use crate::channel::doorbell::Doorbell;
use crate::channel::ring::{Granted, Peeked};
use crate::channel::signal::Signal;

/// Something that may have to wait.
pub(super) trait Operation {
    type Output;
    type Error: From<Broken>;

    /// Does as much of it as can be done now.
    fn advance(&mut self) -> Poll<Result<Self::Output, Self::Error>>;

    /// Asks to be woken when more can be done, after a look whether it can already.
    fn arm(&mut self) -> Result<Wait, Broken>;
}

/// Polls an operation for a task. `looks` is how often this was to no avail since the task has slept.
pub(super) fn poll<O: Operation>(
    operation: &mut O,
    looks: &mut u32,
    signal: &Signal,
    context: &Context<'_>,
) -> Poll<Result<O::Output, O::Error>> {
    if let Poll::Ready(result) = operation.advance() {
        return Poll::Ready(result);
    }
    if *looks < signal.looks() {
        *looks += 1;
        context.waker().wake_by_ref();
        return Poll::Pending;
    }
    *looks = 0;
    signal.register(context.waker());
    match operation.arm() {
        Ok(wait) => {
            signal.sleep(context, wait);
            Poll::Pending
        }
        Err(broken) => Poll::Ready(Err(broken.into())),
    }
}

/// Waits for an operation as a task.
pub(super) const fn finish<O>(operation: O, signal: &Signal) -> Finish<'_, O> {
    Finish {
        operation,
        signal,
        looks: 0,
    }
}

/// The future of an operation.
pub(super) struct Finish<'s, O> {
    operation: O,
    signal: &'s Signal,
    looks: u32,
}

impl<O: Operation + Unpin> Future for Finish<'_, O> {
    type Output = Result<O::Output, O::Error>;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        poll(&mut this.operation, &mut this.looks, this.signal, context)
    }
}

/// Waits for an operation as `idle` says; returns nothing when that gives up.
pub(super) fn finish_with<O: Operation>(
    mut operation: O,
    idle: &mut impl Idle,
) -> Result<Option<O::Output>, O::Error> {
    let mut looks = 0_u32;
    loop {
        if let Poll::Ready(result) = operation.advance() {
            return result.map(Some);
        }
        looks = looks.saturating_add(1);
        if idle.spins(looks) {
            hint::spin_loop();
            continue;
        }
        looks = 0;
        if idle.sleep(operation.arm()?).is_break() {
            return Ok(None);
        }
    }
}

/// Sends a message of any length.
pub(super) struct Sending<'a, 'm, D> {
    pub(super) sender: &'a mut Sender<'m, D>,
    pub(super) message: &'a [u8],
    pub(super) progress: &'a mut Progress,
}

impl<D: Doorbell> Operation for Sending<'_, '_, D> {
    type Output = ();
    type Error = SendError;

    fn advance(&mut self) -> Poll<Result<(), SendError>> {
        self.sender.poll_send(self.message, self.progress)
    }

    fn arm(&mut self) -> Result<Wait, Broken> {
        self.sender.arm(self.message.len())
    }
}

/// Finds room for a message of one frame.
pub(super) struct Reserving<'a, 'm, D> {
    pub(super) sender: &'a mut Sender<'m, D>,
    pub(super) len: usize,
}

impl<D: Doorbell> Operation for Reserving<'_, '_, D> {
    type Output = Granted;
    type Error = SendError;

    fn advance(&mut self) -> Poll<Result<Granted, SendError>> {
        match self.sender.begin(self.len) {
            Err(SendError::Full) => Poll::Pending,
            result => Poll::Ready(result),
        }
    }

    fn arm(&mut self) -> Result<Wait, Broken> {
        self.sender.arm(self.len)
    }
}

/// Receives a message of any length.
pub(super) struct Receiving<'a, 'm, D> {
    pub(super) receiver: &'a mut Receiver<'m, D>,
    pub(super) target: &'a mut [u8],
    pub(super) progress: &'a mut Progress,
}

impl<D: Doorbell> Operation for Receiving<'_, '_, D> {
    type Output = usize;
    type Error = RecvError;

    fn advance(&mut self) -> Poll<Result<usize, RecvError>> {
        self.receiver.poll_recv(self.target, self.progress)
    }

    fn arm(&mut self) -> Result<Wait, Broken> {
        self.receiver.arm()
    }
}

/// Finds the next frame.
pub(super) struct Peeking<'a, 'm, D> {
    pub(super) receiver: &'a mut Receiver<'m, D>,
}

impl<D: Doorbell> Operation for Peeking<'_, '_, D> {
    type Output = Peeked;
    type Error = Broken;

    fn advance(&mut self) -> Poll<Result<Peeked, Broken>> {
        match self.receiver.next() {
            Ok(Some(peeked)) => Poll::Ready(Ok(peeked)),
            Ok(None) => Poll::Pending,
            Err(broken) => Poll::Ready(Err(broken)),
        }
    }

    fn arm(&mut self) -> Result<Wait, Broken> {
        self.receiver.arm()
    }
}
