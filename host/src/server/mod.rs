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
//! keep the memory and each other's eventfds, and go on. To restart it without any of that, another process
//! [takes over](Server::take_over).

mod access;
mod backing;
mod client;
mod config;
mod counters;
mod desk;
mod error;
mod event;
mod handover;
mod ids;
mod ledger;
mod limits;
mod lock;
mod memory;
mod named_file;
mod pending;
mod pid_file;
mod predecessor;
mod process;
mod queue;
mod registry;
mod running;
mod sending;
mod serving;
mod socket;
mod stop;
mod survey;
mod turns;

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use rustix::fs::fstat;

pub use access::{Access, DEFAULT_MODE};
pub use backing::{Backing, FileAtEnd, HugePages};
pub use config::{AdminSocket, Config, ConfigError};
pub use error::BindError;
pub use event::{Ending, Event, Fault, Refusal};
pub use handover::{HandoverError, Objection, TakeOverError};
pub use limits::{raise_descriptor_limit, ClientLimit, LimitSource, MAX_CLIENTS};
pub use pid_file::{PidFile, PidFileError};
pub use predecessor::{Inheritance, Predecessor};
pub use running::RunningServer;
pub use stop::Stop;

use desk::{Birth, Desk, Entrance};
use ids::{Given, Ids, COUNT};
use ledger::{Ledger, Record};
use lock::Lock;
use named_file::{identity, NamedFile};
use registry::{refuse, Registry};
use serving::Alive;
use socket::Listener;
use turns::Turns;

/// How long clients that do not read can delay the end of the server, and how much longer for each client.
const DISMISSAL_LIMIT: Duration = Duration::from_millis(200);
const DISMISSAL_LIMIT_EACH: Duration = Duration::from_millis(2);

/// A server that listens. Dropping it removes the socket.
#[derive(Debug)]
pub struct Server {
    listener: Listener,
    desk: Desk,
    birth: Birth,
    registry: Registry,
    memory: Arc<OwnedFd>,
    /// The file of the memory, if it is to go with the server.
    memory_file: Option<NamedFile>,
    stop: Stop,
    client_limit: ClientLimit,
    alive: Option<Alive>,
    config: Config,
    predecessor: Option<Predecessor>,
}

impl Server {
    /// Creates the shared memory and listens at the socket; clients wait until [`Server::run`].
    ///
    /// # Errors
    ///
    /// Any [`BindError`]. Nothing is left behind then, but a stale socket may have gone.
    pub fn bind(config: Config) -> Result<Self, BindError> {
        let grant = config.access.resolve()?;
        Self::start(config, |config| Listener::bind(&config.socket, &grant))
    }

    /// Creates the shared memory and serves at `listener`, a socket that was made elsewhere, such as by systemd.
    ///
    /// It keeps the access it has, its file stays at the end, and those who have connected by then and are not
    /// clients yet wait for the next server there. The path in [`Server::config`] becomes
    /// that of `listener`, if it has one.
    ///
    /// # Errors
    ///
    /// Any [`BindError`] but those of making a socket; [`BindError::NotAListener`] for other descriptors.
    pub fn bind_at(listener: impl Into<OwnedFd>, config: Config) -> Result<Self, BindError> {
        Self::start(config, |config| {
            let (listener, path) = Listener::adopt(listener.into())?;
            if let Some(path) = path {
                config.socket = path;
            }
            Ok(listener)
        })
    }

    fn start(
        mut config: Config,
        listen: impl FnOnce(&mut Config) -> Result<Listener, BindError>,
    ) -> Result<Self, BindError> {
        config.check()?;
        let others = config.other_descriptors();
        let client_limit = ClientLimit::of_process(config.vectors, config.max_clients, others)?;
        let grant = config.memory_access().resolve()?;
        let stop = Stop::new().map_err(|error| BindError::System {
            step: "create an eventfd",
            error,
        })?;
        let turns = Turns::new().map_err(|error| BindError::System {
            step: "create an epoll instance",
            error,
        })?;
        // Whoever connects is to find the memory ready, so the socket comes last.
        let memory = memory::NewMemory::create(&config, &grant)?;
        let listener = listen(&mut config)?;
        let mut entrances = Vec::new();
        if let Some(path) = config.admin_path() {
            let admin = Listener::bind(&path, &config.access.resolve()?)?;
            entrances.push(Entrance::Unix(admin));
        }
        if let Some(address) = &mut config.metrics {
            let (metrics, found) = Entrance::at(*address)?;
            *address = found;
            entrances.push(metrics);
        }
        let failed = |error| BindError::System {
            step: "look at the shared memory",
            error,
        };
        let stat = fstat(memory.as_fd()).map_err(failed)?;
        let found = listener.lock().and_then(Lock::found);
        let predecessor = found.map(|record| predecessor(record, identity(&stat)));
        let first_id = predecessor.map_or(0, |predecessor| predecessor.first_id);
        if first_id >= COUNT {
            return Err(BindError::NoIdLeft {
                socket: config.socket,
            });
        }
        let ledger = Ledger::new(listener.lock().map(Lock::file), &stat, first_id);
        let ids = Ids::new(Given::none(first_id), ledger);
        let (memory, memory_file) = memory.keep()?;
        let memory = Arc::new(memory);
        Ok(Self {
            listener,
            desk: Desk::new(entrances),
            birth: Birth::now(),
            registry: Registry::new(
                turns,
                Arc::clone(&memory),
                config.vectors,
                client_limit.clients,
                ids,
            ),
            memory,
            memory_file,
            stop,
            client_limit,
            alive: None,
            config,
            predecessor,
        })
    }

    /// Returns what is known of the server before, if it was killed.
    #[must_use]
    pub const fn predecessor(&self) -> Option<Predecessor> {
        self.predecessor
    }

    /// Starts a server in a thread of its own, which ends with the value returned.
    ///
    /// # Errors
    ///
    /// Any [`BindError`], as for [`Server::bind`].
    pub fn spawn(config: Config) -> Result<RunningServer, BindError> {
        RunningServer::start(Self::bind(config)?)
    }

    /// Returns the configuration, with the port that the metrics have got if any was wanted.
    #[must_use]
    pub const fn config(&self) -> &Config {
        &self.config
    }

    /// Returns how many clients can be connected at once, and what decides it.
    #[must_use]
    pub const fn client_limit(&self) -> ClientLimit {
        self.client_limit
    }

    /// Returns how many clients are connected: none before it runs, unless it has taken over.
    #[must_use]
    pub fn clients(&self) -> usize {
        self.registry.peers().count()
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

    /// Has [`Server::run`] report [`Event::Alive`] every `interval`, for a watchdog: the loop that
    /// serves the clients is what reports, so it stands still if they do.
    pub fn report_alive(&mut self, interval: Duration) {
        self.alive = Some(Alive::every(interval));
    }

    /// Runs the server in a thread of its own, which ends with the value returned.
    ///
    /// # Errors
    ///
    /// - [`BindError::System`]: the system has no thread.
    pub fn into_running(self) -> Result<RunningServer, BindError> {
        RunningServer::start(self)
    }

    /// Serves until it is stopped or [another](Self::take_over) has taken over, and reports what happens to `observer`,
    /// which must not block.
    ///
    /// After a handover everything is as it was, and another process's.
    ///
    /// At the end the sockets are gone, every client has been told that all others have left,
    /// and those that were about to connect have been refused; for a socket handed down see
    /// [`Server::bind_at`].
    ///
    /// # Errors
    ///
    /// The error of `poll` or `epoll_wait`, which only fail for want of memory.
    pub fn run(mut self, mut observer: impl FnMut(&Event)) -> std::io::Result<Ending> {
        let result = self.serve(&mut observer);
        if matches!(result, Ok(Ending::HandedOver)) {
            self.disown();
            return Ok(Ending::HandedOver);
        }
        let connected = self.clients();
        observer(&Event::Stopping { connected });
        // To close the listener on those who wait would leave QEMU spinning; refused, it ends.
        // A socket handed down lives on, and they wait for the next server.
        while let Some(socket) = self.listener.accept_last() {
            refuse(&socket);
        }
        drop(self.listener);
        drop(self.desk);
        let each = u32::try_from(connected).unwrap_or(u32::MAX);
        let limit = DISMISSAL_LIMIT + DISMISSAL_LIMIT_EACH.saturating_mul(each);
        self.registry.dismiss(limit);
        Ok(result?)
    }

    /// Leaves all that stands in the file system to another process.
    fn disown(self) {
        self.listener.disown();
        self.desk.disown();
        if let Some(file) = self.memory_file {
            file.leave();
        }
    }
}

/// Returns what the record of a server before says to one whose memory is `memory`.
fn predecessor(record: &Record, memory: (u64, u64)) -> Predecessor {
    Predecessor {
        pid: Some(record.pid).filter(|&pid| pid != 0),
        first_id: record.ids,
        memory: if record.memory == memory {
            Inheritance::Same
        } else {
            Inheritance::New
        },
    }
}
