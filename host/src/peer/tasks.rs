// SPDX-License-Identifier: MIT OR Apache-2.0
//! Peers for tasks of tokio (feature `tokio`): what the server says and what the peers ring, to be awaited.
//!
//! ```
//! use ivshmem::VectorIndex;
//! use ivshmem_host::peer::tasks::Peer;
//! use ivshmem_host::server::{Config, Server};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
//! # runtime.block_on(async {
//! # let directory = tempfile::tempdir()?;
//! # let path = directory.path().join("ivshmem.sock");
//! let server = Server::spawn(Config::new(&path, 1 << 20, 1))?;
//! let peer = Peer::connect(server.socket()).await?;
//! let vector = peer.vector(VectorIndex(0))?;
//! let own = peer.inner().id().expect("a server gives an ID");
//! peer.inner().ring(own, VectorIndex(0))?;
//! vector.rung().await?;
//! # Ok(())
//! # })
//! # }
//! ```
//!
//! No method has a limit: put a [`tokio::time::timeout`] around it. Every future may be dropped at any time; no event and no
//! ring is lost. The runtime needs its driver for input and output; a value belongs to the runtime on which it was made.

use std::io;
use std::os::fd::OwnedFd;
use std::panic::resume_unwind;
use std::path::Path;
use std::time::Duration;

use ivshmem::VectorIndex;
use rustix::io::Errno;
use tokio::io::unix::AsyncFd;
use tokio::task::{coop, spawn_blocking};

use super::{ConnectError, Event, EventError, ReceiveError, RingError, Step, Taken};
use crate::deadline::Deadline;
use crate::eventfd;
use crate::readiness::{register, Held};

/// A [`Peer`](super::Peer) for tasks.
#[derive(Debug)]
pub struct Peer {
    inner: super::Peer,
    /// A copy of the connection to the server, if there is one.
    server: Option<AsyncFd<Held<OwnedFd>>>,
}

impl Peer {
    /// Joins as [`Peer::connect`](super::Peer::connect) does, on a thread for calls that block.
    ///
    /// # Cancellation
    ///
    /// Joining goes on, and the peer leaves at once.
    ///
    /// # Errors
    ///
    /// Those of [`Peer::connect`](super::Peer::connect).
    pub async fn connect(path: impl AsRef<Path>) -> Result<Self, ConnectError> {
        let path = path.as_ref().to_owned();
        let peer = match spawn_blocking(|| super::Peer::connect(path)).await {
            Ok(connected) => connected?,
            Err(ended) => match ended.try_into_panic() {
                Ok(panic) => resume_unwind(panic),
                // The runtime is shutting down.
                Err(_) => return Err(ConnectError::Timeout(Step::Connection)),
            },
        };
        Self::new(peer).map_err(|errno| ConnectError::Receive(ReceiveError::System(errno)))
    }

    /// Takes a peer of any kind over for the tasks of the current runtime.
    ///
    /// # Errors
    ///
    /// - The system has no descriptor left.
    pub fn new(inner: super::Peer) -> Result<Self, Errno> {
        // A copy, since the peer closes its own when the connection ends.
        let server = inner.server_fd().map(|fd| fd.try_clone_to_owned());
        let server = server
            .transpose()
            .and_then(|copy| copy.map(register).transpose());
        Ok(Self {
            server: server.map_err(errno)?,
            inner,
        })
    }

    /// Returns the peer: its memory, its vectors, and what it knows of others.
    #[must_use]
    pub const fn inner(&self) -> &super::Peer {
        &self.inner
    }

    /// Returns the peer for threads again, for example to [join the next server](super::Peer::reconnect).
    #[must_use]
    pub fn into_inner(self) -> super::Peer {
        self.inner
    }

    /// Waits for the next change that the server reports; see [`Peer::next_event`](super::Peer::next_event).
    ///
    /// # Cancellation
    ///
    /// No event is lost.
    ///
    /// # Errors
    ///
    /// Those of [`Peer::next_event`](super::Peer::next_event).
    pub async fn next_event(&mut self) -> Result<Event, EventError> {
        loop {
            coop::consume_budget().await;
            match self.inner.take_message(Deadline::after(Duration::ZERO))? {
                Taken::Event(event) => return Ok(event),
                Taken::NoChange => continue,
                Taken::Nothing => {}
            }
            let Some(server) = &self.server else {
                return Err(EventError::NoServer);
            };
            let ready = server.readable().await;
            let mut ready =
                ready.map_err(|error| EventError::Receive(ReceiveError::System(errno(error))))?;
            // What comes after this makes it ready again, and what came before is taken in next.
            ready.clear_ready();
        }
    }

    /// Returns one of this peer's vectors, to be awaited.
    ///
    /// # Errors
    ///
    /// - [`RingError::NoVector`]: this peer has fewer vectors.
    /// - [`RingError::System`]: the system has no descriptor left.
    pub fn vector(&self, vector: VectorIndex) -> Result<Vector, RingError> {
        // A copy, since several tasks may watch the same vector.
        let copy = self.inner.own_eventfd(vector)?.try_clone();
        let watched = copy.and_then(register);
        watched
            .map(Vector)
            .map_err(|error| RingError::System(errno(error)))
    }
}

/// A vector of a peer, to be awaited; it may outlive the peer, and then others ring it as long as they have it.
#[derive(Debug)]
pub struct Vector(AsyncFd<Held<OwnedFd>>);

impl Vector {
    /// Waits until the vector is rung, or has been since the last time. All rings up to now are used up by it: of several
    /// that wait for the same vector of the same peer one gets them.
    ///
    /// # Cancellation
    ///
    /// No ring is lost.
    ///
    /// # Errors
    ///
    /// - [`RingError::System`]: the system refused, or the runtime is shutting down.
    pub async fn rung(&self) -> Result<(), RingError> {
        loop {
            let ready = self.0.readable().await;
            let mut ready = ready.map_err(|error| RingError::System(errno(error)))?;
            // Cleared first: a ring that comes in between makes it ready again.
            ready.clear_ready();
            if eventfd::take(&ready.get_inner().0).map_err(RingError::System)? {
                return Ok(());
            }
        }
    }
}

/// Returns what the system said, or that it was not the system.
fn errno(error: io::Error) -> Errno {
    Errno::from_io_error(&error).unwrap_or(Errno::CANCELED)
}
