// SPDX-License-Identifier: MIT OR Apache-2.0
//! What is sent: files one after the other, or stdin, read so that other things can be waited for meanwhile.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::event::{poll, PollFd, PollFlags, Timespec};
use rustix::io::Errno;

use crate::command::Failure;

/// Files that are read to their ends, in order.
#[derive(Debug)]
pub(in crate::command) struct Source {
    files: VecDeque<(PathBuf, File)>,
    /// How many bytes there are, if all are plain files.
    size: Option<u64>,
}

/// What reading has brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::command) enum Chunk {
    /// So many bytes.
    Data(usize),
    /// Nothing yet, or something else has happened.
    Nothing,
    End,
}

impl Source {
    /// Opens all files, `-` being stdin, as it is if there are none.
    pub(in crate::command) fn open(paths: &[PathBuf]) -> Result<Self, Failure> {
        let stdin = [PathBuf::from("-")];
        let paths = if paths.is_empty() { &stdin } else { paths };
        let mut source = Self {
            files: VecDeque::new(),
            size: Some(0),
        };
        for path in paths {
            source.add(path).map_err(|error| {
                Failure::new(format!("cannot read {}: {error}", path.display()))
            })?;
        }
        Ok(source)
    }

    fn add(&mut self, path: &Path) -> io::Result<()> {
        let file = if path == Path::new("-") {
            File::from(io::stdin().as_fd().try_clone_to_owned()?)
        } else {
            File::open(path)?
        };
        let metadata = file.metadata()?;
        if metadata.is_dir() {
            return Err(io::Error::other(
                "it is a directory; pack it: tar c DIRECTORY | ivshmem send NAME",
            ));
        }
        let len = metadata.is_file().then_some(metadata.len());
        self.size = self
            .size
            .zip(len)
            .and_then(|(all, len)| all.checked_add(len));
        self.files.push_back((path.to_owned(), file));
        Ok(())
    }

    /// Returns how many bytes there are, if that is known.
    pub(in crate::command) const fn size(&self) -> Option<u64> {
        self.size
    }

    /// Reads what is there into the start of `buffer`, waiting for it for at most `limit`, or until one of `others` is readable.
    pub(in crate::command) fn read(
        &mut self,
        buffer: &mut [u8],
        others: &[BorrowedFd<'_>],
        limit: Duration,
    ) -> Result<Chunk, Failure> {
        let Some((path, file)) = self.files.front_mut() else {
            return Ok(Chunk::End);
        };
        let read = wait(file.as_fd(), others, limit).and_then(|is_ready| {
            if is_ready {
                file.read(buffer).map(Some)
            } else {
                Ok(None)
            }
        });
        match read {
            Ok(None) => Ok(Chunk::Nothing),
            Ok(Some(0)) => {
                self.files.pop_front();
                Ok(Chunk::Nothing)
            }
            Ok(Some(len)) => Ok(Chunk::Data(len)),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(Chunk::Nothing),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(Chunk::Nothing),
            Err(error) => Err(Failure::new(format!(
                "cannot read {}: {error}",
                path.display()
            ))),
        }
    }
}

/// Waits, and returns whether there is something to read, or the end.
fn wait(file: BorrowedFd<'_>, others: &[BorrowedFd<'_>], limit: Duration) -> io::Result<bool> {
    let all = std::iter::once(&file).chain(others);
    let mut fds: Vec<_> = all.map(|fd| PollFd::new(fd, PollFlags::IN)).collect();
    match poll(&mut fds, Timespec::try_from(limit).ok().as_ref()) {
        Ok(_) => Ok(fds.first().is_some_and(|fd| !fd.revents().is_empty())),
        Err(Errno::INTR) => Ok(false),
        Err(error) => Err(error.into()),
    }
}
