// SPDX-License-Identifier: MIT OR Apache-2.0
//! A server in a thread of its own.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::{BindError, ClientLimit, Config, Ending, Event, Server, Stop};

/// A server that runs in a thread until it is stopped or dropped.
#[derive(Debug)]
pub struct RunningServer {
    config: Config,
    client_limit: ClientLimit,
    memory: Arc<OwnedFd>,
    census: Arc<Census>,
    stop: Stop,
    /// `None` only while the value is being taken apart.
    thread: Option<JoinHandle<io::Result<Ending>>>,
}

/// The number of connected clients, to be read and waited for.
#[derive(Debug)]
struct Census {
    connected: Mutex<usize>,
    changed: Condvar,
}

impl Census {
    fn of(connected: usize) -> Self {
        Self {
            connected: Mutex::new(connected),
            changed: Condvar::new(),
        }
    }

    fn note(&self, event: &Event) {
        if let Some(connected) = event.connected() {
            // A number is never half-way, so a poisoned lock is as good as another.
            *self
                .connected
                .lock()
                .unwrap_or_else(PoisonError::into_inner) = connected;
            self.changed.notify_all();
        }
    }
}

impl RunningServer {
    pub(super) fn start(server: Server) -> Result<Self, BindError> {
        let census = Arc::new(Census::of(server.clients()));
        let noted = Arc::clone(&census);
        let config = server.config.clone();
        let client_limit = server.client_limit();
        let memory = Arc::clone(&server.memory);
        let stop = server.stop_handle();
        let thread = thread::Builder::new()
            .name("ivshmem-server".to_owned())
            .spawn(move || server.run(|event| noted.note(event)))
            .map_err(|error| BindError::System {
                step: "start a thread",
                error: rustix::io::Errno::from_io_error(&error).unwrap_or(rustix::io::Errno::AGAIN),
            })?;
        Ok(Self {
            config,
            client_limit,
            memory,
            census,
            stop,
            thread: Some(thread),
        })
    }

    /// Returns the path of the socket.
    #[must_use]
    pub fn socket(&self) -> &Path {
        &self.config.socket
    }

    /// Returns the configuration, as [`Server::config`].
    #[must_use]
    pub const fn config(&self) -> &Config {
        &self.config
    }

    /// Returns how many clients can be connected at once, and what decides it.
    #[must_use]
    pub const fn client_limit(&self) -> ClientLimit {
        self.client_limit
    }

    /// Returns the descriptor of the shared memory, to be mapped with
    /// [`Mapping::of`](crate::mapping::Mapping::of).
    #[must_use]
    pub fn memory(&self) -> BorrowedFd<'_> {
        self.memory.as_fd()
    }

    /// Returns the number of clients connected now.
    #[must_use]
    pub fn clients(&self) -> usize {
        *self
            .census
            .connected
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until `count` clients are connected, for at most `limit`, and returns whether they are.
    #[must_use]
    pub fn wait_for_clients(&self, count: usize, limit: Duration) -> bool {
        let connected = self
            .census
            .connected
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let (connected, _) = self
            .census
            .changed
            .wait_timeout_while(connected, limit, |connected| *connected != count)
            .unwrap_or_else(PoisonError::into_inner);
        *connected == count
    }

    /// Stops the server and waits for its end: clients are told, and the socket is gone.
    ///
    /// # Errors
    ///
    /// The error that had ended the server before, if so.
    pub fn stop(mut self) -> io::Result<()> {
        self.end().map(drop)
    }

    /// Waits until another server has [taken over](Server::take_over), or this one has failed.
    ///
    /// # Errors
    ///
    /// The error that has ended the server.
    pub fn wait(mut self) -> io::Result<Ending> {
        self.join()
    }

    fn end(&mut self) -> io::Result<Ending> {
        self.stop.stop();
        self.join()
    }

    fn join(&mut self) -> io::Result<Ending> {
        match self.thread.take().map(JoinHandle::join) {
            Some(Ok(result)) => result,
            Some(Err(_)) => Err(io::Error::other("the server's thread panicked")),
            None => Ok(Ending::Stopped),
        }
    }
}

impl Drop for RunningServer {
    fn drop(&mut self) {
        // Whoever wants the result calls `stop`.
        let _ = self.end();
    }
}
