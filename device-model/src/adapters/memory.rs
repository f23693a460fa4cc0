// SPDX-License-Identifier: MIT OR Apache-2.0
//! Shared memory opened by its name: a POSIX object (`shm`) or a file (`memdev`).

use std::fmt;
use std::path::{Path, PathBuf};

use rustix::fs::{ftruncate, open, Mode, OFlags};
use rustix::io::Errno;
use rustix::shm;

use super::{Fd, FdError, MapError, Mapping};
use crate::Descriptor;

/// Opens the POSIX shared memory object `name` for a device of `len_bytes` bytes, and creates it if there is none.
///
/// A new one gets exactly this size, and permission bits as the process's umask has them; nobody removes it. Of a larger
/// one the beginning is used. As the historic device did, but for the bits of execution (QEMU 2.3).
///
/// # Errors
///
/// - [`MemoryError::Empty`]: `len_bytes` is 0, as QEMU 2.3 permits; nothing is created.
/// - [`MemoryError::TooSmall`]: there is one, and it is smaller.
/// - [`MemoryError::NotMemory`], [`MemoryError::System`]: it cannot be opened, created or given its size.
/// - [`MemoryError::Map`]: it cannot be mapped.
pub fn open_shm(name: &str, len_bytes: u64) -> Result<Mapping, MemoryError> {
    if len_bytes == 0 {
        return Err(MemoryError::Empty { path: name.into() });
    }
    let failed = |step, error| MemoryError::System {
        step,
        path: name.into(),
        error,
    };
    let rw = shm::OFlags::RDWR;
    let mode = Mode::RUSR | Mode::WUSR | Mode::RGRP | Mode::WGRP | Mode::ROTH | Mode::WOTH;
    let file = match shm::open(name, rw | shm::OFlags::CREATE | shm::OFlags::EXCL, mode) {
        Ok(file) => {
            ftruncate(&file, len_bytes).map_err(|error| failed("set the size of", error))?;
            file
        }
        Err(Errno::EXIST) => {
            shm::open(name, rw, Mode::empty()).map_err(|error| failed("open", error))?
        }
        Err(error) => return Err(failed("create", error)),
    };
    map(name.as_ref(), Fd::new(file), Some(len_bytes))
}

/// Opens the file at `path` and maps all of it, as `-object memory-backend-file,share=on` does.
///
/// # Errors
///
/// - [`MemoryError::NotMemory`], [`MemoryError::System`]: it cannot be opened for reading and writing, or is no file.
/// - [`MemoryError::Map`]: it cannot be mapped; an empty one for example.
pub fn open_memory_file(path: &Path) -> Result<Mapping, MemoryError> {
    // Non-blocking, so that a FIFO is refused instead of waited for.
    let flags = OFlags::RDWR | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    let file = match open(path, flags, Mode::empty()) {
        Ok(file) => file,
        // What a directory and a socket give.
        Err(Errno::ISDIR | Errno::NXIO) => return Err(not_memory(path)),
        Err(error) => {
            return Err(MemoryError::System {
                step: "open",
                path: path.to_owned(),
                error,
            })
        }
    };
    map(path, Fd::new(file), None)
}

/// Maps `len_bytes` bytes, or all.
fn map(
    path: &Path,
    memory: Result<Fd, FdError>,
    len_bytes: Option<u64>,
) -> Result<Mapping, MemoryError> {
    let memory = memory.map_err(|_| not_memory(path))?;
    let has = memory.len_bytes().ok_or_else(|| not_memory(path))?;
    let needs = len_bytes.unwrap_or(has);
    if has < needs {
        return Err(MemoryError::TooSmall {
            path: path.to_owned(),
            has,
            needs,
        });
    }
    Mapping::of(&memory, needs).map_err(|error| MemoryError::Map {
        path: path.to_owned(),
        error,
    })
}

fn not_memory(path: &Path) -> MemoryError {
    MemoryError::NotMemory {
        path: path.to_owned(),
    }
}

/// A failed attempt to open shared memory.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum MemoryError {
    /// It would have no bytes.
    Empty {
        /// Its name.
        path: PathBuf,
    },
    /// It is smaller than the device.
    TooSmall {
        /// Its name.
        path: PathBuf,
        /// Its size in bytes.
        has: u64,
        /// The size of the device in bytes.
        needs: u64,
    },
    /// There is something of that name, but no regular file.
    NotMemory {
        /// Its name.
        path: PathBuf,
    },
    /// The system refuses.
    System {
        /// What it refuses to do, as in "open".
        step: &'static str,
        /// With what.
        path: PathBuf,
        /// Why.
        error: Errno,
    },
    /// It cannot be mapped.
    Map {
        /// Its name.
        path: PathBuf,
        /// Why.
        error: MapError,
    },
}

impl fmt::Display for MemoryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty { path } => write!(
                f,
                "the shared memory {} would have no bytes; give size=1M or more",
                path.display()
            ),
            Self::TooSmall { path, has, needs } => write!(
                f,
                "the shared memory {} has {has} bytes and the device {needs}; enlarge or remove it, or lower the property size",
                path.display()
            ),
            Self::NotMemory { path } => {
                write!(f, "{} is no regular file, so it is no shared memory", path.display())
            }
            Self::System { step, path, error } => {
                write!(f, "cannot {step} the shared memory {}: {error}", path.display())
            }
            Self::Map { path, error } => write!(f, "{}: {error}", path.display()),
        }
    }
}

impl core::error::Error for MemoryError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::System { error, .. } => Some(error),
            Self::Map { error, .. } => Some(error),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Memory;

    /// A name of an object that is removed at the end of the test.
    struct Name(String);

    impl Name {
        fn new(test: &str) -> Self {
            Self(format!("/ivshmem-device-{test}-{}", std::process::id()))
        }
    }

    impl Drop for Name {
        fn drop(&mut self) {
            let _ = shm::unlink(self.0.as_str());
        }
    }

    #[test]
    fn an_object_is_created_once_and_shared() {
        let name = Name::new("shared");
        let first = open_shm(&name.0, 8192).unwrap();
        let second = open_shm(&name.0, 4096).unwrap();
        assert_eq!((first.len_bytes(), second.len_bytes()), (8192, 4096));
        first.write(0, b"here");
        let mut seen = [0; 4];
        second.read(0, &mut seen);
        assert_eq!(&seen, b"here");
        assert_eq!(
            open_shm(&name.0, 8193).unwrap_err(),
            MemoryError::TooSmall {
                path: name.0.clone().into(),
                has: 8192,
                needs: 8193
            }
        );
    }

    #[test]
    fn an_empty_object_is_not_created() {
        let name = Name::new("empty");
        let path = name.0.clone().into();
        assert_eq!(
            open_shm(&name.0, 0).unwrap_err(),
            MemoryError::Empty { path }
        );
        let absent = shm::open(name.0.as_str(), shm::OFlags::RDWR, Mode::empty());
        assert_eq!(absent.unwrap_err(), Errno::NOENT);
    }

    #[test]
    fn names_that_cannot_be_are_errors() {
        for name in ["", "/", "/a/b", "/..", "a\0b"] {
            assert!(
                matches!(open_shm(name, 4096), Err(MemoryError::System { .. })),
                "{name:?}"
            );
        }
    }

    #[test]
    fn only_regular_files_are_memory() {
        let folder = tempfile::tempdir().unwrap();
        let fifo = folder.path().join("fifo");
        rustix::fs::mknodat(
            rustix::fs::CWD,
            &fifo,
            rustix::fs::FileType::Fifo,
            Mode::RUSR | Mode::WUSR,
            0,
        )
        .unwrap();
        for path in [folder.path(), &fifo] {
            assert_eq!(open_memory_file(path).unwrap_err(), not_memory(path));
        }
        let absent = folder.path().join("absent");
        assert!(matches!(
            open_memory_file(&absent),
            Err(MemoryError::System {
                error: Errno::NOENT,
                ..
            })
        ));
        let file = folder.path().join("file");
        std::fs::write(&file, [1; 4096]).unwrap();
        assert_eq!(open_memory_file(&file).unwrap().len_bytes(), 4096);
    }
}
