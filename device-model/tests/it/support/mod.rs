// SPDX-License-Identifier: MIT OR Apache-2.0
//! What stands around a device in these tests: a server, a QEMU, and time limits.

mod qemu;
mod server;

use std::io::IoSlice;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use rustix::event::{eventfd, poll, EventfdFlags, PollFd, PollFlags, Timespec};
use rustix::fs::{ftruncate, memfd_create, MemfdFlags};
use rustix::net::{sendmsg, SendAncillaryBuffer, SendAncillaryMessage, SendFlags};

pub use qemu::{request, Qemu};
pub use server::{Client, Server};

/// How long anything may take.
pub const LIMIT: Duration = Duration::from_secs(10);

/// Creates shared memory.
pub fn memory(len_bytes: u64) -> OwnedFd {
    let file = memfd_create("memory", MemfdFlags::CLOEXEC).unwrap();
    ftruncate(&file, len_bytes).unwrap();
    file
}

/// Creates an eventfd, in blocking mode: nobody may rely on another.
pub fn event() -> OwnedFd {
    eventfd(0, EventfdFlags::CLOEXEC).unwrap()
}

/// Rings an eventfd.
pub fn ring(event: impl AsFd, times: u64) {
    rustix::io::write(event, &times.to_ne_bytes()).unwrap();
}

/// Returns whether `fd` is ready for reading within `limit`.
pub fn is_readable(fd: impl AsFd, limit: Duration) -> bool {
    let limit = Timespec::try_from(limit).unwrap();
    poll(&mut [PollFd::new(&fd, PollFlags::IN)], Some(&limit)).unwrap() > 0
}

/// Waits until an eventfd is rung and returns its counter.
pub fn counter(event: impl AsFd) -> u64 {
    assert!(is_readable(&event, LIMIT), "the eventfd is not rung");
    let mut counter = [0; 8];
    rustix::io::read(event, &mut counter).unwrap();
    u64::from_ne_bytes(counter)
}

/// Asserts that nobody has rung an eventfd.
pub fn assert_silent(event: impl AsFd) {
    assert!(!is_readable(event, Duration::ZERO), "the eventfd is rung");
}

/// Waits until `condition` gives something, calling it again and again.
pub fn wait_for<T>(what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + LIMIT;
    loop {
        if let Some(value) = condition() {
            return value;
        }
        assert!(Instant::now() < end, "{what} does not happen");
        std::thread::yield_now();
    }
}

/// Returns whether a read says that the other end is closed. That nothing has come in time says nothing.
pub fn is_end(read: std::io::Result<usize>) -> bool {
    match read {
        Ok(len) => len == 0,
        Err(error) => error.kind() == std::io::ErrorKind::ConnectionReset,
    }
}

/// Sends bytes with descriptors beside the first of them.
pub fn send(socket: &UnixStream, bytes: &[u8], descriptors: &[BorrowedFd<'_>]) {
    assert_eq!(try_send(socket, bytes, descriptors), Ok(bytes.len()));
}

/// Sends bytes with descriptors, unless the other end is closed.
pub fn try_send(
    socket: &UnixStream,
    bytes: &[u8],
    descriptors: &[BorrowedFd<'_>],
) -> rustix::io::Result<usize> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(32))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !descriptors.is_empty() {
        assert!(control.push(SendAncillaryMessage::ScmRights(descriptors)));
    }
    sendmsg(
        socket,
        &[IoSlice::new(bytes)],
        &mut control,
        SendFlags::NOSIGNAL,
    )
}
