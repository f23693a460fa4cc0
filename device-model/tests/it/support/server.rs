// SPDX-License-Identifier: MIT OR Apache-2.0
//! A server whose every message the test decides.

use std::io::Read;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;

use super::{is_end, is_readable, send, LIMIT};

/// A listening socket in a folder of its own.
pub struct Server {
    listener: UnixListener,
    folder: tempfile::TempDir,
}

/// A connection of a device.
pub struct Client(pub UnixStream);

impl Server {
    pub fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(folder.path().join("socket")).unwrap();
        Self { listener, folder }
    }

    pub fn path(&self) -> PathBuf {
        self.folder.path().join("socket")
    }

    /// Returns the next device that connects.
    pub fn accept(&self) -> Client {
        assert!(is_readable(&self.listener, LIMIT), "nobody connects");
        Client(self.listener.accept().unwrap().0)
    }
}

impl Client {
    /// Sends one message.
    pub fn send(&self, number: i64, descriptor: Option<BorrowedFd<'_>>) {
        send(&self.0, &number.to_le_bytes(), descriptor.as_slice());
    }

    /// Sends what a server of today begins with.
    pub fn greet(&self, id: u16, memory: impl AsFd) {
        self.send(0, None);
        self.send(id.into(), None);
        self.send(-1, Some(memory.as_fd()));
    }

    /// Returns whether the device closes the connection within the time limit.
    pub fn is_closed(&mut self) -> bool {
        is_readable(&self.0, LIMIT) && is_end(self.0.read(&mut [0]))
    }
}
