// SPDX-License-Identifier: MIT OR Apache-2.0
//! A file with the number of this process, for programs around a server.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::{fstat, OFlags};
use rustix::io::Errno;

use super::error::cure;
use super::named_file::NamedFile;

/// The most that is read of a file that may be a PID file.
const LONGEST: u64 = 32;

/// A file with the number of this process and a line feed, removed on drop unless another has taken its place.
#[derive(Debug)]
pub struct PidFile {
    // Dropped in this order: as long as the file is open, no other can be mistaken for it.
    _named: NamedFile,
    _file: File,
}

impl PidFile {
    /// Creates the file at `path`, in place of one that another process has left.
    ///
    /// It does not keep a second process away: the lock beside the server's socket does that, so
    /// call this once the server is bound.
    ///
    /// # Errors
    ///
    /// - [`PidFileError::NotAPidFile`]: something else is there; it is left alone.
    /// - [`PidFileError::System`]: the system refuses.
    pub fn create(path: impl Into<PathBuf>) -> Result<Self, PidFileError> {
        let path = path.into();
        let failed = |error| PidFileError::System {
            path: path.clone(),
            error,
        };
        remove_old(&path)?;
        // Anew, so that no link is followed and no file of another is written to.
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o644)
            .open(&path)
            .map_err(failed)?;
        let stat = fstat(&file).map_err(|error| failed(error.into()))?;
        let named = NamedFile::new(&path, &stat);
        file.write_all(format!("{}\n", std::process::id()).as_bytes())
            .map_err(failed)?;
        Ok(Self {
            _named: named,
            _file: file,
        })
    }
}

/// Removes what is at `path` if it is a PID file.
fn remove_old(path: &Path) -> Result<(), PidFileError> {
    let failed = |error| PidFileError::System {
        path: path.to_owned(),
        error,
    };
    // Non-blocking, so that a FIFO is not waited for.
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed();
    let old = match OpenOptions::new().read(true).custom_flags(flags).open(path) {
        Ok(file) => read_number(&file),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => return Err(failed(error)),
        // A link, a socket.
        Err(_) => None,
    };
    if old.is_none() {
        return Err(PidFileError::NotAPidFile {
            path: path.to_owned(),
        });
    }
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed(error)),
        _ => Ok(()),
    }
}

/// Returns the number in a file, if that is all there is.
fn read_number(file: &File) -> Option<u32> {
    let mut text = String::new();
    file.take(LONGEST).read_to_string(&mut text).ok()?;
    text.trim_end().parse().ok()
}

/// Why a PID file could not be made.
#[derive(Debug)]
#[non_exhaustive]
pub enum PidFileError {
    /// Something that is not a PID file is at the path.
    NotAPidFile {
        /// The path.
        path: PathBuf,
    },
    /// The system refused.
    System {
        /// The path.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
}

impl fmt::Display for PidFileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotAPidFile { path } => write!(
                f,
                "{} exists and is not a PID file; remove it or choose another path",
                path.display()
            ),
            Self::System { path, error } => {
                write!(
                    f,
                    "cannot create the PID file {}: {error}{}",
                    path.display(),
                    Errno::from_io_error(error).map_or("", cure)
                )
            }
        }
    }
}

impl std::error::Error for PidFileError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::System { error, .. } => Some(error),
            Self::NotAPidFile { .. } => None,
        }
    }
}
