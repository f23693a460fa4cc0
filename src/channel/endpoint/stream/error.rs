// SPDX-License-Identifier: MIT OR Apache-2.0
//! What can go wrong with a stream of bytes.

use core::fmt;

use crate::channel::Broken;

/// Why bytes were neither read nor written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum StreamError {
    /// The connection has come to its end, for a writer by [`Broken::PeerGone`] too.
    Broken(Broken),
    /// The stream's [`Idle`](crate::channel::Idle) has given up waiting.
    GaveUp,
}

impl From<Broken> for StreamError {
    fn from(broken: Broken) -> Self {
        Self::Broken(broken)
    }
}

impl fmt::Display for StreamError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Broken(broken) => broken.fmt(f),
            Self::GaveUp => write!(
                f,
                "the peer did nothing for as long as one would wait; try again"
            ),
        }
    }
}
