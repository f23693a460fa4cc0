// SPDX-License-Identifier: MIT OR Apache-2.0
//! Why a server could not start.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;

use rustix::io::Errno;

use super::backing::HugePages;
use super::config::ConfigError;
use super::memory::pool;

/// A failed start. Nothing is left behind: no socket, no new file.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BindError {
    /// The configuration is wrong in itself.
    Config(ConfigError),
    /// The process may not open enough file descriptors.
    TooFewDescriptors {
        /// Clients asked for; two if no number was.
        clients: usize,
        /// Vectors of each client.
        vectors: u16,
        /// File descriptors needed for that.
        needed: u64,
        /// File descriptors allowed (`RLIMIT_NOFILE`).
        limit: u64,
    },
    /// There is no such user.
    UnknownUser {
        /// The name asked for.
        name: String,
    },
    /// There is no such group.
    UnknownGroup {
        /// The name asked for.
        name: String,
    },
    /// Another server has the socket.
    InUse {
        /// Path of the socket.
        socket: PathBuf,
    },
    /// Servers before were killed so often that their clients may know every ID.
    NoIdLeft {
        /// Path of the socket.
        socket: PathBuf,
    },
    /// Something that is not a socket is at the path of the socket; it is left alone.
    NotASocket {
        /// The path.
        path: PathBuf,
    },
    /// What was handed down is not a listening UNIX stream socket.
    NotAListener,
    /// The file for the shared memory is something other than a regular file; it is left alone.
    NotAFile {
        /// The path.
        path: PathBuf,
    },
    /// The file for the shared memory exists with another size; it is left alone.
    FileSize {
        /// Path of the file.
        path: PathBuf,
        /// Its size in bytes.
        found: u64,
        /// The size asked for, in bytes.
        wanted: u64,
    },
    /// Owner or group of a file could not be set.
    Ownership {
        /// The path.
        path: PathBuf,
        /// Why.
        error: Errno,
    },
    /// A symbolic link is where the file for the shared memory is to be; it is not followed.
    SymbolicLink {
        /// The path.
        path: PathBuf,
    },
    /// The file for the shared memory exists and belongs to a user that was not named; it is left alone.
    FileOwner {
        /// The path.
        path: PathBuf,
        /// Number of its owner.
        owner: u32,
    },
    /// The file system has no room for the shared memory.
    NoRoom {
        /// The path.
        path: PathBuf,
        /// Bytes that are needed.
        needed: u64,
        /// Bytes that are free.
        free: u64,
    },
    /// The machine has no huge pages of that size.
    NoHugePages {
        /// The pages asked for.
        pages: HugePages,
    },
    /// The size is not a whole number of huge pages.
    HugePageSize {
        /// Path of the file, if it is one.
        path: Option<PathBuf>,
        /// The size asked for, in bytes.
        size_bytes: u64,
        /// Size of a huge page in bytes.
        page_bytes: u64,
    },
    /// Too few huge pages are free.
    TooFewHugePages {
        /// Pages needed.
        needed: u64,
        /// Pages that are free and not promised to others, if the system tells.
        available: Option<u64>,
        /// Size of a page in bytes.
        page_bytes: u64,
    },
    /// The address for metrics cannot be listened at.
    Metrics {
        /// The address.
        address: SocketAddr,
        /// Why.
        error: Errno,
    },
    /// The system refused a step that concerns a file.
    Path {
        /// What was attempted, such as "create the socket".
        step: &'static str,
        /// The path.
        path: PathBuf,
        /// Why.
        error: Errno,
    },
    /// The system refused another step.
    System {
        /// What was attempted.
        step: &'static str,
        /// Why.
        error: Errno,
    },
}

impl fmt::Display for BindError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Config(error) => error.fmt(f),
            Self::TooFewDescriptors {
                clients,
                vectors,
                needed,
                limit,
            } => write!(
                f,
                "too few file descriptors: {clients} clients with {vectors} vectors need {needed}, \
                 the limit is {limit} (raise it with ulimit -n)"
            ),
            Self::UnknownUser { name } => write!(f, "there is no user '{name}'"),
            Self::UnknownGroup { name } => write!(f, "there is no group '{name}'"),
            Self::InUse { socket } => write!(
                f,
                "another server is using {}; end it, or choose another path",
                socket.display()
            ),
            Self::NoIdLeft { socket } => write!(
                f,
                "clients of killed servers at {0} may know every ID; stop all clients, remove {0}.lock, start again",
                socket.display()
            ),
            Self::NotASocket { path } => write!(
                f,
                "{} exists and is not a socket; remove it or choose another path",
                path.display()
            ),
            Self::NotAListener => f.write_str(
                "what was handed down is not a listening UNIX stream socket (ListenStream= with a path)",
            ),
            Self::NotAFile { path } => write!(
                f,
                "{} exists and is not a regular file; choose another path",
                path.display()
            ),
            Self::FileSize {
                path,
                found,
                wanted,
            } => write!(
                f,
                "{} exists with {found} bytes, not {wanted}; remove it or ask for its size",
                path.display()
            ),
            Self::SymbolicLink { path } => write!(
                f,
                "{} is a symbolic link, which could lead anywhere; name the file itself",
                path.display()
            ),
            Self::FileOwner { path, owner } => write!(
                f,
                "{} exists and belongs to user {owner}; remove it, or name that user as its owner",
                path.display()
            ),
            Self::NoRoom { path, needed, free } => write!(
                f,
                "no room for {}: {needed} bytes are needed, {free} are free; \
                 make its file system larger (mount -o remount,size=) or choose another",
                path.display()
            ),
            Self::NoHugePages { pages } => write!(f, "this machine has no {pages}"),
            Self::HugePageSize {
                path,
                size_bytes,
                page_bytes,
            } => {
                write!(
                    f,
                    "a size of {size_bytes} bytes is not a multiple of the huge pages of {page_bytes}"
                )?;
                match path {
                    Some(path) => write!(f, " that {} is made of", path.display()),
                    None => Ok(()),
                }
            }
            Self::TooFewHugePages {
                needed,
                available,
                page_bytes,
            } => {
                write!(f, "too few huge pages of {page_bytes} bytes: {needed} are needed")?;
                if let Some(available) = available {
                    write!(f, ", {available} are free")?;
                }
                write!(f, "; raise {}/nr_hugepages", pool(*page_bytes))
            }
            Self::Ownership { path, error } => write!(
                f,
                "cannot set owner and group of {}: {error}; \
                 only root gives files to other users, or to groups that one is not in",
                path.display()
            ),
            Self::Metrics { address, error } => {
                write!(f, "cannot listen at {address} for metrics: {error}; choose another port or address")
            }
            Self::Path { step, path, error } => {
                write!(f, "cannot {step} {}: {error}{}", path.display(), cure(*error))
            }
            Self::System { step, error } => write!(f, "cannot {step}: {error}"),
        }
    }
}

/// Returns what to do about a path that the system refuses, where that is known.
pub(super) fn cure(error: Errno) -> &'static str {
    match error {
        Errno::NOENT | Errno::NOTDIR => "; create the folder, or choose another path",
        Errno::ACCESS | Errno::PERM | Errno::ROFS => {
            "; choose a path that this user may write to, or allow it"
        }
        Errno::LOOP => "; a link there is not followed: remove it, or choose another path",
        Errno::NAMETOOLONG => "; choose a shorter path",
        _ => "",
    }
}

impl std::error::Error for BindError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Config(error) => Some(error),
            Self::Ownership { error, .. }
            | Self::Path { error, .. }
            | Self::System { error, .. } => Some(error),
            _ => None,
        }
    }
}

impl From<ConfigError> for BindError {
    fn from(error: ConfigError) -> Self {
        Self::Config(error)
    }
}
