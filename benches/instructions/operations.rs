// SPDX-License-Identifier: MIT OR Apache-2.0
//! What is counted: a setting, then one operation again and again.

use std::hint::black_box;

use ivshmem::channel::{SlotIndex, Wait};
use ivshmem::CopyStrategy;

use super::setting::{exchange, join, join_others, with_pair, with_region, Bell, End};
use super::{repeat, TIMES, WORDS};

/// Ring in which [`TIMES`] messages of 1 KiB fit.
const LARGE_LOG2: u32 = 19;
/// Ring whose end comes after each dozen of messages.
const SMALL_LOG2: u32 = 10;

/// To a receiver that polls.
pub fn send(strategy: CopyStrategy, len: usize) {
    with_pair(strategy, LARGE_LOG2, |[here, _], _| {
        let message = [0x5a; 1024];
        repeat(|_| {
            here.sender().try_send(black_box(&message[..len])).unwrap();
        });
    });
}

/// By a receiver that polls.
pub fn receive(strategy: CopyStrategy, len: usize) {
    with_pair(strategy, LARGE_LOG2, |[here, there], _| {
        for _ in 0..TIMES {
            here.sender().try_send(&[0x5a; 1024][..len]).unwrap();
        }
        let mut buffer = [0; 1024];
        repeat(|_| {
            let received = there.receiver().try_recv(black_box(&mut buffer));
            assert_eq!(received, Ok(Some(len)));
        });
    });
}

/// A message that is written in place.
pub fn reserve_and_commit() {
    with_pair(WORDS, LARGE_LOG2, |[here, _], _| {
        let message = [0x5a; 64];
        repeat(|_| {
            let grant = here.sender().reserve(black_box(64)).unwrap();
            grant.write(0, black_box(&message[..])).unwrap();
            grant.commit().unwrap();
        });
    });
}

/// A message that is read in place.
pub fn peek_and_release() {
    with_pair(WORDS, LARGE_LOG2, |[here, there], _| {
        for _ in 0..TIMES {
            here.sender().try_send(&[0x5a; 64]).unwrap();
        }
        let mut buffer = [0; 64];
        repeat(|_| {
            let frame = there.receiver().peek().unwrap().unwrap();
            assert_eq!(frame.copy_to(black_box(&mut buffer)), 64);
            frame.release().unwrap();
        });
    });
}

/// With a share of what the end of the ring costs.
pub fn send_and_receive() {
    with_pair(WORDS, SMALL_LOG2, |[here, there], _| {
        repeat(|_| {
            exchange(here, there, 64);
        });
    });
}

/// By a receiver that polls, from a sender that is there.
pub fn receive_nothing() {
    with_pair(WORDS, LARGE_LOG2, |[_, there], _| {
        let mut buffer = [0; 64];
        repeat(|_| {
            let received = there.receiver().try_recv(black_box(&mut buffer));
            assert_eq!(received, Ok(None));
        });
    });
}

/// On an empty ring, again and again.
pub fn arm() {
    with_pair(WORDS, LARGE_LOG2, |[here, there], _| {
        fall_asleep(here, there);
        repeat(|_| {
            assert_eq!(there.receiver().arm(), Ok(Wait::UntilRung));
        });
    });
}

/// By the sender, of a receiver that has just fallen asleep and then receives.
pub fn wake() {
    with_pair(WORDS, LARGE_LOG2, |[here, there], bell| {
        fall_asleep(here, there);
        let before = bell.rung();
        repeat(|_| {
            assert_eq!(there.receiver().arm(), Ok(Wait::UntilRung));
            exchange(here, there, 8);
        });
        assert_eq!(bell.rung() - before, TIMES);
    });
}

/// One round, in which nothing has happened to the others, who are in all other slots.
pub fn poll_event(slots: u16) {
    with_region(slots, SMALL_LOG2, WORDS, |region| {
        let mut member = join(region, 0, "one");
        let _others = join_others(region);
        while member.poll_event(0).unwrap().is_some() {}
        repeat(|now| assert_eq!(member.poll_event(black_box(now as u64)), Ok(None)));
    });
}

/// Once with each of as many others as there can be.
pub fn connect() {
    with_region(TIMES as u16 + 1, 8, WORDS, |region| {
        let mut member = join(region, 0, "one");
        let others = join_others(region);
        let bell = Bell::default();
        repeat(|index| {
            let endpoint = member.connect(others[index].slot(), &bell);
            assert!(black_box(endpoint).is_ok());
        });
    });
}

/// With another member there.
pub fn join_and_leave(slots: u16) {
    with_region(slots, SMALL_LOG2, WORDS, |region| {
        let _other = join(region, 0, "other");
        repeat(|_| {
            let member = join(region, 1, "one");
            assert_ne!(member.slot(), SlotIndex(0));
            member.leave();
        });
    });
}

/// Lets the receiver of `there` sleep until it is rung, which it can be sure of after the next message.
fn fall_asleep(here: &mut End<'_, '_>, there: &mut End<'_, '_>) {
    assert_ne!(there.receiver().arm(), Ok(Wait::Ready));
    exchange(here, there, 8);
}
