// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the tests share: memory, and joining with a clock of their own.

use std::os::fd::OwnedFd;
use std::task::Poll;

use ivshmem::channel::{Event, EventKind, Format, Introduction, JoinError, Member, Name, Region};
use ivshmem::SharedMemory;
use ivshmem_host::mapping::Mapping;
use rustix::fs::{ftruncate, memfd_create, MemfdFlags};

/// The patience of all members with a fake clock, in its ticks.
pub const LIMIT: u64 = 100;

/// Returns blank memory of `len` bytes.
pub fn memory(len: u64) -> OwnedFd {
    let fd = memfd_create("ivshmem-channel-test", MemfdFlags::CLOEXEC).expect("a memfd");
    ftruncate(&fd, len).expect("its size");
    fd
}

pub fn map(fd: &OwnedFd) -> Mapping {
    Mapping::of(fd).expect("a mapping")
}

pub const fn format(slots: u16) -> Format {
    Format {
        slots,
        ring_log2: None,
    }
}

pub fn introduction(name: &str, limit: u64) -> Introduction {
    Introduction {
        name: Name::new(name),
        device: None,
        vectors: 0,
        limit,
    }
}

/// Joins at the first poll.
pub fn join<'m>(memory: SharedMemory<'m>, slots: u16, name: &str) -> Member<'m> {
    let region = Region::open_or_format(memory, &format(slots)).expect("a region");
    match region.join(introduction(name, LIMIT)).poll(0) {
        Poll::Ready(Ok(member)) => member,
        other => panic!("{name} cannot join: {other:?}"),
    }
}

/// Polls from 0 on until it is decided, while others are told the time.
pub fn join_while<'m>(
    region: Region<'m>,
    name: &str,
    mut others: impl FnMut(u64),
) -> (Result<Member<'m>, JoinError>, u64) {
    let mut joining = region.join(introduction(name, LIMIT));
    for now in (0..=2 * LIMIT).step_by(10) {
        others(now);
        if let Poll::Ready(result) = joining.poll(now) {
            return (result, now);
        }
    }
    panic!("{name} is undecided after two limits");
}

/// Returns what has happened, with names.
pub fn news(member: &mut Member<'_>, now: u64) -> Vec<(EventKind, u32, String)> {
    events(member, now)
        .into_iter()
        .map(|event| (event.kind, event.incarnation, event.name.to_string()))
        .collect()
}

pub fn events(member: &mut Member<'_>, now: u64) -> Vec<Event> {
    std::iter::from_fn(|| member.poll_event(now).expect("not evicted")).collect()
}
