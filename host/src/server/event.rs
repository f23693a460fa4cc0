// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a running server reports.

use std::fmt;
use std::time::Duration;

use ivshmem::PeerId;
use rustix::io::Errno;

pub use super::client::Fault;
use super::handover::HandoverError;

/// An event in the life of a server; its `Display` is one line for a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// A client has connected and got an ID.
    Joined {
        /// Its ID.
        peer: PeerId,
        /// The process that connected, if it can be seen from here.
        pid: Option<i32>,
        /// Clients connected now.
        connected: usize,
    },
    /// A client has closed its connection or died.
    Left {
        /// Its ID.
        peer: PeerId,
        /// Clients connected now.
        connected: usize,
    },
    /// The server has closed the connection of a client.
    CutOff {
        /// Its ID.
        peer: PeerId,
        /// Why.
        fault: Fault,
        /// Clients connected now.
        connected: usize,
    },
    /// A client has been turned away.
    Refused {
        /// The process that connected, if it can be seen from here.
        pid: Option<i32>,
        /// Why.
        reason: Refusal,
    },
    /// A connection could not be accepted; it waits, and is tried again.
    AcceptFailed(Errno),
    /// The server serves; reported as often as [`report_alive`](super::Server::report_alive) asks for.
    Alive,
    /// Another process goes on in place of this server, which ends.
    HandedOver {
        /// That process, if it can be seen from here.
        pid: Option<i32>,
        /// Clients connected now.
        connected: usize,
        /// For how long nobody was served.
        took: Duration,
    },
    /// Another process has not taken over, and this server goes on.
    HandoverFailed(HandoverError),
    /// The server stops.
    Stopping {
        /// Clients connected now.
        connected: usize,
    },
}

/// How a server has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// It was stopped, and its clients know.
    Stopped,
    /// Another process goes on in its place, and no client knows.
    HandedOver,
}

/// Why a client is turned away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Refusal {
    /// As many clients as the limit allows are connected.
    Full {
        /// The limit.
        limit: usize,
    },
    /// Every ID has been used, and none may be used again while clients are connected.
    NoIdLeft,
    /// The system has no eventfd for it.
    System(Errno),
    /// The system does not let the server watch its connection.
    Watch(Errno),
}

impl Event {
    /// Returns the number of clients connected after the event, if the event concerns it.
    #[must_use]
    pub const fn connected(&self) -> Option<usize> {
        match *self {
            Self::Joined { connected, .. }
            | Self::Left { connected, .. }
            | Self::CutOff { connected, .. }
            | Self::HandedOver { connected, .. }
            | Self::Stopping { connected } => Some(connected),
            Self::Refused { .. }
            | Self::AcceptFailed(_)
            | Self::HandoverFailed(_)
            | Self::Alive => None,
        }
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Joined {
                peer,
                pid,
                connected,
            } => write!(
                f,
                "peer {peer} joined{}, {connected} connected",
                Process(*pid)
            ),
            Self::Left { peer, connected } => write!(f, "peer {peer} left, {connected} connected"),
            Self::CutOff {
                peer,
                fault,
                connected,
            } => write!(f, "peer {peer} cut off: {fault}, {connected} connected"),
            Self::Refused { pid, reason } => {
                write!(f, "refused a client{}: {reason}", Process(*pid))
            }
            Self::AcceptFailed(error) => {
                write!(f, "cannot accept a connection, will try again: {error}")
            }
            Self::Alive => f.write_str("serving"),
            Self::HandedOver {
                pid,
                connected,
                took,
            } => write!(
                f,
                "handed over{}, {connected} connected, nobody served for {} ms",
                Process(*pid),
                took.as_millis()
            ),
            Self::HandoverFailed(error) => write!(f, "not handed over, going on: {error}"),
            Self::Stopping { connected } => write!(f, "stopping, {connected} connected"),
        }
    }
}

/// The process that a client is, if known.
struct Process(Option<i32>);

impl fmt::Display for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(pid) => write!(f, " (process {pid})"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full { limit } => write!(f, "{limit} are connected, which is the limit"),
            Self::NoIdLeft => write!(
                f,
                "every ID has been used; restart the server once its clients have stopped"
            ),
            Self::System(error) => write!(f, "no eventfd for it: {error}"),
            Self::Watch(error) => write!(f, "its connection cannot be watched: {error}"),
        }
    }
}
