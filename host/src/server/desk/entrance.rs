// SPDX-License-Identifier: MIT OR Apache-2.0
//! A listening socket that callers connect to.

use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::{accept_with, SocketFlags};

use super::super::socket::Listener;
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

    /// Accepts one waiting connection; `WOULDBLOCK` if there is none.
    pub(super) fn accept(&self) -> rustix::io::Result<OwnedFd> {
        accept_with(self, SocketFlags::NONBLOCK | SocketFlags::CLOEXEC)
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
