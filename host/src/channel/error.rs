// SPDX-License-Identifier: MIT OR Apache-2.0
//! What can go wrong for a host process in a region.

use std::fmt;
use std::io::ErrorKind;
use std::path::PathBuf;

use ivshmem::channel::{self, Broken, Name, OpenError};
use rustix::io::Errno;

use crate::mapping::MapError;
use crate::pci;
use crate::peer;

/// Why a process could not become a member.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum JoinError {
    /// The server cannot be joined.
    Server(peer::ConnectError),
    /// The file cannot be opened.
    File {
        /// Its path.
        path: PathBuf,
        /// Why.
        error: ErrorKind,
    },
    /// The memory cannot be mapped.
    Memory(MapError),
    /// The device of this machine, a guest, cannot be opened.
    Pci(pci::OpenError),
    /// The memory cannot be used as a region.
    Region(OpenError),
    /// There is no slot.
    Member(channel::JoinError),
    /// No slot was decided on within the time.
    TimedOut,
    /// The system has no descriptor or no thread left.
    System(ErrorKind),
}

impl fmt::Display for JoinError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Server(error) => error.fmt(f),
            Self::File { path, error } => {
                let error = *error;
                peer::Unopened { path, error }.fmt(f)
            }
            Self::Memory(error) => error.fmt(f),
            Self::Pci(error) => error.fmt(f),
            Self::Region(error) => error.fmt(f),
            Self::Member(error) => error.fmt(f),
            Self::TimedOut => write!(
                f,
                "others took every slot that became free for as long as this one tried; try again"
            ),
            Self::System(error) => write!(
                f,
                "the system refused a descriptor or a thread ({error}); see ulimit -n and ulimit -u"
            ),
        }
    }
}

impl std::error::Error for JoinError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Server(error) => Some(error),
            Self::Memory(error) => Some(error),
            Self::Pci(error) => Some(error),
            Self::Region(error) => Some(error),
            Self::Member(error) => Some(error),
            Self::File { .. } | Self::TimedOut | Self::System(_) => None,
        }
    }
}

impl From<peer::OpenError> for JoinError {
    fn from(error: peer::OpenError) -> Self {
        match error {
            peer::OpenError::File { path, error } => Self::File { path, error },
            peer::OpenError::Memory(error) => Self::Memory(error),
        }
    }
}

/// Why there is no connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConnectError {
    /// Nobody of that name was there within the time who lives and was not connected to before.
    NobodyThere {
        /// The name.
        name: Name,
    },
    /// There can be no connection to that slot now.
    Slot(channel::ConnectError),
    /// This member has lost its slot. Join again.
    Evicted,
    /// The system has no descriptor left.
    System(Errno),
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NobodyThere { name } => write!(
                f,
                "nobody named {name} was there in time whom this member was not connected to already"
            ),
            Self::Slot(error) => error.fmt(f),
            Self::Evicted => Broken::Evicted.fmt(f),
            Self::System(error) => {
                write!(f, "the system refused a descriptor for waiting: {error}")
            }
        }
    }
}

impl std::error::Error for ConnectError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Slot(error) => Some(error),
            Self::NobodyThere { .. } | Self::Evicted | Self::System(_) => None,
        }
    }
}

/// Why a message was not sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SendError {
    /// There was not room enough within the time. The peer does not receive the message.
    TimedOut,
    /// The peer shows no signs of life, and there is no room. The connection goes on if it does again.
    PeerDied,
    /// The connection has come to its end.
    Broken(Broken),
}

impl fmt::Display for SendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TimedOut => write!(f, "the peer did not make room for the message in time"),
            Self::PeerDied => f.write_str(PEER_DIED),
            Self::Broken(broken) => broken.fmt(f),
        }
    }
}

impl std::error::Error for SendError {}

impl From<Broken> for SendError {
    fn from(broken: Broken) -> Self {
        Self::Broken(broken)
    }
}

/// Why no message was received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RecvError {
    /// The message is longer than this program accepts. It is dropped; the next one can be received.
    TooLong {
        /// The longest that is accepted, in bytes.
        longest: usize,
    },
    /// The peer shows no signs of life, and what it had sent is received. The connection goes on if it does again.
    PeerDied,
    /// The connection has come to its end.
    Broken(Broken),
}

impl fmt::Display for RecvError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLong { longest } => write!(
                f,
                "the message was longer than the {longest} bytes that this program accepts, and is dropped"
            ),
            Self::PeerDied => f.write_str(PEER_DIED),
            Self::Broken(broken) => broken.fmt(f),
        }
    }
}

impl std::error::Error for RecvError {}

impl From<Broken> for RecvError {
    fn from(broken: Broken) -> Self {
        Self::Broken(broken)
    }
}

const PEER_DIED: &str =
    "the peer shows no signs of life; wait for it, or connect to it when it has restarted";
