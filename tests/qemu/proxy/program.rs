// SPDX-License-Identifier: MIT OR Apache-2.0
//! The command `ivshmem-device proxy` as a process of a trial.

use std::os::fd::{OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use command_fds::{CommandFdExt, FdMapping};
use libtest_mimic::Failed;
use xtask::qemu::process;

use crate::lab::PATIENCE;
use crate::program;

/// The number in the child of the first descriptor that it inherits.
const FIRST_INHERITED: RawFd = 100;

/// How often the process is asked whether it has ended; nothing tells on its own.
const POLL: Duration = Duration::from_millis(2);

/// The generations of revision 0, as the command knows them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Generation {
    V2_3,
    V2_5,
}

/// What the server at the other end of a device's connection speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    Unversioned,
    Version0,
}

/// A running proxy. Dropping it kills it.
pub struct Proxy {
    child: Child,
}

impl Proxy {
    /// Starts a proxy of `count` devices that are clients of the server at `socket`, and returns QEMU's ends of their sockets.
    pub fn start(
        generation: Generation,
        protocol: Protocol,
        socket: &Path,
        count: usize,
    ) -> Result<(Self, Vec<OwnedFd>), Failed> {
        let mut command = Command::new(program::build("ivshmem-device", "ivshmem-device")?);
        command.args(["proxy", "--generation", generation.name()]);
        command.args(["--protocol", protocol.name()]);
        let device = format!(
            "ivshmem,chardev={},size=1M,vectors=2",
            xtask::qemu::option_value(socket)
        );
        let mut inherited = Vec::new();
        let mut sockets = Vec::new();
        for child_fd in (FIRST_INHERITED..).take(count) {
            let (ours, qemus) = UnixStream::pair()?;
            command.args(["--device", &device, "--fd", &child_fd.to_string()]);
            inherited.push(FdMapping {
                parent_fd: ours.into(),
                child_fd,
            });
            sockets.push(qemus.into());
        }
        command.fd_mappings(inherited)?;
        command.stdin(Stdio::null());
        let child = process::spawn(command)?;
        Ok((Self { child }, sockets))
    }

    /// Waits for the end, which comes when the last of its devices is unplugged.
    pub fn wait(&mut self) -> Result<ExitStatus, Failed> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match self.child.try_wait()? {
                Some(status) => return Ok(status),
                None if Instant::now() > deadline => {
                    return Err("the proxy goes on without devices".into())
                }
                None => thread::sleep(POLL),
            }
        }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        // Both fail only if it has ended and was waited for.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Generation {
    const fn name(self) -> &'static str {
        match self {
            Self::V2_3 => "2.3",
            Self::V2_5 => "2.5",
        }
    }
}

impl Protocol {
    const fn name(self) -> &'static str {
        match self {
            Self::Unversioned => "none",
            Self::Version0 => "0",
        }
    }
}
