// SPDX-License-Identifier: MIT OR Apache-2.0
//! Eventfds and memory, numbered: QEMU gets the file, the model the number.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::event::{eventfd, poll, EventfdFlags, PollFd, PollFlags, Timespec};
use rustix::fs::{ftruncate, memfd_create, MemfdFlags};
use rustix::io::{pread, pwrite};

use crate::model::File;

/// The files of a trial.
#[derive(Debug, Default)]
pub struct Files {
    open: BTreeMap<usize, OwnedFd>,
    next: usize,
}

impl Files {
    /// Makes an eventfd.
    pub fn add_event(&mut self) -> io::Result<File> {
        let event = eventfd(0, EventfdFlags::CLOEXEC)?;
        let number = self.add(event);
        Ok(File { number, len: None })
    }

    /// Makes memory of `len` bytes.
    pub fn add_memory(&mut self, len: u64) -> io::Result<File> {
        let memory = memfd_create("memory", MemfdFlags::CLOEXEC)?;
        ftruncate(&memory, len)?;
        let (number, len) = (self.add(memory), Some(len));
        Ok(File { number, len })
    }

    /// Takes in a file, and returns its number.
    pub fn add(&mut self, file: impl Into<OwnedFd>) -> usize {
        self.next += 1;
        self.open.insert(self.next, file.into());
        self.next
    }

    /// Returns the numbers of all files.
    pub fn numbers(&self) -> Vec<usize> {
        self.open.keys().copied().collect()
    }

    /// Closes a file. QEMU and the model have it still, if they had it.
    pub fn close(&mut self, number: usize) {
        self.open.remove(&number);
    }

    pub fn descriptor(&self, number: usize) -> io::Result<BorrowedFd<'_>> {
        let file = self.open.get(&number);
        let file = file.ok_or_else(|| io::Error::other(format!("file {number} is closed")))?;
        Ok(file.as_fd())
    }

    /// Adds `count` to the counter of an eventfd.
    pub fn ring(&self, number: usize, count: u64) -> io::Result<()> {
        rustix::io::write(self.descriptor(number)?, &count.to_ne_bytes())?;
        Ok(())
    }

    /// Returns the counter of an eventfd and sets it to 0.
    ///
    /// QEMU makes every descriptor that it receives a blocking one, and so ours, which is the same open file.
    pub fn take_count(&self, number: usize) -> io::Result<u64> {
        let event = self.descriptor(number)?;
        let mut ready = [PollFd::from_borrowed_fd(event, PollFlags::IN)];
        if poll(&mut ready, Some(&Timespec::default()))? == 0 {
            return Ok(0);
        }
        let mut counter = [0; 8];
        rustix::io::read(event, &mut counter)?;
        Ok(u64::from_ne_bytes(counter))
    }

    /// Fills `bytes` from the beginning of memory.
    pub fn read(&self, number: usize, bytes: &mut [u8]) -> io::Result<()> {
        let read = pread(self.descriptor(number)?, &mut *bytes, 0)?;
        whole(read, bytes.len())
    }

    /// Writes `bytes` to the beginning of memory.
    pub fn write(&self, number: usize, bytes: &[u8]) -> io::Result<()> {
        let written = pwrite(self.descriptor(number)?, bytes, 0)?;
        whole(written, bytes.len())
    }
}

fn whole(done: usize, wanted: usize) -> io::Result<()> {
    if done == wanted {
        return Ok(());
    }
    Err(io::ErrorKind::UnexpectedEof.into())
}
