// SPDX-License-Identifier: MIT OR Apache-2.0
//! The client's side of a server's socket: [`Connection`].

use std::fmt;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::io::Errno;
use rustix::net::{connect, socket_with, AddressFamily, SocketAddrUnix, SocketFlags, SocketType};

use super::greeting::Greeting;
use super::socket::{check_room, receive, Incoming, ReceiveError};
use super::{Fd, FdError};
use crate::ServerError;

/// Bytes of a message.
pub(super) const MESSAGE_LEN: usize = 8;

/// A stream socket with a server at the other end.
#[derive(Debug)]
pub struct Connection {
    socket: OwnedFd,
    greeting: Greeting,
}

/// What a server speaks.
///
/// The historic devices know no versions, but every server since QEMU 2.5 begins with one. An [`Attachment`](super::Attachment) of a
/// historic device to such a server checks that message and keeps it from the device.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// Version 0: that of QEMU 2.5 and later, of `ivshmem-server` and of `ivshmem server`.
    #[default]
    Version0,
    /// The one before versions (until QEMU 2.4): the first message is the client's ID.
    Unversioned,
}

/// What has come of a message.
#[derive(Debug)]
pub(super) enum Received {
    Nothing,
    End,
    Piece {
        bytes: [u8; MESSAGE_LEN],
        len: usize,
        descriptors: Vec<Fd>,
    },
}

impl Connection {
    /// Connects to the server whose socket is at `path`, without waiting.
    ///
    /// # Errors
    ///
    /// - [`ConnectError`]: nobody listens there, more clients are waiting than the server permits, or the path is none.
    pub fn open(path: &Path) -> Result<Self, ConnectError> {
        let failed = |error| ConnectError {
            path: path.to_owned(),
            error,
        };
        let address = SocketAddrUnix::new(path).map_err(failed)?;
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let socket =
            socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None).map_err(failed)?;
        connect(&socket, &address).map_err(failed)?;
        Ok(socket.into())
    }

    /// Expects the greeting that the device does not understand.
    pub(super) fn strip_version(&mut self) {
        self.greeting = Greeting::expected();
    }

    /// Receives at most `wanted` bytes, or of the greeting what is missing.
    pub(super) fn receive(&mut self, wanted: usize) -> Result<Received, ConnectionError> {
        let mut bytes = [0; MESSAGE_LEN];
        let wanted = self
            .greeting
            .wanted()
            .unwrap_or(wanted)
            .clamp(1, MESSAGE_LEN);
        let mut files = Vec::new();
        let len = match receive(&self.socket, &mut bytes[..wanted], &mut files)? {
            Incoming::Nothing => return Ok(Received::Nothing),
            Incoming::End => return Ok(Received::End),
            // Without its descriptor a message would have another meaning.
            Incoming::Bytes { is_lossy: true, .. } => {
                return Err(ReceiveError::DescriptorsLost.into())
            }
            Incoming::Bytes { len, .. } => len,
        };
        check_room(&files)?;
        let descriptors = files
            .into_iter()
            .map(Fd::new)
            .collect::<Result<Vec<_>, _>>()?;
        let is_device_s =
            self.greeting
                .pass(&bytes[..len], len == wanted, !descriptors.is_empty())?;
        Ok(if is_device_s {
            Received::Piece {
                bytes,
                len,
                descriptors,
            }
        } else {
            Received::Nothing
        })
    }
}

impl From<OwnedFd> for Connection {
    /// Takes a stream socket that is connected to a server, in whatever mode it is.
    fn from(socket: OwnedFd) -> Self {
        Self {
            socket,
            greeting: Greeting::None,
        }
    }
}

impl AsFd for Connection {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// A server that could not be connected to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectError {
    /// The path of its socket.
    pub path: PathBuf,
    /// Why.
    pub error: Errno,
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hint = match self.error {
            Errno::NOENT | Errno::CONNREFUSED => "; start the server first",
            Errno::AGAIN => "; it has too many clients waiting, try again later",
            Errno::NAMETOOLONG => "; a socket's path has at most 107 bytes",
            _ => "",
        };
        write!(
            f,
            "cannot connect to the server at {}: {}{hint}",
            self.path.display(),
            self.error
        )
    }
}

impl core::error::Error for ConnectError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        Some(&self.error)
    }
}

/// The end of a connection by a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConnectionError {
    /// The socket failed.
    Socket(ReceiveError),
    /// The system does not say what is ready.
    Poll(Errno),
    /// The server sent a descriptor of neither memory nor an eventfd.
    Descriptor(FdError),
    /// The server does not speak version 0, or has no room (-1, from the server of `ivshmem-host`).
    Version {
        /// The number it sent for the version.
        found: i64,
    },
    /// The server speaks the protocol before versions.
    Unversioned,
    /// What the server sent, or failed to send, is where QEMU fails to start, or ends (2.3). Here it ends the connection:
    /// a historic device stays in its guest as it is, a modern one never gets complete.
    Server(ServerError),
}

impl fmt::Display for ConnectionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Socket(error) => write!(f, "the server's connection failed: {error}"),
            Self::Poll(error) => write!(f, "cannot wait for events of the device: {error}"),
            Self::Descriptor(error) => write!(f, "the server sent what nobody needs: {error}"),
            Self::Version { found: -1 } => write!(
                f,
                "the server refused the connection; it has no room for another client"
            ),
            Self::Version { found } => write!(
                f,
                "the server sent {found} in place of protocol version 0; is it one of before QEMU 2.5?"
            ),
            Self::Unversioned => write!(
                f,
                "the server sent no protocol version; it is one of before QEMU 2.5"
            ),
            Self::Server(error) => error.fmt(f),
        }
    }
}

impl core::error::Error for ConnectionError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::Socket(error) => Some(error),
            Self::Poll(error) => Some(error),
            Self::Descriptor(error) => Some(error),
            Self::Server(error) => Some(error),
            Self::Version { .. } | Self::Unversioned => None,
        }
    }
}

impl From<ReceiveError> for ConnectionError {
    fn from(error: ReceiveError) -> Self {
        Self::Socket(error)
    }
}

impl From<FdError> for ConnectionError {
    fn from(error: FdError) -> Self {
        Self::Descriptor(error)
    }
}

impl From<ServerError> for ConnectionError {
    fn from(error: ServerError) -> Self {
        Self::Server(error)
    }
}
