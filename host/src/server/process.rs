// SPDX-License-Identifier: MIT OR Apache-2.0
//! The process at the other end of a connection.

use std::fs;
use std::os::fd::AsFd;

use serde::{Deserialize, Serialize};

use nix::sys::socket::getsockopt;
use nix::sys::socket::sockopt::PeerCredentials;

/// The process that made a connection, as far as the kernel tells.
///
/// It is the one that called `connect`, whoever has the descriptor now.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Process {
    /// `None` for a process that this one cannot see, in another PID namespace.
    pub(super) pid: Option<i32>,
    pub(super) uid: Option<u32>,
    /// The name that the process had when it was looked at; any bytes, of its own choice, made UTF-8.
    pub(super) name: Option<String>,
}

impl Process {
    /// Looks who is at the other end of `socket`.
    pub(super) fn behind(socket: &impl AsFd) -> Self {
        let Ok(credentials) = getsockopt(socket, PeerCredentials) else {
            return Self::default();
        };
        let pid = Some(credentials.pid()).filter(|&pid| pid != 0);
        Self {
            pid,
            uid: Some(credentials.uid()),
            name: pid.and_then(name_of),
        }
    }
}

fn name_of(pid: i32) -> Option<String> {
    let mut name = fs::read(format!("/proc/{pid}/comm")).ok()?;
    if name.last() == Some(&b'\n') {
        name.pop();
    }
    Some(String::from_utf8_lossy(&name).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixStream;

    #[test]
    fn the_other_end_of_a_pair_is_this_process() {
        let (ours, _theirs) = UnixStream::pair().unwrap();
        let process = Process::behind(&ours);
        assert_eq!(process.pid, i32::try_from(std::process::id()).ok());
        assert_eq!(process.uid, Some(rustix::process::getuid().as_raw()));
        let name = fs::read_to_string("/proc/self/comm").unwrap();
        assert_eq!(process.name.as_deref(), Some(name.trim_end()));
        assert_eq!(name_of(i32::MAX), None, "nobody has that number");
    }
}
