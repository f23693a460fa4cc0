// SPDX-License-Identifier: MIT OR Apache-2.0
//! What can end the demo or the benchmark early.

use std::fmt;
use std::io;
use std::path::PathBuf;

use ivshmem_host::mapping::MapError;
use ivshmem_host::peer::{ConnectError, EventError};
use ivshmem_host::server::BindError;

use crate::build::BuildError;
use crate::qemu::VmError;

/// Why the demo or the benchmark ended early.
#[derive(Debug)]
#[non_exhaustive]
pub enum PartyError {
    /// The kernel did not build.
    Build(BuildError),
    /// The server did not start.
    Server(BindError),
    /// This process could not join the server.
    Join(ConnectError),
    /// This process lost the server.
    Event(EventError),
    /// The shared memory cannot be mapped.
    Map(MapError),
    /// The server did not announce both guests' vectors in time.
    NotWired,
    /// A guest failed, or did not say in time what it should.
    Guest(VmError),
    /// A guest said something that is not understood.
    Line(String),
    /// A conversation with a guest broke off; the text has the guests' logs.
    Conversation(String),
    /// The figures could not be written.
    Json {
        /// To which file.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// The system refused something else.
    Io(io::Error),
    /// Ctrl-C.
    Interrupted,
}

impl fmt::Display for PartyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Build(error) => error.fmt(f),
            Self::Server(error) => error.fmt(f),
            Self::Join(error) => write!(f, "the host peer cannot join: {error}"),
            Self::Event(error) => write!(f, "the host peer lost the server: {error}"),
            Self::Map(error) => error.fmt(f),
            Self::NotWired => write!(
                f,
                "the server did not announce the guests' vectors to the host peer in time"
            ),
            Self::Guest(error) => error.fmt(f),
            Self::Line(line) => write!(f, "a guest said something unexpected: {line}"),
            Self::Conversation(text) => f.write_str(text),
            Self::Json { path, error } => write!(
                f,
                "cannot write the figures to {}: {error}; give --json a path that can be written",
                path.display()
            ),
            Self::Io(error) => error.fmt(f),
            Self::Interrupted => write!(f, "interrupted; everything is stopped"),
        }
    }
}

impl std::error::Error for PartyError {}

impl From<BuildError> for PartyError {
    fn from(error: BuildError) -> Self {
        Self::Build(error)
    }
}

impl From<BindError> for PartyError {
    fn from(error: BindError) -> Self {
        Self::Server(error)
    }
}

impl From<ConnectError> for PartyError {
    fn from(error: ConnectError) -> Self {
        Self::Join(error)
    }
}

impl From<EventError> for PartyError {
    fn from(error: EventError) -> Self {
        Self::Event(error)
    }
}

impl From<MapError> for PartyError {
    fn from(error: MapError) -> Self {
        Self::Map(error)
    }
}

impl From<VmError> for PartyError {
    fn from(error: VmError) -> Self {
        Self::Guest(error)
    }
}

impl From<io::Error> for PartyError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}
