// SPDX-License-Identifier: MIT OR Apache-2.0
//! A client and a server that know only the bytes of the protocol, for the integration tests.

use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::io::retry_on_intr;
use rustix::net::{
    recvmsg, sendmsg, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags,
};

/// How long anything that should happen may take on a busy machine.
pub const LIMIT: Duration = Duration::from_secs(20);

/// A message as it came off the wire.
pub type Raw = (i64, Option<OwnedFd>);

/// A client without any logic.
pub struct RawClient {
    pub stream: UnixStream,
}

impl RawClient {
    pub fn connect(path: &Path) -> Self {
        let stream = UnixStream::connect(path).unwrap();
        stream.set_read_timeout(Some(LIMIT)).unwrap();
        Self { stream }
    }

    /// Receives the next message, or `None` at the end of the connection.
    pub fn receive(&self) -> Option<Raw> {
        let mut bytes = [0; 8];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(4))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let mut buffers = [IoSliceMut::new(&mut bytes)];
        let received = retry_on_intr(|| {
            recvmsg(
                &self.stream,
                &mut buffers,
                &mut control,
                RecvFlags::CMSG_CLOEXEC,
            )
        })
        .expect("a message within the time limit");
        if received.bytes == 0 {
            return None;
        }
        assert_eq!(received.bytes, 8, "a message comes whole");
        let mut descriptors: Vec<OwnedFd> = control
            .drain()
            .filter_map(|message| match message {
                RecvAncillaryMessage::ScmRights(descriptors) => Some(descriptors),
                _ => None,
            })
            .flatten()
            .collect();
        assert!(descriptors.len() <= 1, "at most one descriptor");
        Some((i64::from_le_bytes(bytes), descriptors.pop()))
    }

    /// Receives the whole greeting of the first client of a server, and returns its `count` vectors.
    pub fn receive_own(&self, count: usize) -> Vec<OwnedFd> {
        let vectors = self.receive_many(3 + count).into_iter().skip(3);
        vectors
            .map(|(_, vector)| vector.expect("a vector"))
            .collect()
    }

    /// Receives `count` messages.
    pub fn receive_many(&self, count: usize) -> Vec<Raw> {
        (0..count)
            .map(|_| self.receive().expect("the connection is open"))
            .collect()
    }
}

/// Returns what of `messages` can be compared: the numbers, and whether a descriptor came along.
pub fn shape(messages: &[Raw]) -> Vec<(i64, bool)> {
    messages
        .iter()
        .map(|(number, descriptor)| (*number, descriptor.is_some()))
        .collect()
}

/// Sends `bytes` with `descriptors` in one piece.
pub fn send(stream: &UnixStream, bytes: &[u8], descriptors: &[BorrowedFd<'_>]) {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(40))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !descriptors.is_empty() {
        assert!(control.push(SendAncillaryMessage::ScmRights(descriptors)));
    }
    let flags = SendFlags::NOSIGNAL;
    let sent = sendmsg(stream, &[IoSlice::new(bytes)], &mut control, flags).unwrap();
    assert_eq!(sent, bytes.len());
}

/// Returns the counter of an eventfd, which is zero afterwards.
pub fn counter(eventfd: &OwnedFd) -> u64 {
    let mut bytes = [0; 8];
    match rustix::io::read(eventfd, &mut bytes[..]) {
        Ok(_) => u64::from_ne_bytes(bytes),
        Err(error) => {
            assert_eq!(
                error,
                rustix::io::Errno::AGAIN,
                "an eventfd that does not block"
            );
            0
        }
    }
}

/// Rings an eventfd.
pub fn ring(eventfd: impl AsFd) {
    rustix::io::write(eventfd, &1_u64.to_ne_bytes()).unwrap();
}

/// Waits until `condition` holds.
pub fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < LIMIT, "in vain: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}
