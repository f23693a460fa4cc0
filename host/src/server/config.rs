// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a server is to be like.

use std::fmt;
use std::path::PathBuf;

use crate::admin;
use crate::protocol::MAX_VECTORS;
use crate::size::{self, SizeError};

/// The mode of the socket and of a new memory file unless another is asked for: the owner only.
///
/// Whoever can connect can read and write the shared memory, so opening it to others is a decision.
pub const DEFAULT_MODE: u32 = 0o600;

/// What holds the shared memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Backing {
    /// An anonymous file, sealed so that no client can change its size. It lives as
    /// long as the server or any client has it.
    Memfd,
    /// The file at this path, such as one in `/dev/shm`, for `memory-backend-file` or for tools.
    ///
    /// If absent it is created, with the mode and group of the socket. One that exists keeps
    /// contents, mode and group, and must have the configured size. The server never
    /// removes it once running: virtual machines live on after a server and may be using it.
    File(PathBuf),
}

/// Where a server answers requests about itself (see [`crate::admin`]).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
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
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Where the clients connect. The file next to it with `.lock` appended to the
    /// name keeps a second server away.
    pub socket: PathBuf,
    /// Size of the shared memory in bytes: a power of two, at least 4096.
    pub size_bytes: u64,
    /// Interrupt vectors of each client, 1 to 2048; at least as many as the devices have.
    pub vectors: u16,
    /// Permission bits of the socket and of a new memory file, at most 0o777, whatever the umask.
    pub mode: u32,
    /// Name or number of the group of the socket and of a new memory file; `None` for the process's own.
    pub group: Option<String>,
    /// What holds the shared memory.
    pub backing: Backing,
    /// Where the server answers requests about itself. That socket has the mode and the group of the other:
    /// whoever may connect there has the memory anyway.
    pub admin: AdminSocket,
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
            mode: DEFAULT_MODE,
            group: None,
            backing: Backing::Memfd,
            admin: AdminSocket::Beside,
        }
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

    /// Checks what can be checked without touching the system.
    ///
    /// # Errors
    ///
    /// - [`ConfigError::Size`]: the size cannot be that of a BAR.
    /// - [`ConfigError::Vectors`]: no vectors, or more than a device can have.
    /// - [`ConfigError::Mode`]: bits other than permissions.
    pub fn check(&self) -> Result<(), ConfigError> {
        size::check(self.size_bytes).map_err(ConfigError::Size)?;
        if !(1..=MAX_VECTORS).contains(&self.vectors) {
            return Err(ConfigError::Vectors {
                vectors: self.vectors,
            });
        }
        if self.mode > 0o777 {
            return Err(ConfigError::Mode { mode: self.mode });
        }
        Ok(())
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
            Self::Mode { mode } => write!(f, "the mode {mode:#o} is not within 0 to 0o777"),
        }
    }
}

impl std::error::Error for ConfigError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Size(error) => Some(error),
            Self::Vectors { .. } | Self::Mode { .. } => None,
        }
    }
}
