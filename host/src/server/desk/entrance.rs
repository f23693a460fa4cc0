// SPDX-License-Identifier: MIT OR Apache-2.0
//! A listening socket that callers connect to.

use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::{accept_with, SocketFlags};

use super::super::handover::SavedEntrance;
use super::super::socket::{Listener, ListenerParts};
use super::super::BindError;

/// A listening socket.
#[derive(Debug)]
pub(in crate::server) enum Entrance {
    /// In the file system.
    Unix(Listener),
    /// Over TCP.
    Tcp(TcpListener),
}

impl Entrance {
    /// Listens at `address`, and returns it with the port that it has got.
    pub(in crate::server) fn at(address: SocketAddr) -> Result<(Self, SocketAddr), BindError> {
        let listen = || {
            let listener = TcpListener::bind(address)?;
            listener.set_nonblocking(true)?;
            let address = listener.local_addr()?;
            Ok((Self::Tcp(listener), address))
        };
        listen().map_err(|error: std::io::Error| BindError::Metrics {
            address,
            error: Errno::from_io_error(&error).unwrap_or(Errno::INVAL),
        })
    }

    /// Describes it, apart from its descriptors.
    pub(in crate::server) fn save(&self) -> SavedEntrance {
        match self {
            Self::Unix(listener) => SavedEntrance::Unix(listener.save()),
            Self::Tcp(_) => SavedEntrance::Tcp,
        }
    }

    /// Returns its descriptors, as many as [`SavedEntrance::descriptors`] says.
    pub(in crate::server) fn descriptors(&self) -> Vec<BorrowedFd<'_>> {
        match self {
            Self::Unix(listener) => listener.descriptors().collect(),
            Self::Tcp(listener) => vec![listener.as_fd()],
        }
    }

    /// Leaves it to another process, which has the descriptors too.
    pub(super) fn disown(self) {
        match self {
            Self::Unix(listener) => listener.disown(),
            Self::Tcp(_) => {}
        }
    }

    /// Accepts one waiting connection; `WOULDBLOCK` if there is none.
    pub(super) fn accept(&self) -> rustix::io::Result<OwnedFd> {
        accept_with(self, SocketFlags::NONBLOCK | SocketFlags::CLOEXEC)
    }
}

/// What makes an entrance that another process had. To drop it leaves files alone.
#[derive(Debug)]
pub(in crate::server) enum EntranceParts {
    Unix(ListenerParts),
    Tcp(OwnedFd),
}

impl EntranceParts {
    /// Puts together what belongs together; nothing if a descriptor is missing.
    pub(in crate::server) fn of(
        saved: SavedEntrance,
        descriptors: &mut impl Iterator<Item = OwnedFd>,
    ) -> Option<Self> {
        Some(match saved {
            SavedEntrance::Unix(saved) => Self::Unix(ListenerParts::of(saved, descriptors)?),
            SavedEntrance::Tcp => Self::Tcp(descriptors.next()?),
        })
    }

    /// Makes the entrance, which has its files.
    pub(in crate::server) fn assemble(self) -> Entrance {
        match self {
            Self::Unix(parts) => Entrance::Unix(parts.assemble()),
            Self::Tcp(socket) => Entrance::Tcp(socket.into()),
        }
    }
}

impl AsFd for Entrance {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Unix(listener) => listener.as_fd(),
            Self::Tcp(listener) => listener.as_fd(),
        }
    }
}
