// SPDX-License-Identifier: MIT OR Apache-2.0
//! Being a member of a region, for tasks: [`Channels`].

use std::io::ErrorKind;
use std::os::fd::OwnedFd;
use std::panic::resume_unwind;
use std::path::Path;

use ivshmem::channel::{Event, Evicted, Name, SlotIndex};
use tokio::task::spawn_blocking;
use tokio::time::sleep;

use super::connection::Connection;
use crate::channel::channels::LOOK_INTERVAL;
use crate::channel::{self, ConnectError, JoinError, Options};

/// A member of a region, for tasks.
///
/// All tasks of a process may use it at once, for example in an [`Arc`](std::sync::Arc). Dropping it leaves the region, which takes the time of
/// waking the thread that kept the member alive.
#[derive(Debug)]
pub struct Channels {
    inner: channel::Channels,
}

impl Channels {
    /// Joins as [`Options::join_server`] does, on a thread for calls that block.
    ///
    /// # Cancellation
    ///
    /// Joining goes on, and the member leaves at once.
    ///
    /// # Errors
    ///
    /// Those of [`Options::join_server`].
    pub async fn join_server(options: Options, path: impl AsRef<Path>) -> Result<Self, JoinError> {
        let path = path.as_ref().to_owned();
        Self::join(move || options.join_server(path)).await
    }

    /// Joins as [`Options::join_file`] does, on a thread for calls that block.
    ///
    /// # Cancellation
    ///
    /// As of [`Channels::join_server`].
    ///
    /// # Errors
    ///
    /// Those of [`Options::join_file`].
    pub async fn join_file(options: Options, path: impl AsRef<Path>) -> Result<Self, JoinError> {
        let path = path.as_ref().to_owned();
        Self::join(move || options.join_file(path)).await
    }

    /// Joins as [`Options::join_memory`] does, on a thread for calls that block.
    ///
    /// # Cancellation
    ///
    /// As of [`Channels::join_server`].
    ///
    /// # Errors
    ///
    /// Those of [`Options::join_memory`].
    pub async fn join_memory(options: Options, memory: OwnedFd) -> Result<Self, JoinError> {
        Self::join(move || options.join_memory(memory)).await
    }

    /// Joins as [`Options::join_pci`] does, on a thread for calls that block.
    ///
    /// # Cancellation
    ///
    /// As of [`Channels::join_server`].
    ///
    /// # Errors
    ///
    /// Those of [`Options::join_pci`].
    pub async fn join_pci(options: Options, address: &str) -> Result<Self, JoinError> {
        let address = address.to_owned();
        Self::join(move || options.join_pci(&address)).await
    }

    async fn join(
        join: impl FnOnce() -> Result<channel::Channels, JoinError> + Send + 'static,
    ) -> Result<Self, JoinError> {
        match spawn_blocking(join).await {
            Ok(joined) => joined.map(Self::from),
            Err(ended) => match ended.try_into_panic() {
                Ok(panic) => resume_unwind(panic),
                // The runtime is shutting down.
                Err(_) => Err(JoinError::System(ErrorKind::Interrupted)),
            },
        }
    }

    /// Returns the member as threads use it.
    #[must_use]
    pub const fn inner(&self) -> &channel::Channels {
        &self.inner
    }

    /// Waits for the next thing that happens to another member. It is looked for every 2 ms.
    ///
    /// The newest 1024 are kept for a program that does not ask.
    ///
    /// # Cancellation
    ///
    /// No event is lost.
    ///
    /// # Errors
    ///
    /// - [`Evicted`]: this member has lost its slot. Join again.
    pub async fn next_event(&self) -> Result<Event, Evicted> {
        loop {
            if let Some(event) = self.inner.poll_event()? {
                return Ok(event);
            }
            sleep(LOOK_INTERVAL).await;
        }
    }

    /// Waits until there is a member of this name that lives and that was not connected to in its present incarnation, and connects
    /// to it, as [`Channels::connect`](channel::Channels::connect) does for threads. It is looked for every 2 ms.
    ///
    /// # Cancellation
    ///
    /// No connection was made.
    ///
    /// # Errors
    ///
    /// - [`ConnectError::Evicted`]: this member has lost its slot.
    /// - [`ConnectError::System`]: the system has no descriptor left.
    pub async fn connect(&self, name: &str) -> Result<Connection, ConnectError> {
        let name = Name::new(name);
        loop {
            let connect = |slot| self.connect_to(slot);
            if let Some(connection) = self.inner.connect_named(name, connect)? {
                return Ok(connection);
            }
            sleep(LOOK_INTERVAL).await;
        }
    }

    /// Connects to the member in a slot, without waiting. Call it on the runtime whose tasks will use the connection.
    ///
    /// # Errors
    ///
    /// Those of [`Channels::connect_to`](channel::Channels::connect_to).
    pub fn connect_to(&self, slot: SlotIndex) -> Result<Connection, ConnectError> {
        Connection::new(&self.inner, slot)
    }
}

impl From<channel::Channels> for Channels {
    fn from(inner: channel::Channels) -> Self {
        Self { inner }
    }
}
