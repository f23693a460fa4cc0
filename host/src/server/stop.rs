// SPDX-License-Identifier: MIT OR Apache-2.0
//! Ending a server from elsewhere.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use rustix::event::{eventfd, EventfdFlags};

/// A handle that ends the server it belongs to, from any thread.
#[derive(Clone, Debug)]
pub struct Stop {
    eventfd: Arc<OwnedFd>,
}

impl Stop {
    pub(super) fn new() -> rustix::io::Result<Self> {
        let eventfd = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        Ok(Self {
            eventfd: Arc::new(eventfd),
        })
    }

    /// Ends the server; at once if it runs, else as soon as it does.
    ///
    /// Only writes to a descriptor, so it neither blocks nor allocates.
    pub fn stop(&self) {
        // It can only fail because the counter is full, when the server has been told often enough.
        let _ = rustix::io::write(&self.eventfd, &1_u64.to_ne_bytes());
    }
}

impl AsFd for Stop {
    /// Returns a descriptor that is readable once the server has been told to end.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.eventfd.as_fd()
    }
}
