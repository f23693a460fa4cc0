// SPDX-License-Identifier: MIT OR Apache-2.0
//! Descriptors whose readiness tokio's reactor tells.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};

use tokio::io::unix::AsyncFd;
use tokio::io::Interest;

use crate::channel::Waiter;

/// One that owns the descriptor that it lends.
///
/// # Safety
///
/// `as_fd` must return the same descriptor each time, open until this is dropped.
pub(crate) unsafe trait Holds: AsFd {}

// SAFETY: it is its one descriptor, which closes with it.
unsafe impl Holds for OwnedFd {}

// SAFETY: it lends its `epoll`, which it neither replaces nor closes before it is dropped.
unsafe impl Holds for Waiter {}

/// What tokio wants to have of one that holds a descriptor.
#[derive(Debug)]
pub(crate) struct Held<T>(pub(crate) T);

impl<T: Holds> AsRawFd for Held<T> {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_fd().as_raw_fd()
    }
}

/// Has the reactor of the current runtime tell when `holder` is readable.
///
/// # Errors
///
/// - The system refuses.
///
/// # Panics
///
/// - Outside of a runtime with a driver for input and output.
pub(crate) fn register<T: Holds>(holder: T) -> io::Result<AsyncFd<Held<T>>> {
    // SAFETY: by the contract of `Holds` the descriptor is the same, and open, until the holder is dropped.
    let registered = unsafe { AsyncFd::register_with_interest(Held(holder), Interest::READABLE) };
    Ok(registered?)
}
