// SPDX-License-Identifier: MIT OR Apache-2.0
//! A server that sends whatever a trial wants: [`FakeServer`].

use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::os::fd::BorrowedFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use libtest_mimic::Failed;
use rustix::net::{sendmsg, SendAncillaryBuffer, SendAncillaryMessage, SendFlags};
use xtask::qemu::{option_value, Guest, Vm};

use crate::lab::PATIENCE;

/// How often to look whether QEMU has come.
const POLL: Duration = Duration::from_millis(1);

/// A listening socket.
pub struct FakeServer {
    listener: UnixListener,
    path: PathBuf,
}

impl FakeServer {
    /// Listens at `socket` in `folder`.
    pub fn start(folder: &Path) -> io::Result<Self> {
        let path = folder.join("socket");
        let listener = UnixListener::bind(&path)?;
        listener.set_nonblocking(true)?;
        Ok(Self { listener, path })
    }

    /// Adds the character device `server`.
    pub fn chardev(&self, guest: Guest) -> Guest {
        let path = option_value(&self.path);
        guest.chardev(&format!("socket,id=server,path={path}"))
    }

    /// Waits for QEMU.
    pub fn accept(&self, vm: &Vm) -> Result<Connection, Failed> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match self.listener.accept() {
                Ok((stream, _)) => return Ok(Connection(stream)),
                Err(error) if error.kind() != io::ErrorKind::WouldBlock => return Err(error.into()),
                Err(_) if Instant::now() > deadline || vm.report().status.is_some() => {
                    return Err(format!("QEMU does not come\n{}", vm.report()).into())
                }
                Err(_) => thread::sleep(POLL),
            }
        }
    }
}

/// The connection to a QEMU. Dropping it closes it.
pub struct Connection(UnixStream);

impl Connection {
    /// Sends bytes, with descriptors on the first of them.
    pub fn send(&self, bytes: &[u8], descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(4))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if !descriptors.is_empty() && !control.push(SendAncillaryMessage::ScmRights(descriptors)) {
            return Err(io::Error::other("too many descriptors"));
        }
        let sent = sendmsg(
            &self.0,
            &[IoSlice::new(bytes)],
            &mut control,
            SendFlags::NOSIGNAL,
        )?;
        if sent == bytes.len() {
            return Ok(());
        }
        Err(io::ErrorKind::WriteZero.into())
    }
}
