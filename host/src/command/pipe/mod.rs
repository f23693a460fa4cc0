// SPDX-License-Identifier: MIT OR Apache-2.0
//! What `ivshmem send` and `ivshmem recv` share: a stream of bytes with an end and a checksum, over a channel.
//!
//! | message | from | bytes |
//! | --- | --- | --- |
//! | [`Hello`](stream::Hello) | sender | 24 |
//! | [`Reply`](stream::Reply), accepted | receiver | 16 |
//! | data, any number | sender | 1 or more each |
//! | the end | sender | 0 |
//! | [`Seal`](stream::Seal) | sender | 16 |
//! | [`Reply`](stream::Reply), how it ended; also at any time before | receiver | 16 |
//!
//! `docs/channels.md` has the bytes, under "Streams of `send` and `recv`".

mod gauge;
mod source;
pub(super) mod stream;

pub(super) use gauge::Gauge;
pub(super) use source::{Chunk, Source};

use std::os::fd::BorrowedFd;
use std::thread;
use std::time::Duration;

use rustix::event::{poll, PollFd, PollFlags, Timespec};
use rustix::io::Errno;

/// How often Ctrl-C is looked for, and whether the other side is still there.
pub(super) const GLANCE: Duration = Duration::from_millis(100);

/// The text for a command that Ctrl-C has ended.
pub(super) fn interrupted(bytes: u64, what: &str) -> String {
    format!("interrupted after {bytes} bytes were {what}; the other side is told")
}

/// Sleeps until one of the descriptors is readable, for at most `limit`.
pub(super) fn sleep_for(fds: &[BorrowedFd<'_>], limit: Duration) {
    let mut fds: Vec<_> = fds
        .iter()
        .map(|fd| PollFd::new(fd, PollFlags::IN))
        .collect();
    match poll(&mut fds, Timespec::try_from(limit).ok().as_ref()) {
        Ok(_) | Err(Errno::INTR) => {}
        // Without memory for it, say.
        Err(_) => thread::sleep(limit),
    }
}
