// SPDX-License-Identifier: MIT OR Apache-2.0
//! Why a server did not answer.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::io::Errno;

use super::status::FORMAT;
use crate::dial::Unreachable;

/// A request to a server that has failed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AdminError {
    /// Nobody listens at the socket.
    NoServer {
        /// Path of the socket.
        socket: PathBuf,
    },
    /// There is a socket for clients, but no admin socket beside it.
    NoAdminSocket {
        /// Path of the socket for clients.
        socket: PathBuf,
    },
    /// This process may not connect.
    Denied {
        /// Path of the admin socket.
        path: PathBuf,
    },
    /// The time limit has passed.
    Timeout {
        /// Path of the admin socket.
        path: PathBuf,
        /// The limit.
        limit: Duration,
    },
    /// The connection ended before the answer.
    Closed {
        /// Path of the admin socket.
        path: PathBuf,
    },
    /// The server does not do what it was asked for.
    Refused {
        /// What it says.
        message: String,
    },
    /// The answer cannot be understood.
    Answer {
        /// Path of the admin socket.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// The answer is of a version that this program does not know.
    Format {
        /// The version found.
        found: u32,
    },
    /// The answer came without the descriptor: this process may open no more (`RLIMIT_NOFILE`).
    DescriptorLost,
    /// The system refused another step.
    System {
        /// Path of the admin socket.
        path: PathBuf,
        /// Why.
        error: Errno,
    },
}

impl fmt::Display for AdminError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoServer { socket } => unreachable(socket, Errno::NOENT).fmt(f),
            Self::NoAdminSocket { socket } => write!(
                f,
                "the server at {} has no admin socket beside it: it was started without, with another path, \
                 or is another program",
                socket.display()
            ),
            Self::Denied { path } => unreachable(path, Errno::ACCESS).fmt(f),
            Self::Timeout { path, limit } => write!(
                f,
                "the server at {} did not answer within {limit:?}: see whether it is stopped or busy",
                path.display()
            ),
            Self::Closed { path } => write!(
                f,
                "the server at {} closed the connection without an answer: it has ended, or too many ask; try again",
                path.display()
            ),
            Self::Refused { message } => write!(f, "the server refused: {message}"),
            Self::Answer { path, problem } => write!(
                f,
                "what listens at {} answers what cannot be understood ({problem}): is it an ivshmem server?",
                path.display()
            ),
            Self::Format { found } => write!(
                f,
                "the server's answer is of format {found}, this program knows {FORMAT}: use the program of \
                 the server's version"
            ),
            Self::DescriptorLost => write!(
                f,
                "the shared memory's descriptor was lost: the limit of open files is too low (ulimit -n)"
            ),
            Self::System { path, error } => unreachable(path, *error).fmt(f),
        }
    }
}

const fn unreachable(path: &Path, error: Errno) -> Unreachable<'_> {
    Unreachable { path, error }
}

impl std::error::Error for AdminError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::System { error, .. } => Some(error),
            _ => None,
        }
    }
}
