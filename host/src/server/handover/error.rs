// SPDX-License-Identifier: MIT OR Apache-2.0
//! Why a server was not handed over.

use std::fmt;
use std::path::PathBuf;

use rustix::io::Errno;

use super::super::error::BindError;
use super::wire::WireError;

/// Why a running server has not handed over, and goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum HandoverError {
    /// The process that asked runs as another user, and not as root.
    Forbidden {
        /// The user's number, if it can be told.
        uid: Option<u32>,
    },
    /// The new server does not want it.
    Refused(Objection),
    /// The new server has ended before it had everything.
    Ended,
    /// The new server did not take everything in time.
    TimedOut,
    /// What is to be handed over cannot be written down: a path that is not UTF-8.
    NotText,
    /// The system refused a step.
    System {
        /// What was attempted.
        step: &'static str,
        /// Why.
        error: Errno,
    },
}

/// Why a new server does not want what it was offered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Objection {
    /// It does not know the format: it is older, or much newer.
    Format,
    /// It was asked for other settings than a running server can change to.
    Settings,
    /// It may not open so many files.
    Descriptors,
    /// What it was given is not what was announced.
    Contents,
}

impl Objection {
    const ALL: [Self; 4] = [
        Self::Format,
        Self::Settings,
        Self::Descriptors,
        Self::Contents,
    ];

    /// Returns the byte that says so.
    pub(super) const fn code(self) -> u8 {
        0x10 + self as u8
    }

    /// Reads one.
    pub(super) fn from_code(code: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|all| all.code() == code)
    }
}

impl fmt::Display for HandoverError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Forbidden { uid: Some(uid) } => write!(
                f,
                "user {uid} asked for it; only the server's own user and root may"
            ),
            Self::Forbidden { uid: None } => {
                write!(
                    f,
                    "one who cannot be seen asked for it; only the server's own user and root may"
                )
            }
            Self::Refused(objection) => write!(f, "the new server {objection}"),
            Self::Ended => write!(f, "the new server ended before it had everything"),
            Self::TimedOut => write!(f, "the new server did not take everything in time"),
            Self::NotText => write!(f, "one of its paths is not UTF-8"),
            Self::System { step, error } => write!(f, "cannot {step}: {error}"),
        }
    }
}

impl fmt::Display for Objection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Format => "is of a version that cannot go on from this one",
            Self::Settings => "was asked for settings that a running server cannot change to",
            Self::Descriptors => "may not open enough files (ulimit -n)",
            Self::Contents => "did not get what was announced",
        })
    }
}

impl std::error::Error for HandoverError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::System { error, .. } => Some(error),
            _ => None,
        }
    }
}

impl From<WireError> for HandoverError {
    fn from(error: WireError) -> Self {
        match error {
            WireError::Ended => Self::Ended,
            WireError::TimedOut => Self::TimedOut,
            WireError::DescriptorLost => Self::Refused(Objection::Contents),
            WireError::System(error) => Self::System {
                step: "talk to the new server",
                error,
            },
        }
    }
}

/// Why a new server could not take over. The one before goes on, unless it has ended itself.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TakeOverError {
    /// No server can be asked at this path.
    Connect {
        /// The path of the socket that was tried.
        path: PathBuf,
        /// Why.
        error: Errno,
    },
    /// What is there does not hand over.
    Declined {
        /// The path of the socket.
        path: PathBuf,
        /// What it says.
        reason: String,
    },
    /// The running server is of a version that this one cannot go on from.
    Format {
        /// The number of its format.
        found: u32,
    },
    /// A running server cannot change this.
    Fixed {
        /// What.
        setting: &'static str,
        /// What it is.
        running: String,
        /// What was asked for.
        wanted: String,
    },
    /// The settings are wrong, or this process cannot provide for them.
    Settings(BindError),
    /// This process may not open enough files.
    TooFewDescriptors {
        /// File descriptors that are needed.
        needed: u64,
        /// File descriptors allowed (`RLIMIT_NOFILE`).
        limit: u64,
    },
    /// What came is not what was announced.
    Contents,
    /// The running server has ended before all of it was here.
    Ended,
    /// The running server did not give everything in time, or has gone on by itself because this process took too long.
    TimedOut,
    /// The system refused a step.
    System {
        /// What was attempted.
        step: &'static str,
        /// Why.
        error: Errno,
    },
}

impl fmt::Display for TakeOverError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connect { path, error } => write!(
                f,
                "no server to take over from at {}: {error} (start without --handover if none runs)",
                path.display()
            ),
            Self::Declined { path, reason } => {
                write!(f, "the server at {} does not hand over: {reason}", path.display())
            }
            Self::Format { found } => write!(
                f,
                "the running server's state has format {found}, which this version cannot go on from; it goes on itself"
            ),
            Self::Fixed {
                setting,
                running,
                wanted,
            } => write!(
                f,
                "the running server's {setting} is {running} and a handover cannot make it {wanted}; leave the option out, \
                 or end that server first"
            ),
            Self::Settings(error) => error.fmt(f),
            Self::TooFewDescriptors { needed, limit } => write!(
                f,
                "too few file descriptors: taking over needs {needed}, the limit is {limit} (raise it with ulimit -n)"
            ),
            Self::Contents => write!(f, "the running server did not give what it announced"),
            Self::Ended => write!(
                f,
                "the running server ended before it had given everything; start without --handover"
            ),
            Self::TimedOut => write!(
                f,
                "the handover took too long, and the running server goes on; try again when the machine is less busy"
            ),
            Self::System { step, error } => write!(f, "cannot {step}: {error}"),
        }
    }
}

impl std::error::Error for TakeOverError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Settings(error) => Some(error),
            Self::Connect { error, .. } | Self::System { error, .. } => Some(error),
            _ => None,
        }
    }
}

impl From<WireError> for TakeOverError {
    fn from(error: WireError) -> Self {
        match error {
            WireError::Ended => Self::Ended,
            WireError::TimedOut => Self::TimedOut,
            WireError::DescriptorLost => Self::Contents,
            WireError::System(error) => Self::System {
                step: "talk to the running server",
                error,
            },
        }
    }
}
