// SPDX-License-Identifier: MIT OR Apache-2.0
//! What can go wrong for a peer.

use std::fmt;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use ivshmem::{DeviceError, PeerId, VectorIndex};
use rustix::io::Errno;

use crate::dial::Unreachable;
use crate::mapping::MapError;
use crate::protocol::ProtocolError;

/// A failure to receive from the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ReceiveError {
    /// The server broke the protocol.
    Protocol(ProtocolError),
    /// A descriptor was lost: this process may open no more (`RLIMIT_NOFILE`), or the
    /// server attached more than one.
    DescriptorLost,
    /// The connection failed.
    System(Errno),
}

impl fmt::Display for ReceiveError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Protocol(error) => error.fmt(f),
            Self::DescriptorLost => write!(
                f,
                "a file descriptor was lost: the limit of open files is too low (ulimit -n), \
                 or the server attached several to one message"
            ),
            Self::System(error) => write!(f, "the connection to the server failed: {error}"),
        }
    }
}

impl std::error::Error for ReceiveError {}

impl From<ProtocolError> for ReceiveError {
    fn from(error: ProtocolError) -> Self {
        Self::Protocol(error)
    }
}

/// What a peer waits for while it joins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Step {
    /// A place in the server's queue of connections.
    Connection,
    /// The protocol version or the own ID.
    Identity,
    /// The shared memory.
    Memory,
    /// The first vector of its own.
    OwnVector,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Connection => "to be let in",
            Self::Identity => "for its ID",
            Self::Memory => "for the shared memory",
            Self::OwnVector => "for a vector of its own",
        })
    }
}

/// A failure to join a server.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConnectError {
    /// The socket cannot be connected to.
    Open {
        /// Its path.
        path: PathBuf,
        /// Why.
        error: Errno,
    },
    /// The time limit has passed.
    Timeout(Step),
    /// The server closed the connection.
    Closed(Step),
    /// The connection broke or the server broke the protocol.
    Receive(ReceiveError),
    /// The shared memory cannot be used.
    Memory(MapError),
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Open { path, error } => {
                let error = *error;
                Unreachable { path, error }.fmt(f)
            }
            Self::Timeout(step) => write!(
                f,
                "the server did not answer in time: waited {step}; see whether it is stopped or busy, or no ivshmem server"
            ),
            Self::Closed(step) => write!(
                f,
                "the server closed the connection: waited {step}; see whether it has ended, or is no ivshmem server"
            ),
            Self::Receive(error) => error.fmt(f),
            Self::Memory(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for ConnectError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Open { error, .. } => Some(error),
            Self::Receive(error) => Some(error),
            Self::Memory(error) => Some(error),
            Self::Timeout(_) | Self::Closed(_) => None,
        }
    }
}

impl From<ReceiveError> for ConnectError {
    fn from(error: ReceiveError) -> Self {
        Self::Receive(error)
    }
}

/// Why a file of shared memory cannot be opened, and what to do.
#[derive(Debug)]
pub(crate) struct Unopened<'a> {
    pub(crate) path: &'a Path,
    pub(crate) error: ErrorKind,
}

impl fmt::Display for Unopened<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let cure = match self.error {
            ErrorKind::NotFound | ErrorKind::NotADirectory | ErrorKind::IsADirectory => {
                "; give the path of the file that holds the memory"
            }
            ErrorKind::PermissionDenied => "; be its owner or of its group",
            _ => "",
        };
        let error = match self.error {
            ErrorKind::NotFound => "there is no such file".to_owned(),
            error => error.to_string(),
        };
        write!(f, "cannot open {}: {error}{cure}", self.path.display())
    }
}

/// A failure to open memory without a server.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum OpenError {
    /// The file cannot be opened.
    File {
        /// Its path.
        path: PathBuf,
        /// Why.
        error: ErrorKind,
    },
    /// The memory cannot be used.
    Memory(MapError),
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { path, error } => {
                let error = *error;
                Unopened { path, error }.fmt(f)
            }
            Self::Memory(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for OpenError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::File { .. } => None,
            Self::Memory(error) => Some(error),
        }
    }
}

/// A failure to receive an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum EventError {
    /// The connection has ended before, which has been reported.
    Disconnected,
    /// There is no server that could tell of events.
    NoServer,
    /// The connection broke or the server broke the protocol; it is closed now.
    Receive(ReceiveError),
}

impl fmt::Display for EventError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Disconnected => write!(f, "the connection to the server has ended"),
            Self::NoServer => write!(
                f,
                "this peer has memory without a server, so nobody tells who comes and goes"
            ),
            Self::Receive(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for EventError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Disconnected | Self::NoServer => None,
            Self::Receive(error) => Some(error),
        }
    }
}

/// A failure to ring, or to wait to be rung.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RingError {
    /// The peer is not there.
    UnknownPeer {
        /// The peer.
        peer: PeerId,
    },
    /// This peer itself has no such vector to wait for.
    NoVector {
        /// The vector.
        vector: VectorIndex,
        /// How many vectors this peer has; none without a server.
        vectors: usize,
    },
    /// The device of this machine, a guest, cannot ring.
    Device(DeviceError),
    /// The peer has no such vector.
    UnknownVector {
        /// The peer.
        peer: PeerId,
        /// The vector.
        vector: VectorIndex,
        /// How many vectors the peer has.
        vectors: usize,
    },
    /// The system refused.
    System(Errno),
}

impl fmt::Display for RingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownPeer { peer } => write!(f, "peer {peer} is not connected"),
            Self::UnknownVector {
                peer,
                vector,
                vectors,
            } => write!(
                f,
                "peer {peer} has no vector {vector}, only {vectors} from 0 up"
            ),
            Self::Device(error) => error.fmt(f),
            Self::NoVector { vector, vectors } => write!(
                f,
                "this peer has no vector {vector} to wait for: it has {vectors}"
            ),
            Self::System(error) => write!(f, "the eventfd of the vector failed: {error}"),
        }
    }
}

impl std::error::Error for RingError {}
