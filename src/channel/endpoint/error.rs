// SPDX-License-Identifier: MIT OR Apache-2.0
//! What can go wrong between two members.

use core::fmt;

use crate::channel::SlotIndex;

/// Why a connection has come to its end. Whoever gets this once gets it always: connect again, if there is somebody.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Broken {
    /// The peer has left.
    PeerGone,
    /// The peer's slot has a new incarnation. What was in the rings is gone.
    PeerRestarted,
    /// The peer has written what the protocol does not allow. It is faulty or hostile.
    Corrupt,
    /// The own slot was taken away, because others took this member for dead or formatted the region anew.
    Evicted,
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::PeerGone => "the peer has left",
            Self::PeerRestarted => "the peer has restarted; connect to its new incarnation",
            Self::Corrupt => {
                "the peer wrote what the protocol does not allow; connect again when it has restarted"
            }
            Self::Evicted => {
                "others took this member for dead, or formatted the region anew; join again"
            }
        })
    }
}

/// Why a message was not sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SendError {
    /// There is no room now.
    Full,
    /// The message does not fit into one frame of this ring, however empty.
    TooLong {
        /// Its length in bytes.
        len: usize,
        /// The longest that fits, in bytes.
        longest: usize,
    },
    /// The connection has come to its end.
    Broken(Broken),
}

impl From<Broken> for SendError {
    fn from(broken: Broken) -> Self {
        Self::Broken(broken)
    }
}

impl fmt::Display for SendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full => write!(f, "the ring is full; wait until the peer has received"),
            Self::TooLong { len, longest } => write!(
                f,
                "{len} bytes are too long for one frame of at most {longest}; send them in fragments"
            ),
            Self::Broken(broken) => broken.fmt(f),
        }
    }
}

/// Why a message was not received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RecvError {
    /// The message is longer than the buffer. It is still there.
    TooLong {
        /// Its length in bytes as far as it is known: of a message in fragments, up to the end of the next.
        len: usize,
        /// The length of the buffer in bytes.
        available: usize,
    },
    /// The message comes in fragments. It is still there.
    Fragmented,
    /// The connection has come to its end.
    Broken(Broken),
}

impl From<Broken> for RecvError {
    fn from(broken: Broken) -> Self {
        Self::Broken(broken)
    }
}

impl fmt::Display for RecvError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLong { len, available } => write!(
                f,
                "the message has {len} bytes or more and the buffer {available}; receive it into a longer one"
            ),
            Self::Fragmented => write!(
                f,
                "the message comes in fragments; receive it with poll_recv, or frame by frame"
            ),
            Self::Broken(broken) => broken.fmt(f),
        }
    }
}

/// Why there is no connection to a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConnectError {
    /// The slot is the own one, or the region does not have it.
    NoPeer {
        /// The slot.
        slot: SlotIndex,
    },
    /// Nobody is there, or somebody who is not ready yet.
    NobodyThere {
        /// The slot.
        slot: SlotIndex,
    },
    /// This incarnation, or a later one, has been connected to already.
    AlreadyConnected {
        /// The slot.
        slot: SlotIndex,
        /// The peer's incarnation.
        incarnation: u32,
    },
    /// The own slot was taken away.
    Evicted,
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoPeer { slot } => write!(
                f,
                "slot {slot} is this member's own, or beyond the region's last"
            ),
            Self::NobodyThere { slot } => write!(
                f,
                "no member is in slot {slot}; wait for the event that somebody has joined"
            ),
            Self::AlreadyConnected { slot, incarnation } => write!(
                f,
                "slot {slot} was connected to in its incarnation {incarnation}, or a later one, already; keep that endpoint"
            ),
            Self::Evicted => Broken::Evicted.fmt(f),
        }
    }
}
