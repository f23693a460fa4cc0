// SPDX-License-Identifier: MIT OR Apache-2.0
//! An open file that came from somebody else: [`Fd`].

use std::fmt;
use std::fs::File;
use std::io::IoSliceMut;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use rustix::event::{poll, PollFd, PollFlags, Timespec};
use rustix::fs::FileType;
use rustix::io::{preadv2, write, Errno, ReadWriteFlags};

use crate::Descriptor;

/// For `poll`: only look.
const NOW: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 0,
};

/// An open file: shared memory, which has a size, or an eventfd, which has none. Clones share it; the last one dropped
/// closes it.
#[derive(Clone, Debug)]
pub struct Fd {
    file: Arc<File>,
    len_bytes: Option<u64>,
}

impl Fd {
    /// Takes a file, and looks what it is.
    ///
    /// # Errors
    ///
    /// - [`FdError::Kind`]: it is a socket, a pipe or anything else that is neither memory nor an eventfd.
    /// - [`FdError::Stat`]: the system does not tell.
    pub fn new(file: OwnedFd) -> Result<Self, FdError> {
        let stat = rustix::fs::fstat(&file).map_err(FdError::Stat)?;
        let len_bytes = match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => Some(u64::try_from(stat.st_size).unwrap_or(0)),
            // Eventfds and their like have no type at all.
            FileType::Unknown => None,
            _ => return Err(FdError::Kind),
        };
        Ok(Self {
            file: Arc::new(File::from(file)),
            len_bytes,
        })
    }

    /// Adds 1 to the counter of an eventfd, unless it is full, when it rings already. Nothing happens to a file.
    ///
    /// The mode of an eventfd belongs to all who hold it, so it cannot be relied upon to be non-blocking: the room is
    /// looked for first.
    pub fn ring(&self) {
        if self.len_bytes.is_some() {
            return;
        }
        let mut room = [PollFd::new(&self.file, PollFlags::OUT)];
        if poll(&mut room, Some(&NOW)) == Ok(0) {
            return;
        }
        // It may have become full meanwhile, which is as good.
        let _ = write(&self.file, &1_u64.to_ne_bytes());
    }

    /// Takes the counter of an eventfd and leaves 0; `None` if it is 0 already. Never waits, in whatever mode the
    /// eventfd is (Linux 5.8 or later).
    ///
    /// # Errors
    ///
    /// - What the system reports, for example that it is no eventfd.
    pub fn take(&self) -> Result<Option<u64>, Errno> {
        let mut counter = [0; 8];
        let read = preadv2(
            &self.file,
            &mut [IoSliceMut::new(&mut counter)],
            // From where the file is, which for an eventfd is nowhere.
            u64::MAX,
            ReadWriteFlags::NOWAIT,
        );
        match read {
            Ok(read) if read == counter.len() => Ok(Some(u64::from_ne_bytes(counter))),
            Ok(_) => Err(Errno::INVAL),
            Err(Errno::AGAIN | Errno::INTR) => Ok(None),
            Err(error) => Err(error),
        }
    }

    pub(super) const fn file(&self) -> &Arc<File> {
        &self.file
    }
}

impl Descriptor for Fd {
    fn len_bytes(&self) -> Option<u64> {
        self.len_bytes
    }

    fn number(&self) -> i32 {
        self.file.as_raw_fd()
    }
}

impl AsFd for Fd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

/// A file that is of no use to a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FdError {
    /// It is neither a file with a size nor an eventfd.
    Kind,
    /// Its kind cannot be told.
    Stat(Errno),
}

impl fmt::Display for FdError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kind => write!(
                f,
                "a descriptor is neither of shared memory nor of an eventfd"
            ),
            Self::Stat(error) => write!(f, "the kind of a descriptor cannot be told: {error}"),
        }
    }
}

impl core::error::Error for FdError {}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::event::{eventfd, EventfdFlags};
    use rustix::fs::{ftruncate, memfd_create, MemfdFlags};
    use rustix::pipe::pipe;

    fn event(start: u32, flags: EventfdFlags) -> Fd {
        Fd::new(eventfd(start, flags).unwrap()).unwrap()
    }

    #[test]
    fn an_eventfd_counts_rings() {
        // Blocking: nobody may rely on what the other side has set.
        let event = event(0, EventfdFlags::empty());
        assert_eq!(event.len_bytes(), None);
        assert_eq!(event.take(), Ok(None));
        event.ring();
        event.ring();
        assert_eq!(event.take(), Ok(Some(2)));
        assert_eq!(event.take(), Ok(None));
    }

    #[test]
    fn a_full_eventfd_is_not_waited_for() {
        let event = event(0, EventfdFlags::empty());
        let full = u64::MAX - 1;
        write(&event, &full.to_ne_bytes()).unwrap();
        event.ring();
        assert_eq!(event.take(), Ok(Some(full)));
    }

    #[test]
    fn memory_has_a_size_and_does_not_ring() {
        let file = memfd_create("memory", MemfdFlags::CLOEXEC).unwrap();
        ftruncate(&file, 4096).unwrap();
        let memory = Fd::new(file).unwrap();
        assert_eq!(memory.len_bytes(), Some(4096));
        memory.ring();
        let mut first = [0xff; 8];
        rustix::io::pread(&memory, &mut first, 0).unwrap();
        assert_eq!(first, [0; 8]);
    }

    #[test]
    fn anything_else_is_refused() {
        let (reader, _writer) = pipe().unwrap();
        assert_eq!(Fd::new(reader).unwrap_err(), FdError::Kind);
    }
}
