// SPDX-License-Identifier: MIT OR Apache-2.0
//! Joining again when the server was ended or killed: [`Peer::reconnect`].
//!
//! The next server at the socket gives this peer another ID and other vectors, and whoever joins it knows only these. Those of
//! before know only the old ones: virtual machines, since QEMU does not join again, and all of them keep each other's
//! eventfds. So a peer that has joined again is a member of both groups: it rings both and is rung by both.

use std::fmt;
use std::path::Path;
use std::thread;
use std::time::Duration;

use ivshmem::PeerId;
use rustix::io::Errno;

use super::{ConnectError, Joined, Peer, Server};
use crate::deadline::Deadline;

/// How long to wait for a server before looking again whether it is there, at first and at most.
const PAUSES: (Duration, Duration) = (Duration::from_millis(5), Duration::from_millis(100));

/// Why a peer has not joined again. It is as it was: memory and vectors are usable.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ReconnectError {
    /// This peer is of plain memory, and was never in a server's group.
    NoServer,
    /// The server's memory is not the one that this peer has mapped.
    OtherMemory,
    /// The server cannot be joined.
    Connect(ConnectError),
}

impl fmt::Display for ReconnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoServer => write!(f, "there is no server, only memory"),
            Self::OtherMemory => write!(
                f,
                "the server that is there now has other memory than the one before; connect to it anew, \
                 and let it keep its memory in a file if that is not wanted"
            ),
            Self::Connect(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for ReconnectError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::NoServer | Self::OtherMemory => None,
            Self::Connect(error) => Some(error),
        }
    }
}

impl Peer {
    /// Returns whether its server is gone.
    pub(crate) const fn is_orphaned(&self) -> bool {
        matches!(self.server, Server::Gone)
    }

    /// Returns the path of the socket of its server.
    pub(crate) fn server_path(&self) -> Option<&Path> {
        self.path.as_deref()
    }

    /// Joins the server that is at the socket now, waiting for it for at most `limit`, and returns the new ID. With a connection
    /// that has not ended nothing is done.
    ///
    /// The mapping stays, if the server has the same memory. The peers and vectors are those that the new server announces;
    /// those of before can still be rung, until one of their IDs is announced anew, and their rings still arrive: at
    /// [`Peer::wait`] and [`Peer::wait_any`], but not at [`Peer::vector_fd`].
    ///
    /// # Errors
    ///
    /// - [`ReconnectError::NoServer`]: this peer has no server.
    /// - [`ReconnectError::OtherMemory`]: the server has other memory. It was left at once.
    /// - [`ReconnectError::Connect`]: no server can be joined, for the reasons of [`Peer::connect_within`].
    pub fn reconnect(&mut self, limit: Duration) -> Result<PeerId, ReconnectError> {
        let path = match (&self.server, self.id, &self.path) {
            (Server::There(_), Some(id), _) => return Ok(id),
            (_, _, Some(path)) => path,
            (_, _, None) => return Err(ReconnectError::NoServer),
        };
        let deadline = Deadline::after(limit);
        let mut pause = PAUSES.0;
        let joined = loop {
            match Joined::at(path, deadline) {
                Ok(joined) => break joined,
                Err(error) if is_absence(&error) && !deadline.remaining().is_zero() => {
                    thread::sleep(pause.min(deadline.remaining()));
                    pause = (2 * pause).min(PAUSES.1);
                }
                Err(error) => return Err(ReconnectError::Connect(error)),
            }
        };
        self.adopt(joined)
    }

    /// Takes the place in a server's group that was joined for this peer.
    pub(crate) fn adopt(&mut self, joined: Joined) -> Result<PeerId, ReconnectError> {
        if !self.mapping.is_same(&joined.mapping) {
            return Err(ReconnectError::OtherMemory);
        }
        self.former.keep(&self.session);
        for (peer, _) in joined.session.peers().chain([(joined.id, &[][..])]) {
            self.former.forget(peer);
        }
        self.id = Some(joined.id);
        self.session = joined.session;
        self.server = Server::There(joined.link);
        self.doorbells.take_in(joined.id, &self.session);
        Ok(joined.id)
    }
}

/// Returns whether `error` means that no server is there, or that one has ended meanwhile.
fn is_absence(error: &ConnectError) -> bool {
    match error {
        ConnectError::Open { error, .. } => matches!(*error, Errno::NOENT | Errno::CONNREFUSED),
        ConnectError::Closed(_) => true,
        _ => false,
    }
}
