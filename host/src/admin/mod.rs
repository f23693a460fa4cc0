// SPDX-License-Identifier: MIT OR Apache-2.0
//! Asking a running server: how it is, and for its memory, without joining it.
//!
//! A server answers at its admin socket, which is beside the socket for clients: the same path with `.admin`
//! appended. A connection is one request, a line, and its answer:
//!
//! | request | answer |
//! | --- | --- |
//! | `status` | [`Status`] as one JSON document |
//! | `metrics` | the same in Prometheus' text format, see [`Status::to_prometheus`] |
//! | `memory` | `{"bytes":N}` and a newline, with the descriptor of the shared memory attached (`SCM_RIGHTS`) |
//! | `handover` | everything: [`Server::take_over`](crate::server::Server::take_over) |
//! | anything else | `{"error":"..."}` and a newline |
//!
//! After the answer the server ends the connection. It also ends those that have not made their request or have not read the
//! answer within [`PATIENCE`], and the oldest when there are more than [`MAX_CONNECTIONS`].
//!
//! ```
//! use ivshmem_host::admin::Admin;
//! use ivshmem_host::mapping::Mapping;
//! use ivshmem_host::server::{Config, Server};
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let directory = tempfile::tempdir()?;
//! # let path = directory.path().join("ivshmem.sock");
//! let server = Server::spawn(Config::new(&path, 1 << 20, 2))?;
//! let admin = Admin::of(server.socket());
//! let status = admin.status()?;
//! assert_eq!((status.memory.bytes, status.peers.len()), (1 << 20, 0));
//! let mapping = Mapping::of(admin.memory()?)?;
//! mapping.memory().write(0, b"hello")?;
//! # Ok(())
//! # }
//! ```

mod error;
mod exchange;
mod metrics;
mod status;

use std::ffi::OsString;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{fstat, FileType};
use serde::de::DeserializeOwned;
use serde::Deserialize;

pub use error::AdminError;
pub use status::{
    Clients, Counters, CutOff, Doorbells, Ids, Memory, Peer, Refused, Status, FORMAT,
};

use crate::deadline::Deadline;
use exchange::{exchange, Answer};

/// How long a request may take, from connecting to the end of the answer, unless said otherwise.
pub const REQUEST_LIMIT: Duration = Duration::from_secs(5);

/// How long a server waits for a request, and for its answer to be read.
pub const PATIENCE: Duration = Duration::from_secs(5);

/// How many connections a server has at once at its admin socket.
pub const MAX_CONNECTIONS: usize = 8;

/// Returns the path of the admin socket of the server whose clients connect to `socket`.
#[must_use]
pub fn socket_beside(socket: &Path) -> PathBuf {
    let mut path = OsString::from(socket);
    path.push(".admin");
    path.into()
}

/// The request for the status.
pub(crate) const STATUS: &str = "status";
/// The request for all that the server has, by one that is to go on in its place.
pub(crate) const HANDOVER: &str = "handover";
/// The request for the metrics.
pub(crate) const METRICS: &str = "metrics";
/// The request for the memory.
pub(crate) const MEMORY: &str = "memory";

/// A server to be asked. Each request makes a connection of its own.
#[derive(Clone, Debug)]
pub struct Admin {
    path: PathBuf,
    /// The socket for clients, if that was given.
    socket: Option<PathBuf>,
    limit: Duration,
}

impl Admin {
    /// Names the server whose clients connect to `socket`; its admin socket is beside that.
    #[must_use]
    pub fn of(socket: impl AsRef<Path>) -> Self {
        let socket = socket.as_ref();
        Self {
            path: socket_beside(socket),
            socket: Some(socket.to_owned()),
            limit: REQUEST_LIMIT,
        }
    }

    /// Names the server whose admin socket is at `path`.
    #[must_use]
    pub fn at(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            socket: None,
            limit: REQUEST_LIMIT,
        }
    }

    /// Sets how long each request may take.
    #[must_use]
    pub const fn within(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    /// Returns the path of the admin socket.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Asks how the server is.
    ///
    /// # Errors
    ///
    /// - [`AdminError::NoServer`], [`AdminError::NoAdminSocket`], [`AdminError::Denied`]: there is nobody to ask.
    /// - [`AdminError::Timeout`], [`AdminError::Closed`], [`AdminError::System`]: the connection failed.
    /// - [`AdminError::Answer`], [`AdminError::Format`]: the answer makes no sense to this version.
    pub fn status(&self) -> Result<Status, AdminError> {
        let answer = self.request(STATUS)?;
        let Version { format } = self.parse(&answer)?;
        if format != FORMAT {
            return Err(AdminError::Format { found: format });
        }
        self.parse(&answer)
    }

    /// Asks for the metrics, in Prometheus' text format.
    ///
    /// # Errors
    ///
    /// Those of [`Admin::status`], but for the last two.
    pub fn metrics(&self) -> Result<String, AdminError> {
        Ok(self.request(METRICS)?.text)
    }

    /// Asks for the shared memory, to be mapped with [`Mapping::of`](crate::mapping::Mapping::of).
    ///
    /// Unlike joining, this uses up no ID, and no peer hears of it.
    ///
    /// # Errors
    ///
    /// - [`AdminError::DescriptorLost`]: this process may open no more files.
    /// - [`AdminError::Answer`]: no memory came along.
    /// - Those of [`Admin::status`].
    pub fn memory(&self) -> Result<OwnedFd, AdminError> {
        let answer = self.request(MEMORY)?;
        // A memfd is a plain file, too; of anything else reading or mapping may have effects.
        let is_memory = |fd: &OwnedFd| {
            fstat(fd).is_ok_and(|stat| {
                FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile && stat.st_size > 0
            })
        };
        let memory = answer.descriptor.filter(is_memory);
        memory.ok_or_else(|| AdminError::Answer {
            path: self.path.clone(),
            problem: "no memory came along".to_owned(),
        })
    }

    /// Makes `request` and returns the answer, unless it is an error.
    fn request(&self, request: &str) -> Result<Answer, AdminError> {
        let answer = exchange(self, request, Deadline::after(self.limit))?;
        if answer.text.starts_with(ERROR_START) {
            let Complaint { error } = self.parse(&answer)?;
            return Err(AdminError::Refused { message: error });
        }
        Ok(answer)
    }

    fn parse<T: DeserializeOwned>(&self, answer: &Answer) -> Result<T, AdminError> {
        serde_json::from_str(&answer.text).map_err(|error| AdminError::Answer {
            path: self.path.clone(),
            problem: error.to_string(),
        })
    }
}

/// What the answer to a wrong request begins with.
const ERROR_START: &str = "{\"error\":";

/// The answer to a wrong request.
#[derive(Deserialize)]
struct Complaint {
    error: String,
}

/// What of a status is the same in all versions.
#[derive(Deserialize)]
struct Version {
    format: u32,
}
