// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a device tells whoever embeds it, beside its work: [`Notice`].

use core::fmt;

use crate::ServerError;

/// Something odd that the device survived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Notice {
    /// The server did something wrong, which has no effect.
    Server(ServerError),
    /// The guest rang peer 0 of a device without a server, where QEMU 2.3 used a NULL pointer and ended. Ignored.
    DoorbellWithoutServer,
    /// The server closed the connection. Peers can still be rung; nobody will be reported to come or to go.
    ServerGone,
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Server(error) => error.fmt(f),
            Self::DoorbellWithoutServer => write!(
                f,
                "the guest rang a doorbell and the device has no server, which would have ended qemu 2.3"
            ),
            Self::ServerGone => write!(
                f,
                "the server closed the connection; the peers known so far can still be rung"
            ),
        }
    }
}
