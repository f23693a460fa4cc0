// SPDX-License-Identifier: MIT OR Apache-2.0
//! The server: gives its clients IDs, the shared memory and eventfds, and tells them of each other.
//!
//! One thread and a `poll` loop; all sockets are non-blocking. What a client may do
//! to the others decides the design:
//!
//! | a client that | costs the others |
//! | --- | --- |
//! | does not read | nothing: its messages wait in a queue of its own, bounded without ever cutting it off |
//! | dies, at any step | one departure, if they had heard of it |
//! | sends anything | the same: it is cut off |
//! | is one too many | nothing: it is told so by a version that it cannot speak, and QEMU ends with an error |
//!
//! A server that ends tells every client that all others have left. It cannot be
//! resumed: QEMU does not connect again. If it is killed instead, its clients
//! keep the memory and each other's eventfds, and go on.

mod access;
mod client;
mod config;
mod error;
mod event;
mod ids;
mod limits;
mod memory;
mod queue;
mod registry;
mod running;
mod socket;
mod stop;

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use rustix::event::{poll, PollFd, PollFlags};
use rustix::io::Errno;

pub use access::{Access, DEFAULT_MODE};
pub use config::{Backing, Config, ConfigError};
pub use error::BindError;
pub use event::{Event, Fault, Refusal};
pub use limits::{raise_descriptor_limit, ClientLimit, LimitSource, MAX_CLIENTS};
pub use running::RunningServer;
pub use stop::Stop;

use crate::deadline::timespec;
use registry::{refuse, Registry, RETRY_INTERVAL};
use socket::Listener;

/// How long clients that do not read can delay the end of the server.
const DISMISSAL_LIMIT: Duration = Duration::from_millis(200);

/// A server that listens. Dropping it removes the socket.
#[derive(Debug)]
pub struct Server {
    listener: Listener,
    registry: Registry,
    memory: Arc<OwnedFd>,
    stop: Stop,
    client_limit: ClientLimit,
    config: Config,
}

impl Server {
    /// Creates the shared memory and listens at the socket; clients wait until [`Server::run`].
    ///
    /// # Errors
    ///
    /// Any [`BindError`]. Nothing is left behind then, but a stale socket may have gone.
    pub fn bind(config: Config) -> Result<Self, BindError> {
        config.check()?;
        let client_limit = ClientLimit::of_process(config.vectors, config.max_clients)?;
        let socket_grant = config.access.resolve()?;
        let memory_grant = config.memory_access().resolve()?;
        let stop = Stop::new().map_err(|error| BindError::System {
            step: "create an eventfd",
            error,
        })?;
        // Whoever connects is to find the memory ready, so the socket comes last.
        let memory = memory::NewMemory::create(&config, &memory_grant)?;
        let listener = Listener::bind(&config.socket, &socket_grant)?;
        let memory = Arc::new(memory.keep());
        Ok(Self {
            listener,
            registry: Registry::new(Arc::clone(&memory), config.vectors, client_limit.clients),
            memory,
            stop,
            client_limit,
            config,
        })
    }

    /// Starts a server in a thread of its own, which ends with the value returned.
    ///
    /// # Errors
    ///
    /// Any [`BindError`], as for [`Server::bind`].
    pub fn spawn(config: Config) -> Result<RunningServer, BindError> {
        RunningServer::start(Self::bind(config)?)
    }

    /// Returns the configuration.
    #[must_use]
    pub const fn config(&self) -> &Config {
        &self.config
    }

    /// Returns how many clients can be connected at once, and what decides it.
    #[must_use]
    pub const fn client_limit(&self) -> ClientLimit {
        self.client_limit
    }

    /// Returns a handle to end the server with.
    #[must_use]
    pub fn stop_handle(&self) -> Stop {
        self.stop.clone()
    }

    /// Returns the descriptor of the shared memory.
    #[must_use]
    pub fn memory(&self) -> BorrowedFd<'_> {
        self.memory.as_fd()
    }

    /// Serves until it is stopped, and reports what happens to `observer`, which must not block.
    ///
    /// At the end the socket is gone, every client has been told that all others have left,
    /// and those that were about to connect have been refused.
    ///
    /// # Errors
    ///
    /// The error of `poll`, which only fails for want of memory.
    pub fn run(mut self, mut observer: impl FnMut(&Event)) -> std::io::Result<()> {
        let result = self.serve(&mut observer);
        observer(&Event::Stopping {
            connected: self.registry.peers().count(),
        });
        // To close the listener on those who wait would leave QEMU spinning; refused, it ends.
        while let Ok(socket) = self.listener.accept() {
            refuse(&socket);
        }
        drop(self.listener);
        self.registry.dismiss(DISMISSAL_LIMIT);
        Ok(result?)
    }

    fn serve(&mut self, observer: &mut dyn FnMut(&Event)) -> rustix::io::Result<()> {
        let mut accepting = true;
        loop {
            let ready = self.wait(accepting)?;
            if ready.stop {
                return Ok(());
            }
            self.registry.retry();
            for (peer, events) in ready.clients {
                self.registry.notice(peer, events, observer);
            }
            if ready.listener || !accepting {
                match self.accept(observer) {
                    Ok(()) => accepting = true,
                    // Most likely out of descriptors, with the client still waiting: polling would spin.
                    Err(error) => {
                        if accepting {
                            observer(&Event::AcceptFailed(error));
                        }
                        accepting = false;
                    }
                }
            }
            self.registry.flush(observer);
        }
    }

    /// Waits until something happens, or something put off is to be tried again.
    fn wait(&self, accepting: bool) -> rustix::io::Result<Ready> {
        let listener_events = if accepting {
            PollFlags::IN
        } else {
            PollFlags::empty()
        };
        let mut fds = vec![
            PollFd::new(&self.stop, PollFlags::IN),
            PollFd::new(&self.listener, listener_events),
        ];
        fds.extend(self.registry.interests());
        let again = !accepting || self.registry.wants_retry();
        let limit = again.then(|| timespec(RETRY_INTERVAL)).flatten();
        match poll(&mut fds, limit.as_ref()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error),
        }
        let mut events = fds.iter().map(PollFd::revents);
        let mut next = || events.next().unwrap_or(PollFlags::empty());
        Ok(Ready {
            stop: !next().is_empty(),
            listener: !next().is_empty(),
            clients: self.registry.peers().zip(events).collect(),
        })
    }

    /// Accepts one connection, if one still waits.
    fn accept(&mut self, observer: &mut dyn FnMut(&Event)) -> rustix::io::Result<()> {
        match self.listener.accept() {
            Ok(socket) => {
                observer(&self.registry.admit(socket));
                Ok(())
            }
            Err(Errno::AGAIN | Errno::INTR | Errno::CONNABORTED) => Ok(()),
            Err(error) => Err(error),
        }
    }
}

/// What a poll has found.
struct Ready {
    stop: bool,
    listener: bool,
    clients: Vec<(ivshmem::PeerId, PollFlags)>,
}
