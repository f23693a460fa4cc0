// SPDX-License-Identifier: MIT OR Apache-2.0
//! A server of the protocol before QEMU 2.5, which answers when the trial says so and rings as often as it says.

use std::io::IoSlice;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use ivshmem_host::mapping::Mapping;
use libtest_mimic::Failed;
use rustix::event::{eventfd, poll, EventfdFlags, PollFd, PollFlags, Timespec};
use rustix::fs::{ftruncate, memfd_create, MemfdFlags};
use rustix::net::{sendmsg, SendAncillaryBuffer, SendAncillaryMessage, SendFlags};
use tempfile::TempDir;

use crate::lab::PATIENCE;

/// The number of the message that carries the memory.
const MEMORY: i64 = -1;

/// How often to look whether the device has taken in an event.
const GLANCE: Duration = Duration::from_micros(100);

/// A listening socket, and the memory that it will hand out.
pub struct LegacyServer {
    listener: UnixListener,
    memory: OwnedFd,
    mapping: Mapping,
    folder: TempDir,
}

impl LegacyServer {
    pub fn start(size_bytes: u64) -> Result<Self, Failed> {
        let folder = tempfile::tempdir()?;
        let memory = memfd_create("ivshmem-trial", MemfdFlags::CLOEXEC)?;
        ftruncate(&memory, size_bytes)?;
        Ok(Self {
            listener: UnixListener::bind(socket(folder.path()))?,
            mapping: Mapping::of(&memory)?,
            memory,
            folder,
        })
    }

    pub fn socket(&self) -> PathBuf {
        socket(self.folder.path())
    }

    pub const fn mapping(&self) -> &Mapping {
        &self.mapping
    }

    /// Takes the next client, without a word to it.
    pub fn accept(&self, id: u16) -> Result<Client, Failed> {
        let seconds = PATIENCE.as_secs().try_into()?;
        let limit = Timespec {
            tv_sec: seconds,
            tv_nsec: 0,
        };
        let mut waiting = [PollFd::new(&self.listener, PollFlags::IN)];
        if poll(&mut waiting, Some(&limit))? == 0 {
            return Err("the device does not connect to its server".into());
        }
        Ok(Client {
            stream: self.listener.accept()?.0,
            id,
            event: eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?,
        })
    }
}

fn socket(folder: &Path) -> PathBuf {
    folder.join("socket")
}

/// A device that is connected, and its only vector.
pub struct Client {
    stream: UnixStream,
    id: u16,
    event: OwnedFd,
}

impl Client {
    /// Tells the device its ID, and gives it the memory and its vector.
    pub fn set_up(&self, server: &LegacyServer) -> Result<(), Failed> {
        let id = self.id.into();
        self.send(id, None)?;
        self.send(MEMORY, Some(server.memory.as_fd()))?;
        self.send(id, Some(self.event.as_fd()))
    }

    /// Adds `count` to the vector's counter, and waits until the device has read it.
    pub fn ring(&self, count: u64) -> Result<(), Failed> {
        rustix::io::write(&self.event, &count.to_ne_bytes())?;
        let deadline = Instant::now() + PATIENCE;
        loop {
            let mut counter = [PollFd::new(&self.event, PollFlags::IN)];
            if poll(&mut counter, Some(&Timespec::default()))? == 0 {
                return Ok(());
            }
            if Instant::now() > deadline {
                return Err("the device does not look at its vector".into());
            }
            thread::sleep(GLANCE);
        }
    }

    fn send(&self, number: i64, descriptor: Option<BorrowedFd<'_>>) -> Result<(), Failed> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if let Some(descriptor) = &descriptor {
            control.push(SendAncillaryMessage::ScmRights(std::slice::from_ref(
                descriptor,
            )));
        }
        let bytes = number.to_ne_bytes();
        let message = [IoSlice::new(&bytes)];
        let sent = sendmsg(&self.stream, &message, &mut control, SendFlags::NOSIGNAL)?;
        crate::lab::same("bytes sent", sent, bytes.len())
    }
}
