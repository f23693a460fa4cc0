// SPDX-License-Identifier: MIT OR Apache-2.0
//! A server for devices of this process that all come at once and stay.

use std::io::IoSlice;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::event::{eventfd, EventfdFlags};
use rustix::fs::{fcntl_add_seals, ftruncate, memfd_create, MemfdFlags, SealFlags};
use rustix::io::{Errno, Result};
use rustix::net::{
    sendmsg, socketpair, AddressFamily, SendAncillaryBuffer, SendAncillaryMessage, SendFlags,
    SocketFlags, SocketType,
};

/// Bytes of the shared memory, a power of two.
const MEMORY: u64 = 1 << 20;

/// The server's ends of the connections, which stay open for as long as there may be news.
pub struct Server {
    _connections: Vec<OwnedFd>,
}

impl Server {
    /// Connects `clients` devices with `vectors` vectors each, and returns their ends of the connections.
    pub fn start(clients: usize, vectors: u16) -> Result<(Self, Vec<OwnedFd>)> {
        let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
        let memory = memfd_create("ivshmem", flags)?;
        ftruncate(&memory, MEMORY)?;
        // Nobody can cut short what all have mapped.
        fcntl_add_seals(
            &memory,
            SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL,
        )?;
        let mut events = Vec::new();
        for id in 0..clients {
            for _ in 0..vectors {
                let flags = EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK;
                events.push((id as i64, eventfd(0, flags)?));
            }
        }
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        for id in 0..clients as i64 {
            let (server, client) = socketpair(
                AddressFamily::UNIX,
                SocketType::STREAM,
                SocketFlags::CLOEXEC,
                None,
            )?;
            // The version, the client's own ID, the memory, the vectors of the others, its own vectors.
            send(&server, 0, None)?;
            send(&server, id, None)?;
            send(&server, -1, Some(memory.as_fd()))?;
            let (own, others): (Vec<_>, Vec<_>) = events.iter().partition(|event| event.0 == id);
            for (peer, event) in others.into_iter().chain(own) {
                send(&server, *peer, Some(event.as_fd()))?;
            }
            ours.push(server);
            theirs.push(client);
        }
        let server = Self { _connections: ours };
        Ok((server, theirs))
    }
}

/// Sends a message: a number of 8 bytes, with a descriptor or without.
fn send(socket: &OwnedFd, number: i64, descriptor: Option<BorrowedFd<'_>>) -> Result<()> {
    let descriptors = descriptor.as_slice();
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    if !descriptors.is_empty() && !ancillary.push(SendAncillaryMessage::ScmRights(descriptors)) {
        return Err(Errno::NOBUFS);
    }
    let bytes = number.to_le_bytes();
    sendmsg(
        socket,
        &[IoSlice::new(&bytes)],
        &mut ancillary,
        SendFlags::NOSIGNAL,
    )?;
    Ok(())
}
