// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the tests share: servers, members, and messages that say whether they are whole.

use std::time::Duration;

use ivshmem::channel::Format;
use ivshmem_host::channel::{Channels, Options};
use ivshmem_host::server::{Config, RunningServer, Server};
use tempfile::TempDir;

pub use crate::common::LIMIT;

/// After which time a member counts as dead where that is not what is tested, so that no busy machine makes it so.
pub const PATIENT: Duration = Duration::from_secs(60);

/// A small ring, that many messages are longer than.
pub const RING_LOG2: u32 = 12;
pub const RING: usize = 1 << RING_LOG2;

pub fn server(vectors: u16) -> (TempDir, RunningServer) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("ivshmem.sock");
    let server = Server::spawn(Config::new(path, 1 << 18, vectors)).unwrap();
    (directory, server)
}

/// A member of a region with small rings.
pub fn member(name: &str) -> Options {
    let format = Format {
        slots: 4,
        ring_log2: Some(RING_LOG2),
    };
    Options::new(name).format(Some(format)).limit(PATIENT)
}

/// Two members of a server, the second with another way to wait.
pub fn pair(server: &RunningServer, spin: Duration) -> (Channels, Channels) {
    let join = |name| member(name).spin(spin).join_server(server.socket());
    (join("alice").unwrap(), join("bob").unwrap())
}

/// Lengths of messages: around all the limits there are, and beyond the ring.
pub fn lengths() -> impl Iterator<Item = usize> {
    // The longest that goes in one frame.
    let longest = RING / 2 - 72;
    let around = |len: usize| [len - 1, len, len + 1];
    let short = [0, 1, 7, 8, 9, 63, 64, 65, 1000];
    short
        .into_iter()
        .chain(around(longest))
        .chain(around(RING))
        .chain([3 * RING, 100_000])
}

/// Fills a message with what its number demands.
pub fn message(number: u64, len: usize) -> Vec<u8> {
    let mut state = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let byte = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    };
    std::iter::repeat_with(byte).take(len).collect()
}
