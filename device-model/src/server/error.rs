// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a server can do wrong: [`ServerError`].

use core::fmt;

use crate::HostError;

/// Something that a server sent, or failed to send.
///
/// Where the device goes on without it, it is passed on as [`Notice::Server`](crate::Notice::Server); where QEMU would end or not start, a
/// method of the device returns it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ServerError {
    /// The first message is not version 0 without a descriptor. A server of QEMU 2.4 or before sends its
    /// client's ID here.
    Version {
        /// The number that came.
        found: i64,
    },
    /// The second message is not an ID of 0 to 65535 without a descriptor.
    OwnId {
        /// The number that came.
        found: i64,
    },
    /// The shared memory came without its descriptor.
    NoMemory,
    /// The descriptor sent for the shared memory has no size, so it is no memory.
    NotMemory,
    /// The shared memory came a second time.
    SecondMemory,
    /// The shared memory is smaller than the device.
    MemoryTooSmall {
        /// Its size in bytes.
        has: u64,
        /// That of the device.
        needs: u64,
    },
    /// The size of the shared memory is not a power of two of 4096 bytes or more, or, for `ivshmem-flat`, not that of the device.
    MemorySize {
        /// Its size in bytes.
        has: u64,
    },
    /// The shared memory could not be mapped.
    Map(HostError),
    /// A number means nothing, or is the ID of more peers than there can be.
    Number {
        /// The number.
        found: i64,
    },
    /// A peer got more eventfds than the device has vectors.
    TooManyEvents {
        /// The peer.
        peer: u16,
        /// The vectors of the device.
        vectors: u32,
    },
    /// A peer left that cannot leave: the device itself, or number -1.
    Departure {
        /// The number.
        peer: i64,
    },
    /// An own vector could not be watched.
    Listen {
        /// The vector.
        vector: u16,
        /// Why.
        error: HostError,
    },
    /// A master has to be the first client of its server, with ID 0.
    NotFirst {
        /// The ID that the server gave.
        id: u16,
    },
    /// The connection ended before the shared memory came.
    Gone,
}

impl fmt::Display for ServerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Version { found } => write!(
                f,
                "the server sent {found} in place of protocol version 0; a server of before QEMU 2.5 needs a device of that generation"
            ),
            Self::OwnId { found } => write!(f, "the server sent {found} in place of an own id of 0 to 65535"),
            Self::NoMemory => write!(f, "the server announced the shared memory and sent no descriptor of it"),
            Self::NotMemory => write!(f, "the server sent a descriptor without a size for the shared memory"),
            Self::SecondMemory => write!(f, "the server sent the shared memory a second time; it is ignored"),
            Self::MemoryTooSmall { has, needs } => write!(
                f,
                "the server's shared memory has {has} bytes and the device {needs}; start the server with a larger one, or lower the property size"
            ),
            Self::MemorySize { has } => write!(
                f,
                "the server's shared memory has {has} bytes; pci devices need a power of two of at least 4096, ivshmem-flat exactly its shmem-size"
            ),
            Self::Map(error) => write!(f, "the shared memory cannot be mapped: {error}"),
            Self::Number { found } => write!(f, "the server sent {found}, which is no peer; it is ignored"),
            Self::TooManyEvents { peer, vectors } => write!(
                f,
                "the server sent peer {peer} more eventfds than the {vectors} vectors of the device; give both the same number"
            ),
            Self::Departure { peer } => write!(f, "the server says that {peer} has left, which is no peer; it is ignored"),
            Self::Listen { vector, error } => write!(f, "the eventfd of the own vector {vector} cannot be watched: {error}"),
            Self::NotFirst { id } => write!(
                f,
                "the device is master and its id is {id}; a master must connect to the server before all others"
            ),
            Self::Gone => write!(f, "the server closed the connection before it sent the shared memory"),
        }
    }
}

impl core::error::Error for ServerError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::Map(error) | Self::Listen { error, .. } => Some(error),
            _ => None,
        }
    }
}
