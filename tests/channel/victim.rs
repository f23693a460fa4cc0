// SPDX-License-Identifier: MIT OR Apache-2.0
//! A process that comes, talks to everybody and goes as fast as it can, until it is killed.

use std::io::stdin;
use std::task::Poll;
use std::thread;
use std::time::{Duration, Instant};

use ivshmem::channel::{JoinError, Region};
use ivshmem_host::mapping::Mapping;

use crate::lab::{format, introduction};
use crate::talk::Talker;

/// The variable that makes this program a victim, with its name.
pub const ROLE: &str = "IVSHMEM_CHANNEL_VICTIM";
/// The patience of processes, in milliseconds.
pub const LIMIT: u64 = 40;
/// Slots of their region.
pub const SLOTS: u16 = 16;
/// Until when a victim lives that nobody kills, because the test was ended.
const OLDEST: Duration = Duration::from_secs(20);

pub fn live(name: &str) {
    let mapping = Mapping::of(stdin()).expect("memory as standard input");
    let start = Instant::now();
    let now = || start.elapsed().as_millis() as u64;
    for life in 0.. {
        let region = Region::open_or_format(mapping.memory(), &format(SLOTS)).expect("a region");
        let mut joining = region.join(introduction(name, LIMIT));
        let member = loop {
            match joining.poll(now()) {
                Poll::Ready(Ok(member)) => break member,
                Poll::Ready(Err(JoinError::Full { .. })) | Poll::Pending => {}
                Poll::Ready(Err(error)) => panic!("{error}"),
            }
            if start.elapsed() > OLDEST {
                return;
            }
        };
        // Short lives and long ones, in which rings wrap.
        let mut talker = Talker::new(member);
        for _ in 0..50 << (life % 8) {
            if start.elapsed() > OLDEST {
                return;
            }
            // Only a namesake takes a slot here, and there is none as long as this one lives.
            talker.turn(now(), |_| ()).expect("not evicted");
            thread::yield_now();
        }
        talker.member.leave();
    }
}
