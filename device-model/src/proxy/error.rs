// SPDX-License-Identifier: MIT OR Apache-2.0
//! What can go wrong between a remote and QEMU.

use std::fmt;

use rustix::io::Errno;

use super::{RequestError, Unsuitable};
use crate::adapters::{FdError, OpenError, ReceiveError};

/// Why a device cannot be lent to QEMU.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RemoteError {
    /// QEMU's proxy cannot take this device.
    Unsuitable(Unsuitable),
    /// The device cannot be attached to its server or its memory.
    Open(OpenError),
    /// The system has nothing to wait with.
    System(Errno),
}

impl fmt::Display for RemoteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unsuitable(error) => error.fmt(f),
            Self::Open(error) => error.fmt(f),
            Self::System(error) => write!(f, "cannot wait for qemu: {error}"),
        }
    }
}

impl core::error::Error for RemoteError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::Unsuitable(error) => Some(error),
            Self::Open(error) => Some(error),
            Self::System(error) => Some(error),
        }
    }
}

impl From<Unsuitable> for RemoteError {
    fn from(error: Unsuitable) -> Self {
        Self::Unsuitable(error)
    }
}

impl From<OpenError> for RemoteError {
    fn from(error: OpenError) -> Self {
        Self::Open(error)
    }
}

/// The end of a connection to QEMU by a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LinkError {
    /// QEMU sent something that is no request.
    Request(RequestError),
    /// QEMU sent a descriptor for the interrupt that is no eventfd.
    Interrupt(FdError),
    /// The eventfd that tells of the end of an interrupt cannot be watched or read.
    Resample(Errno),
    /// The socket cannot be read.
    Receive(ReceiveError),
    /// The socket cannot be written.
    Send(Errno),
    /// The system does not say what is ready.
    Poll(Errno),
}

impl fmt::Display for LinkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Request(error) => error.fmt(f),
            Self::Interrupt(error) => write!(f, "qemu sent no eventfd for the interrupt: {error}"),
            Self::Resample(error) => write!(
                f,
                "qemu's eventfd for the end of interrupts is no use: {error}"
            ),
            Self::Receive(error) => write!(f, "the connection to qemu failed: {error}"),
            Self::Send(error) => write!(f, "qemu cannot be answered: {error}"),
            Self::Poll(error) => write!(f, "cannot wait for qemu: {error}"),
        }
    }
}

impl core::error::Error for LinkError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::Request(error) => Some(error),
            Self::Interrupt(error) => Some(error),
            Self::Receive(error) => Some(error),
            Self::Resample(error) | Self::Send(error) | Self::Poll(error) => Some(error),
        }
    }
}

impl From<RequestError> for LinkError {
    fn from(error: RequestError) -> Self {
        Self::Request(error)
    }
}

impl From<FdError> for LinkError {
    fn from(error: FdError) -> Self {
        Self::Interrupt(error)
    }
}

impl From<ReceiveError> for LinkError {
    fn from(error: ReceiveError) -> Self {
        Self::Receive(error)
    }
}
