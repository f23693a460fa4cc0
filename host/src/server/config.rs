// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a server is to be like.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::access::Access;
use super::backing::{is_posix_name, Backing, FileAtEnd};
use super::desk::{ADMIN_DESCRIPTORS, METRICS_DESCRIPTORS};
use super::limits::MAX_CLIENTS;
use super::named_file::absolute;
use crate::admin;
use crate::protocol::MAX_VECTORS;
use crate::size::{self, SizeError};

/// Where a server answers requests about itself (see [`crate::admin`]).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum AdminSocket {
    /// At the path of the socket with `.admin` appended to the name, where
    /// [`Admin::of`](crate::admin::Admin::of) looks for it.
    #[default]
    Beside,
    /// At this path.
    At(PathBuf),
    /// Nowhere.
    Off,
}

/// The configuration of a server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Config {
    /// Where the clients connect. The file next to it with `.lock` appended to the
    /// name keeps a second server away.
    pub socket: PathBuf,
    /// Size of the shared memory in bytes: a power of two, at least 4096.
    pub size_bytes: u64,
    /// Interrupt vectors of each client, 1 to 2048; at least as many as the devices have.
    pub vectors: u16,
    /// The most clients at once, 1 to [`MAX_CLIENTS`]; `None` for as many as the file descriptors
    /// of the process allow.
    pub max_clients: Option<usize>,
    /// Who may connect.
    pub access: Access,
    /// Who may open a new memory file; `None` for whoever may connect.
    pub memory_access: Option<Access>,
    /// What holds the shared memory.
    pub backing: Backing,
    /// What becomes of the file of the shared memory, if it has a name, when the server ends.
    pub file_at_end: FileAtEnd,
    /// Where the server answers requests about itself. That socket has the access of the other:
    /// whoever may connect there has the memory anyway.
    pub admin: AdminSocket,
    /// Where the server gives its metrics to Prometheus and the like, by HTTP; port 0 for a free one. Whoever
    /// reaches that address may read them: who is connected, and how busy everybody is.
    pub metrics: Option<SocketAddr>,
}

impl Config {
    /// Creates the configuration of a server at `socket` with a sealed memfd of `size_bytes` and
    /// `vectors` vectors for each client, open to the owner only, with an admin socket beside it.
    #[must_use]
    pub fn new(socket: impl Into<PathBuf>, size_bytes: u64, vectors: u16) -> Self {
        Self {
            socket: socket.into(),
            size_bytes,
            vectors,
            max_clients: None,
            access: Access::default(),
            memory_access: None,
            backing: Backing::Memfd,
            file_at_end: FileAtEnd::Keep,
            admin: AdminSocket::Beside,
            metrics: None,
        }
    }

    /// Returns the same for a process in another folder.
    pub(super) fn to_absolute(&self) -> Self {
        let mut config = self.clone();
        config.socket = absolute(&config.socket);
        if let AdminSocket::At(path) = &mut config.admin {
            *path = absolute(path);
        }
        if let Backing::File(path) | Backing::Unlinked(path) = &mut config.backing {
            *path = absolute(path);
        }
        config
    }

    /// Returns how many descriptors are needed beside those for clients.
    pub(super) const fn other_descriptors(&self) -> u64 {
        let for_admin = match self.admin {
            AdminSocket::Off => 0,
            AdminSocket::Beside | AdminSocket::At(_) => ADMIN_DESCRIPTORS,
        };
        let for_metrics = match self.metrics {
            Some(_) => METRICS_DESCRIPTORS,
            None => 0,
        };
        for_admin + for_metrics
    }

    /// Returns the path of the admin socket, if there is to be one.
    #[must_use]
    pub fn admin_path(&self) -> Option<PathBuf> {
        match &self.admin {
            AdminSocket::Beside => Some(admin::socket_beside(&self.socket)),
            AdminSocket::At(path) => Some(path.clone()),
            AdminSocket::Off => None,
        }
    }

    /// Returns who may open a new memory file.
    #[must_use]
    pub fn memory_access(&self) -> &Access {
        self.memory_access.as_ref().unwrap_or(&self.access)
    }

    /// Checks what can be checked without touching the system.
    ///
    /// # Errors
    ///
    /// - [`ConfigError::Size`]: the size cannot be that of a BAR.
    /// - [`ConfigError::Vectors`]: no vectors, or more than a device can have.
    /// - [`ConfigError::MaxClients`]: no clients, or more than this program serves.
    /// - [`ConfigError::PosixName`]: a name that `shm_open` does not take.
    /// - [`ConfigError::AdminSocket`]: it would be where the clients connect.
    /// - [`ConfigError::Mode`]: bits other than permissions.
    pub fn check(&self) -> Result<(), ConfigError> {
        size::check(self.size_bytes).map_err(ConfigError::Size)?;
        if matches!(&self.admin, AdminSocket::At(path) if *path == self.socket) {
            return Err(ConfigError::AdminSocket {
                path: self.socket.clone(),
            });
        }
        if !(1..=MAX_VECTORS).contains(&self.vectors) {
            return Err(ConfigError::Vectors {
                vectors: self.vectors,
            });
        }
        if let Some(clients) = self.max_clients.filter(|n| !(1..=MAX_CLIENTS).contains(n)) {
            return Err(ConfigError::MaxClients { clients });
        }
        match &self.backing {
            Backing::Posix(name) if !is_posix_name(name) => {
                return Err(ConfigError::PosixName { name: name.clone() });
            }
            _ => {}
        }
        match [&self.access, self.memory_access()].map(|access| access.mode) {
            [mode, _] | [_, mode] if mode > 0o777 => Err(ConfigError::Mode { mode }),
            _ => Ok(()),
        }
    }
}

/// A configuration that no server can have.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConfigError {
    /// The size of the shared memory is wrong.
    Size(SizeError),
    /// The number of vectors is wrong.
    Vectors {
        /// The number asked for.
        vectors: u16,
    },
    /// The number of clients is wrong.
    MaxClients {
        /// The number asked for.
        clients: usize,
    },
    /// The name of the POSIX shared memory object is not one.
    PosixName {
        /// The name asked for.
        name: String,
    },
    /// The admin socket has the path of the socket.
    AdminSocket {
        /// The path of both.
        path: PathBuf,
    },
    /// The mode has bits other than permissions.
    Mode {
        /// The mode asked for.
        mode: u32,
    },
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Size(error) => error.fmt(f),
            Self::Vectors { vectors } => {
                write!(f, "{vectors} vectors are not within 1 to {MAX_VECTORS}")
            }
            Self::MaxClients { clients } => {
                write!(f, "{clients} clients are not within 1 to {MAX_CLIENTS}")
            }
            Self::PosixName { name } => write!(
                f,
                "'{name}' cannot name a POSIX shared memory object: write one component of a path, such as ivshmem"
            ),
            Self::AdminSocket { path } => write!(
                f,
                "the admin socket cannot be at {} too, where the clients connect: give it another path",
                path.display()
            ),
            Self::Mode { mode } => write!(f, "the mode {mode:#o} is not within 0 to 0o777"),
        }
    }
}

impl std::error::Error for ConfigError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Size(error) => Some(error),
            _ => None,
        }
    }
}
