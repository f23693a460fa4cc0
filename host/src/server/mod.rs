// SPDX-License-Identifier: MIT OR Apache-2.0
//! The server: gives its clients IDs, the shared memory and eventfds, and tells them of each other.
//!
//! One thread and one loop; all sockets are non-blocking. Newcomers come first: whoever connects is sent
//! its ID and the memory at once, for which QEMU waits, and the news for everybody else
//! goes out in turns, a few messages to each client, with a look for newcomers in between (`turns`).
//! What a client may do to the others decides the rest of the design:
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
mod turns;

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use nix::unistd::Group;
use rustix::event::{poll, PollFd, PollFlags};
use rustix::fs::Gid;
use rustix::io::Errno;

pub use config::{Backing, Config, ConfigError, DEFAULT_MODE};
pub use error::BindError;
pub use event::{Event, Fault, Refusal};
pub use limits::{raise_descriptor_limit, MAX_CLIENTS};
pub use running::RunningServer;
pub use stop::Stop;

use crate::deadline::timespec;
use registry::{refuse, Registry};
use socket::Listener;
use turns::{Turns, RETRY_INTERVAL};

/// How long clients that do not read can delay the end of the server, and how much longer for each client.
const DISMISSAL_LIMIT: Duration = Duration::from_millis(200);
const DISMISSAL_LIMIT_EACH: Duration = Duration::from_millis(2);

/// The most connections accepted between two turns of the others.
const ACCEPTS: usize = 16;

/// A server that listens. Dropping it removes the socket.
#[derive(Debug)]
pub struct Server {
    listener: Listener,
    registry: Registry,
    memory: Arc<OwnedFd>,
    stop: Stop,
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
        let limit = limits::client_limit(config.vectors)?;
        let group = config.group.as_deref().map(find_group).transpose()?;
        let stop = Stop::new().map_err(|error| BindError::System {
            step: "create an eventfd",
            error,
        })?;
        let turns = Turns::new().map_err(|error| BindError::System {
            step: "create an epoll instance",
            error,
        })?;
        // Whoever connects is to find the memory ready, so the socket comes last.
        let memory = memory::NewMemory::create(&config, group)?;
        let listener = Listener::bind(&config.socket, config.mode, group)?;
        let memory = Arc::new(memory.keep());
        Ok(Self {
            listener,
            registry: Registry::new(turns, Arc::clone(&memory), config.vectors, limit),
            memory,
            stop,
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

    /// Returns how many clients can be connected at once, by the limit of file descriptors.
    #[must_use]
    pub fn client_limit(&self) -> usize {
        self.registry.limit()
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
    /// The error of `poll` or `epoll_wait`, which only fail for want of memory.
    pub fn run(mut self, mut observer: impl FnMut(&Event)) -> std::io::Result<()> {
        let result = self.serve(&mut observer);
        let connected = self.registry.peers().count();
        observer(&Event::Stopping { connected });
        // To close the listener on those who wait would leave QEMU spinning; refused, it ends.
        while let Ok(socket) = self.listener.accept() {
            refuse(&socket);
        }
        drop(self.listener);
        let each = u32::try_from(connected).unwrap_or(u32::MAX);
        let limit = DISMISSAL_LIMIT + DISMISSAL_LIMIT_EACH.saturating_mul(each);
        self.registry.dismiss(limit);
        Ok(result?)
    }

    fn serve(&mut self, observer: &mut dyn FnMut(&Event)) -> rustix::io::Result<()> {
        let mut accepting = true;
        loop {
            let ready = self.wait(accepting)?;
            if ready.stop {
                return Ok(());
            }
            // Before newcomers: one that leaves makes room.
            if ready.clients {
                self.registry.notice(observer)?;
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
        let mut fds = [
            PollFd::new(&self.stop, PollFlags::IN),
            PollFd::new(&self.listener, listener_events),
            PollFd::new(&self.registry, PollFlags::IN),
        ];
        let limit = if self.registry.is_due() {
            Some(Duration::ZERO)
        } else if !accepting || self.registry.wants_retry() {
            Some(RETRY_INTERVAL)
        } else {
            None
        };
        match poll(&mut fds, limit.and_then(timespec).as_ref()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error),
        }
        let [stop, listener, clients] = fds.map(|fd| !fd.revents().is_empty());
        Ok(Ready {
            stop,
            listener,
            clients,
        })
    }

    /// Accepts connections that wait, but not so many that the others would have to wait for long.
    fn accept(&mut self, observer: &mut dyn FnMut(&Event)) -> rustix::io::Result<()> {
        for _ in 0..ACCEPTS {
            match self.listener.accept() {
                Ok(socket) => observer(&self.registry.admit(socket)),
                Err(Errno::INTR | Errno::CONNABORTED) => {}
                Err(Errno::AGAIN) => break,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// What a poll has found.
struct Ready {
    stop: bool,
    listener: bool,
    clients: bool,
}

/// Finds a group by its name or its number.
fn find_group(name: &str) -> Result<Gid, BindError> {
    let found = Group::from_name(name).map_err(|error| BindError::System {
        step: "look up the group",
        error: Errno::from_raw_os_error(error as i32),
    })?;
    found
        .map(|group| group.gid.as_raw())
        .or_else(|| name.parse().ok())
        // The largest number means "leave as it is" to the system.
        .filter(|&number| number != u32::MAX)
        .map(Gid::from_raw)
        .ok_or_else(|| BindError::UnknownGroup {
            name: name.to_owned(),
        })
}
