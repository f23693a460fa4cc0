// SPDX-License-Identifier: MIT OR Apache-2.0
//! One request and its answer.

use std::io::IoSliceMut;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;

use rustix::event::{PollFd, PollFlags};
use rustix::fs::{lstat, FileType};
use rustix::io::Errno;
use rustix::net::{
    recvmsg, send, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendFlags,
};

use super::{Admin, AdminError};
use crate::deadline::Deadline;
use crate::dial::{dial, DialError};

/// The longest answer taken: far more than a server has to say, so that another program does not fill the memory.
const MAX_ANSWER_BYTES: usize = 64 << 20;

/// What a server has answered.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) text: String,
    pub(super) descriptor: Option<OwnedFd>,
}

/// Connects, makes `request`, and takes the answer up to the end of the connection.
pub(super) fn exchange(
    admin: &Admin,
    request: &str,
    deadline: Deadline,
) -> Result<Answer, AdminError> {
    let socket = dial(&admin.path, deadline).map_err(|error| explain(admin, error))?;
    let line = format!("{request}\n");
    // A fresh connection has room for a line.
    match send(&socket, line.as_bytes(), SendFlags::NOSIGNAL) {
        Ok(_) => {}
        Err(Errno::PIPE | Errno::CONNRESET) => return Err(closed(admin)),
        Err(error) => return Err(system(admin, error)),
    }
    let mut bytes = Vec::new();
    let mut descriptor = None;
    loop {
        let ready = deadline
            .poll(&mut [PollFd::new(&socket, PollFlags::IN)])
            .map_err(|error| system(admin, error))?;
        if ready == 0 {
            return Err(timeout(admin));
        }
        let Some(received) = receive(&socket, &mut bytes, &mut descriptor, admin)? else {
            continue;
        };
        if received == 0 {
            break;
        }
        if bytes.len() > MAX_ANSWER_BYTES {
            return Err(nonsense(admin, "it is too long"));
        }
    }
    if bytes.is_empty() {
        return Err(closed(admin));
    }
    match String::from_utf8(bytes) {
        Ok(text) => Ok(Answer { text, descriptor }),
        Err(_) => Err(nonsense(admin, "it is no text")),
    }
}

/// Receives what is there, and returns how many bytes that is; `None` if it has to be waited for.
fn receive(
    socket: &OwnedFd,
    bytes: &mut Vec<u8>,
    descriptor: &mut Option<OwnedFd>,
    admin: &Admin,
) -> Result<Option<usize>, AdminError> {
    let mut piece = [0; 1 << 16];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let flags = RecvFlags::CMSG_CLOEXEC | RecvFlags::DONTWAIT;
    let result = {
        let mut buffers = [IoSliceMut::new(&mut piece)];
        recvmsg(socket, &mut buffers, &mut control, flags)
    };
    let received = match result {
        Ok(received) => received,
        Err(Errno::AGAIN | Errno::INTR) => return Ok(None),
        // The server closes without reading all that we sent when it has no time for us.
        Err(Errno::CONNRESET) => return Ok(Some(0)),
        Err(error) => return Err(system(admin, error)),
    };
    if received.flags.contains(ReturnFlags::CTRUNC) {
        return Err(AdminError::DescriptorLost);
    }
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(descriptors) = message {
            *descriptor = descriptors.last().or(descriptor.take());
        }
    }
    bytes.extend(piece.iter().take(received.bytes));
    Ok(Some(received.bytes))
}

/// Says why there is nobody to ask.
fn explain(admin: &Admin, error: DialError) -> AdminError {
    let is_socket = |path| {
        lstat(path).is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Socket)
    };
    match (error, &admin.socket) {
        (DialError::Timeout, _) => timeout(admin),
        (DialError::System(Errno::ACCESS | Errno::PERM), _) => AdminError::Denied {
            path: admin.path.clone(),
        },
        // A server that was killed leaves both sockets, and one that ends removes both.
        (DialError::System(Errno::NOENT), Some(socket)) if is_socket(socket) => {
            AdminError::NoAdminSocket {
                socket: socket.clone(),
            }
        }
        (DialError::System(Errno::NOENT | Errno::NOTDIR | Errno::CONNREFUSED), socket) => {
            AdminError::NoServer {
                socket: socket.as_ref().unwrap_or(&admin.path).clone(),
            }
        }
        (DialError::System(error), _) => system(admin, error),
    }
}

fn closed(admin: &Admin) -> AdminError {
    AdminError::Closed {
        path: admin.path.clone(),
    }
}

fn timeout(admin: &Admin) -> AdminError {
    AdminError::Timeout {
        path: admin.path.clone(),
        limit: admin.limit,
    }
}

fn nonsense(admin: &Admin, problem: &str) -> AdminError {
    AdminError::Answer {
        path: admin.path.clone(),
        problem: problem.to_owned(),
    }
}

fn system(admin: &Admin, error: Errno) -> AdminError {
    AdminError::System {
        path: admin.path.clone(),
        error,
    }
}
