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

mod client;
mod config;
mod counters;
mod desk;
mod error;
mod event;
mod ids;
mod limits;
mod memory;
mod pending;
mod process;
mod queue;
mod registry;
mod running;
mod sending;
mod socket;
mod stop;
mod survey;

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use nix::unistd::Group;
use rustix::event::{poll, PollFd, PollFlags};
use rustix::fs::Gid;
use rustix::io::Errno;

pub use config::{AdminSocket, Backing, Config, ConfigError, DEFAULT_MODE};
pub use error::BindError;
pub use event::{Event, Fault, Refusal};
pub use limits::{raise_descriptor_limit, MAX_CLIENTS};
pub use running::RunningServer;
pub use stop::Stop;

use crate::deadline::timespec;
use desk::{Birth, Desk, Subject, ADMIN_DESCRIPTORS};
use limits::LimitSource;
use registry::{refuse, Registry, RETRY_INTERVAL};
use socket::Listener;

/// How long clients that do not read can delay the end of the server.
const DISMISSAL_LIMIT: Duration = Duration::from_millis(200);

/// A server that listens. Dropping it removes the socket.
#[derive(Debug)]
pub struct Server {
    listener: Listener,
    desk: Desk,
    birth: Birth,
    limit_source: LimitSource,
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
        let admin_path = config.admin_path();
        let others = if admin_path.is_some() {
            ADMIN_DESCRIPTORS
        } else {
            0
        };
        let limit = limits::client_limit(config.vectors, others)?;
        let group = config.group.as_deref().map(find_group).transpose()?;
        let stop = Stop::new().map_err(|error| BindError::System {
            step: "create an eventfd",
            error,
        })?;
        // Whoever connects is to find the memory ready, so the sockets come last.
        let memory = memory::NewMemory::create(&config, group)?;
        let listener = Listener::bind(&config.socket, config.mode, group)?;
        let admin = admin_path
            .map(|path| Listener::bind(&path, config.mode, group))
            .transpose()?;
        let memory = Arc::new(memory.keep());
        Ok(Self {
            listener,
            desk: Desk::new(admin),
            birth: Birth::now(),
            limit_source: limit.source,
            registry: Registry::new(Arc::clone(&memory), config.vectors, limit.clients),
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
    /// At the end the sockets are gone, every client has been told that all others have left,
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
        drop(self.desk);
        self.registry.dismiss(DISMISSAL_LIMIT);
        Ok(result?)
    }

    fn serve(&mut self, observer: &mut dyn FnMut(&Event)) -> rustix::io::Result<()> {
        let mut accepting = true;
        loop {
            let mut ready = self.wait(accepting)?;
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
                        self.registry.note_accept_failure();
                        if accepting {
                            observer(&Event::AcceptFailed(error));
                        }
                        accepting = false;
                    }
                }
            }
            self.registry.flush(observer);
            self.desk.serve(
                &mut ready.desk.drain(..),
                &mut Subject {
                    config: &self.config,
                    birth: self.birth,
                    limit_source: self.limit_source,
                    memory: &self.memory,
                    registry: &mut self.registry,
                },
            );
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
        let before_desk = fds.len();
        fds.extend(self.desk.interests());
        let desk_count = fds.len() - before_desk;
        fds.extend(self.registry.interests());
        let again = !accepting || self.registry.wants_retry();
        let limits = [again.then_some(RETRY_INTERVAL), self.desk.patience()];
        let limit = limits.into_iter().flatten().min().and_then(timespec);
        match poll(&mut fds, limit.as_ref()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error),
        }
        let mut events = fds.iter().map(PollFd::revents);
        let mut next = || events.next().unwrap_or(PollFlags::empty());
        Ok(Ready {
            stop: !next().is_empty(),
            listener: !next().is_empty(),
            desk: events.by_ref().take(desk_count).collect(),
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
    desk: Vec<PollFlags>,
    clients: Vec<(ivshmem::PeerId, PollFlags)>,
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
